"""A tiny run whose data stops coming at a step: python -m tests.train.stuck_job WORKSPACE PLAN.json. Exit codes as the
CLI's."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from pathlib import Path

from expedition.data.loading.batch import Batch
from expedition.errors import ExpeditionError
from expedition.plan.runs import RunPlan
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config

STUCK_AT = 5


class StuckSource(CountingSource):
    """Gives the steps before `STUCK_AT`, then nothing for ever."""

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[list[Batch], None, None]:
        for step in range(start, stop):
            if step == STUCK_AT:
                threading.Event().wait()
            yield self.rank_batch(step, rank, world)


def main() -> int:
    run = RunPlan.model_validate_json(Path(sys.argv[2]).read_text())
    ws = Workspace.open(sys.argv[1], create=True)
    try:
        train_run(ws, programme_with(main=run), "main", inputs=Inputs(StuckSource(run), tiny_config()))
    except ExpeditionError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
