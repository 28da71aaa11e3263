"""Builds generated tiny documents and prints how much memory the building process took for it: run by a test.

    python build_memory_probe.py DOCUMENTS FOLDER [ROW_GROUP_ROWS]

With rows of a row group given, each step is measured by itself (which slows it).
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data import builder
from expedition.data.compliance import Statement, append
from expedition.data.versions import index
from expedition.plan import load_programme
from expedition.workspace import Workspace

FILES = 4
STEPS = ("approved_sources", "prepare", "find_repeats", "assemble", "gather_dropped", "seal")
SETS = (
    "data.stages.synthetic=[]",
    "data.tokenizer.compact_entries=700",
    "data.shard_bytes=4194304",
    "workers=2",
)


def write_documents(folder: Path, documents: int) -> None:
    """`FILES` files of lines; every third line repeats one of few, so about a third of the documents are dropped."""
    source = folder / "notes"
    source.mkdir(parents=True)
    (folder / "sources.yaml").write_text("sources:\n  notes: {kind: synthetic, licence: CC0-1.0}\n")
    for file in range(FILES):
        with (source / f"{file}.jsonl").open("w") as out:
            for number in range(file, documents, FILES):
                told = number if number % 3 else number % 300
                out.write(json.dumps({"text": f"note {told} {hashlib.sha256(str(told).encode()).hexdigest()}"}) + "\n")


class Peaks:
    """Most memory that each step of a build took in the building process: Python's and numpy's own."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    def of(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step`, measured."""

        def measured(*args: Any, **named: Any) -> Any:
            tracemalloc.start()
            try:
                return step(*args, **named)
            finally:
                self.bytes[step.__name__] = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()

        return measured


def main(documents: int, place: Path, row_group_rows: int | None) -> None:
    """Build `documents` documents below `place`; prints one JSON object."""
    if row_group_rows is not None:
        index.ROW_GROUP_ROWS = row_group_rows
    write_documents(place / "data", documents)
    ws = Workspace.open(place / "ws", create=True)
    append(ws, Statement("approve", "notes", "Ada", "own notes", document="d"))
    programme = load_programme("rehearsal", list(SETS))
    peaks, cpu, wall = Peaks(), time.process_time(), time.monotonic()
    if row_group_rows is not None:
        for name in STEPS:
            setattr(builder, name, peaks.of(getattr(builder, name)))
    result = builder.build(ws, programme, place / "data", "v0.1")
    told = {
        "documents": result["documents"] + result["heldout"]["documents"],
        "dropped": result["dropped"],
        "steps": peaks.bytes,
        "arrow_peak_bytes": pa.default_memory_pool().max_memory(),
        "resident_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "supervisor_cpu_s": round(time.process_time() - cpu, 2),
        "wall_s": round(time.monotonic() - wall, 1),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
