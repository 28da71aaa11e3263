"""`python -m expedition.sampleworld DIR --seed 7 --size small`: the verb without the programme around it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from expedition.errors import ExpeditionError
from expedition.sampleworld.build import build_sample
from expedition.sampleworld.sizes import SIZES


def main() -> int:
    """Build a sample, print its summary as JSON; the exit code of an ExpeditionError otherwise."""
    parser = argparse.ArgumentParser(prog="python -m expedition.sampleworld", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", default="small", help=", ".join(SIZES))
    parser.add_argument("--processes", type=int)
    arguments = parser.parse_args()
    try:
        summary = build_sample(arguments.directory, arguments.seed, arguments.size, arguments.processes)
    except ExpeditionError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(dataclasses.asdict(summary), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
