"""Builds a version again and again in a forked process that is killed at random moments, then once to its end.

Run by a test: `killed_builds.py DATA_DIR WORKSPACE SEED KILLS`. Prints how many builds the kills met and the hash.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from expedition.data.builder import Running, build
from expedition.data.versions import prepare  # noqa: F401  (imported once, not in each fork)
from expedition.plan import load_programme
from expedition.workspace import Workspace

SETS = ["data.shard_bytes=65536", "data.tokenizer.compact_entries=700", "data.heldout_fraction=0.1"]


def main() -> None:
    """Every other build runs in worker processes, the others in the process that is killed."""
    data_dir, place, seed, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    draw, met = random.Random(seed), 0
    programme = load_programme("rehearsal", [*SETS, "workers=2"])
    for number in range(kills):
        child = os.fork()
        if child == 0:
            running = Running(engine=("serial", "local")[number % 2])
            build(Workspace.open(place), programme, data_dir, "v0.1", skip_unapproved=True, running=running)
            os._exit(0)
        time.sleep(draw.uniform(0.02, 1.0))
        os.kill(child, signal.SIGKILL)
        met += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    built = build(Workspace.open(place), programme, data_dir, "v0.1", skip_unapproved=True)
    print(json.dumps({"met": met, "content_hash": built["content_hash"]}))


if __name__ == "__main__":
    main()
