"""An exchange, or the rounds of stars, whose own functions kill the calling process at the call that KILL names.

KILL=gather:3 python -m tests.data.engine.exchange_kills exchange|stars INPUTS WORK
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.engine import Exchange, Limits, exchange
from expedition.data.engine.tables import read_batches
from expedition.data.versions import components

from .shard_functions import sum_by_key

PARTITIONS = 5


def count_call(phase: str) -> None:
    """Count a call in a file that workers share; the one that KILL names kills the calling process.

    With the supervisor go its workers, in whatever they are at.
    """
    wanted, _, number = os.environ.get("KILL", "").partition(":")
    if phase != wanted:
        return
    path = Path(os.environ["KILL_COUNT"])
    with path.open("ab") as calls:
        calls.write(b".")
        calls.flush()
        if path.stat().st_size == int(number):
            os.kill(int(os.environ["KILL_PID"]), signal.SIGKILL)


def rows(path: Path) -> Iterator[pa.RecordBatch]:
    for batch in read_batches(path):
        count_call("scatter")
        yield batch


def reduce(partition: int, chunks: Iterator[pa.Table], folder: Path) -> dict[str, Any]:
    count_call("gather")
    return sum_by_key(partition, chunks, folder)


def counted(star: Callable[..., Any]) -> Callable[..., Any]:
    """A star's reduce function under its own name, so that the exchange is the same one."""

    @functools.wraps(star)
    def reduced(*args: Any) -> Any:
        count_call(star.__name__)
        return star(*args)

    return reduced


def main(what: str, inputs: Path, work: Path) -> None:
    os.environ["KILL_PID"] = str(os.getpid())
    paths = sorted(inputs.glob("*.arrow"))
    if what == "exchange":
        exchange(paths, Exchange("key", reduce, PARTITIONS, rows=rows, memory_bytes=20_000), work, Limits(workers=2))
        return
    for name in ("large_star", "small_star"):
        setattr(components, name, counted(getattr(components, name)))
    # That work outlives a power cut is not what is shown here.
    os.fsync = lambda handle: None  # type: ignore[assignment]
    stars = components._Stars(None, work, 4096, Limits(workers=0))  # type: ignore[arg-type]
    stars._converge(paths, PARTITIONS)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
