"""Runs every suite of benchmarks in turn: python -m benchmarks [--quick]"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CANNOT_RUN_HERE = 77
"""What a suite ends with where it lacks a device: the code of skipped tests elsewhere (Automake's manual, section 15.2)."""
SUITES = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))


def main() -> int:
    """1 if a suite misses a goal."""
    failed = 0
    for suite in SUITES:
        sys.stdout.write(f"# {suite}\n")
        sys.stdout.flush()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{suite}", *sys.argv[1:]], check=False)
        failed += done.returncode not in (0, CANNOT_RUN_HERE)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
