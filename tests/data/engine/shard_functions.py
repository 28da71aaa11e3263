"""Shard functions that the engine tests run in worker processes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.engine.merge import groups
from expedition.data.engine.shard import ShardFunction
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
