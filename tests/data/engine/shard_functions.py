"""Shard functions that the engine tests run in worker processes."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.engine.call import Call
from expedition.data.engine.merge import groups
from expedition.data.engine.shard import Limits, ShardFunction
from expedition.data.engine.worker import run_attempt
from expedition.errors import ComplianceRefused

__all__ = ["ShardFunction", "die_on_three", "raise_on_three", "refuse_on_three", "square", "sum_by_key"]


def square(number: int, folder: Path) -> dict[str, Any]:
    (folder / "square.txt").write_text(str(number * number))
    return {"square": number * number}


def slow_square(number: int, folder: Path) -> dict[str, Any]:
    time.sleep(0.05)
    return square(number, folder)


def die_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number, folder)


def raise_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        raise ValueError("three is not wanted")
    return square(number, folder)


def refuse_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        raise ComplianceRefused("no approval for 'three'", where="three", fix="approve it")
    return square(number, folder)


def hold_memory_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        held = bytearray(400 << 20)
        for index in range(0, len(held), 4096):
            held[index] = 1
        time.sleep(5)
    return square(number, folder)


def sum_by_key(partition: int, chunks: Iterator[pa.Table], folder: Path) -> dict[str, Any]:
    lines = []
    for chunk in chunks:
        for group in groups(chunk, "key"):
            lines.append(f"{group.column('key')[0].as_py()} {group.column('value').to_pylist()}")
    (folder / "sums.txt").write_text("\n".join(lines))
    return {"groups": len(lines)}


def sleep_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        time.sleep(30)
    return square(number, folder)


def import_what_is_not_there(number: int, folder: Path) -> dict[str, Any]:
    from expedition.errors import NotThere  # type: ignore[attr-defined]

    return {"never": NotThere}


def slower_square(number: int, folder: Path) -> dict[str, Any]:
    time.sleep(0.3)
    return square(number, folder)


def count_documents(payload: tuple[Any, Any], folder: Path) -> dict[str, Any]:
    """Read items to their end; how many documents, and how far the process grew."""
    from expedition.data.sources import read_documents

    source, items = payload
    batches = read_documents(source, items, batch_documents=64)
    documents = next(batches).num_rows
    Path("/proc/self/clear_refs").write_text("5")
    before = status_bytes("VmRSS")
    documents += sum(batch.num_rows for batch in batches)
    return {"documents": documents, "grown_bytes": status_bytes("VmHWM") - before}


def status_bytes(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def read_mapped(path: Path, folder: Path) -> dict[str, Any]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        total = sum(mapped[at] for at in range(0, len(mapped), 4096))
        time.sleep(0.3)
    return {"sum": total}


def disk_full_on_three(number: int, folder: Path) -> dict[str, Any]:
    if number == 3:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return square(number, folder)


class BackwardsEngine:
    """A third engine: the last task first, in the calling process."""

    def session(self, limits: Limits) -> AbstractContextManager[object]:
        return nullcontext()

    def run(self, call: Call) -> None:
        call.pending.reverse()
        while call.pending:
            attempt = call.take()
            call.settle(attempt, run_attempt(call.function, attempt))
