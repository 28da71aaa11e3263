"""A tiny run whose data, collectives or layers can be slowed down, and its profile; `python -m` it as a rank."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from expedition.data.loading.batch import Batch
from expedition.plan.runs import RunPlan
from expedition.train.profiling.profile import Wanted, profile_run
from expedition.train.run import Inputs
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

FEW = Wanted(steps=2, warm_up=1)


class SlowSource(CountingSource):
    """Does some work before it gives a rank its micro-batches."""

    def __init__(self, run: RunPlan, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(run)
        self._before = before

    def rank_batch(self, step: int, rank: int, world: int) -> list[Batch]:
        self._before()
        return super().rank_batch(step, rank, world)


def sleep() -> None:
    """Storage that is slow: no processor is used."""
    time.sleep(0.25)


def compute() -> None:
    """Decoding that is slow: a processor is used, and the interpreter's lock is not."""
    block, begin = bytes(1 << 20), time.thread_time()
    while time.thread_time() - begin < 0.2:
        hashlib.sha256(block)


def plain_run(**changes: Any) -> RunPlan:
    """Without checkpoints in between."""
    return tiny_run(**{"length": "40 steps", "checkpoint": {"permanent_every": "1000 steps"}, **changes})


def profiled(
    ws: Workspace, run: RunPlan, before: Callable[[], None] = lambda: None, wanted: Wanted = FEW
) -> dict[str, Any]:
    """The profile of run `main`."""
    return profile_run(ws, programme_with(main=run), "main", wanted, Inputs(SlowSource(run, before), tiny_config()))


def main() -> None:
    """One of two ranks; the second is late for every all-reduce."""
    workspace, result, parallel, delay_s = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), float(sys.argv[4])
    torch.set_num_threads(1)
    reduce = dist.all_reduce

    def late(*args: Any, **keywords: Any) -> Any:
        if dist.get_rank() == 1:
            time.sleep(delay_s)
        return reduce(*args, **keywords)

    dist.all_reduce = late
    report = profiled(Workspace.open(workspace, create=True), plain_run(parallel=parallel))
    if report:
        result.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
