"""What the engine costs over a plain loop: the same shard function, in a loop and through `map_shards`.

    .venv/bin/python benchmarks/data/engine_overhead.py [--tasks 64] [--work-ms 20]

Prints one JSON document: seconds of each, and the engine's overhead a task in milliseconds (start of the workers
included). The work is spinning, so that it scales with cores and not with a cache.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expedition.data.engine import Limits, Task, map_shards


def spin(payload: tuple[int, float], folder: Path) -> dict[str, Any]:
    """Use the processor for a while and write a small file."""
    number, seconds = payload
    end = time.process_time() + seconds
    while time.process_time() < end:
        number = (number * 1_103_515_245 + 12_345) % 2**31
    (folder / "out.bin").write_bytes(number.to_bytes(4, "little") * 1024)
    return {"number": number}


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--work-ms", type=float, default=20.0)
    options = parser.parse_args()
    tasks = [Task(f"t{number}", (number, options.work_ms / 1e3)) for number in range(options.tasks)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)

        def plain() -> None:
            for task in tasks:
                (root / "plain" / task.key).mkdir(parents=True)
                spin(task.payload, root / "plain" / task.key)

        seconds = {"plain_loop_s": timed(plain)}
        for workers in (0, 1, 2):
            limits = Limits(workers=workers)
            work = timed(lambda limits=limits: map_shards(spin, tasks, root / f"w{limits.workers}", limits))  # type: ignore[misc]
            seconds[f"engine_{workers}_workers_s"] = work
        again = timed(lambda: map_shards(spin, tasks, root / "w2", Limits(workers=2)))
    overhead = {
        f"{key}_overhead_ms": 1e3 * (seconds[f"engine_{key}_workers_s"] - seconds["plain_loop_s"]) / options.tasks
        for key in (0, 1)
    }
    result = {
        "cores": os.cpu_count(),
        "tasks": options.tasks,
        "work_ms": options.work_ms,
        "rerun_when_finished_s": again,
    }
    print(json.dumps({**result, **seconds, **overhead}, indent=1))


if __name__ == "__main__":
    main()
