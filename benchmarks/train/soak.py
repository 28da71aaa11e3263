"""Kill soak: a tiny run is killed with SIGKILL again and again and must end as one that was left alone, to the bit.

    python -m benchmarks.train.soak [--kills 200] [--command-kills 20] [--seed 1] [--out FILE.json]

Half of the kills come at a random time of an attempt's life (while it starts, restores, trains, saves), half at a random
call of a point that matters: between micro-batches, at the decision of a step, before, after or in the middle of a write,
around the manifest and COMPLETE, while old checkpoints are retired, around the restore. After each kill the run must go
on from the newest complete checkpoint. At its end weights, moments, state, every metric row, the config and the token
accounting are compared with those of the undisturbed run.

`--command-kills`: the same with the real command, `expedition train run` and `resume`, on a dataset of all kinds, killed
from outside at random times.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.train.cli_kills import ended_as, kill_until_done, prepare
from tests.train.kills import Tally, torment, undisturbed


def soak(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill until there are `kills` kills and the run at hand is done; a report."""
    reference, usual_s = undisturbed(folder / "undisturbed")
    tally, began = Tally(), time.monotonic()
    while tally.total < kills and len(tally.problems) < 10:
        place = folder / f"run-{tally.runs:04d}"
        torment(place, reference, random.Random(f"{seed}/{tally.runs}"), usual_s, tally)
        shutil.rmtree(place, ignore_errors=True)
        sys.stderr.write(f"{tally.total} kills, {tally.runs} runs, {len(tally.problems)} problems\n")
    minutes = (time.monotonic() - began) / 60
    return {
        "kills": tally.total,
        "by_point": dict(sorted(tally.kills.items())),
        "runs": tally.runs,
        "starts": tally.starts,
        "problems": tally.problems,
        "minutes": minutes,
        "kills_a_minute": tally.total / minutes,
        "undisturbed_run_s": usual_s,
        "seed": seed,
    }


def soak_command(kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill the real command until there are `kills` kills and the run at hand is done; a report."""
    whole = prepare(folder / "whole")
    kill_until_done(whole, 0, random.Random(seed))
    wanted, began = ended_as(whole), time.monotonic()
    done, runs, problems = 0, 0, []
    while done < kills:
        ws = prepare(folder / f"command-{runs:03d}")
        done += kill_until_done(ws, kills - done, random.Random(f"{seed}/{runs}"))
        found = ended_as(ws)
        problems += [f"run {runs}: {part} differ" for part, value in wanted.items() if found[part] != value]
        runs += 1
        sys.stderr.write(f"{done} kills of the command, {runs} runs, {len(problems)} problems\n")
    return {"kills": done, "runs": runs, "problems": problems, "minutes": (time.monotonic() - began) / 60, "seed": seed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--command-kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="train-soak-"))
    try:
        report = {"processes": soak(options.kills, options.seed, folder)} if options.kills else {}
        # Last: it reads Parquet in this process, after which a fork would no longer be safe.
        if options.command_kills:
            report["command"] = soak_command(options.command_kills, options.seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(report, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")
    return 1 if any(part["problems"] for part in report.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
