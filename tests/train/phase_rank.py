"""One rank of a phase: python -m tests.train.phase_rank WORKSPACE RUNS.json NAME."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from expedition.plan.runs import RunPlan
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config


def main() -> None:
    place, plans, name = sys.argv[1:]
    torch.set_num_threads(1)
    runs = {key: RunPlan(**plan) for key, plan in json.loads(Path(plans).read_text()).items()}
    inputs = Inputs(CountingSource(runs[name]), tiny_config())
    train_run(Workspace.open(place), programme_with(**runs), name, inputs=inputs)


if __name__ == "__main__":
    main()
