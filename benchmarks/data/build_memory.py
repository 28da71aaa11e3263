"""Peak memory of the building process over builds of few and of many tiny documents, and its processor time.

    .venv/bin/python benchmarks/data/build_memory.py [--quick] [--documents 1000000]

A whole build (decode, dedup, tokenise, shards, tables, seal) of generated notes of some 75 bytes, a third of them
copies, with two workers and no stages; once with a quarter of the documents, once with all. `resident_peak_bytes` is the
building process's alone, its libraries and the vocabulary included. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROBE = Path(__file__).resolve().parents[2] / "tests" / "data" / "build_memory_probe.py"


def built(documents: int) -> dict[str, Any]:
    """What the probe says of one build in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, str(PROBE), str(documents), name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    """Build twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="40,000 documents")
    options = parser.parse_args()
    documents = 40_000 if options.quick else options.documents
    few, many = built(documents // 4), built(documents)
    grown = many["resident_peak_bytes"] - few["resident_peak_bytes"]
    added = (documents - documents // 4) or 1
    print(json.dumps({"few": few, "many": many, "grown_bytes_per_document": round(grown / added, 1)}, indent=1))


if __name__ == "__main__":
    main()
