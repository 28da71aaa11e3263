"""One rank of a run that diagnoses each of its steps: python -m tests.train.diagnosis_rank RUN.json RESULT.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.diagnosis import diagnose
from expedition.train.objective import Parts
from expedition.train.setup import build
from expedition.train.trainer import Trainer
from tests.parallel.mesh_rank import MEDIA, InOrder
from tests.train.tiny import tiny_config

CPU = torch.device("cpu")


class Diagnosed:
    """A diagnosis and the loss of every step."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.found: list[dict[str, Any]] = []

    def after_step(self, done: Done) -> str | None:
        self.found.append({**diagnose(self._parts, done), "loss": float(done.result.loss)})
        return None

    def at_end(self, ending: Ending) -> None:
        assert ending == "finished"


def diagnosed_steps(run: RunPlan, ranks: Ranks) -> list[dict[str, Any]]:
    """What each step's diagnosis says here."""
    built = build(tiny_config(layers=4), run, ranks, CPU)
    seen = Diagnosed(built.parts)
    Trainer(built.parts, built.state, InOrder(run, MEDIA), [seen], device=CPU, dtype=built.dtype).train()
    return seen.found


def main() -> None:
    torch.set_num_threads(1)
    run = RunPlan.model_validate_json(Path(sys.argv[1]).read_text())
    ranks = join_ranks(run.parallel, CPU)
    found = diagnosed_steps(run, ranks)
    if ranks.is_first:
        Path(sys.argv[2]).write_text(json.dumps(found))
    leave_ranks(ranks)


if __name__ == "__main__":
    main()
