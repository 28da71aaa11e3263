"""Runs every benchmark in turn: python -m benchmarks"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = sorted(path for path in Path(__file__).parent.rglob("*.py") if not path.name.startswith(("__", "peer_")))


def main() -> int:
    failed = 0
    for script in SCRIPTS:
        sys.stdout.write(f"# {script.relative_to(Path(__file__).parent)}\n")
        sys.stdout.flush()
        failed += subprocess.run([sys.executable, str(script)], check=False).returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
