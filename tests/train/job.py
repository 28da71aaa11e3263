"""A tiny run as a process of its own: python -m tests.train.job WORKSPACE PLAN.json [NAME]. Exit codes as the CLI's."""

from __future__ import annotations

import sys
from pathlib import Path

from expedition.errors import ExpeditionError
from expedition.plan.runs import RunPlan
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config


def main() -> int:
    workspace, plan = sys.argv[1:3]
    run = RunPlan.model_validate_json(Path(plan).read_text())
    ws = Workspace.open(workspace, create=True)
    programme = programme_with(main=run)
    try:
        train_run(ws, programme, "main", inputs=Inputs(CountingSource(run), tiny_config()))
    except ExpeditionError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
