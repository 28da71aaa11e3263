"""A phase on two ranks: it begins from a checkpoint of one process and learns from a stored teacher as one process does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from expedition.plan.runs import RunPlan
from expedition.train.lineage import read_parent
from expedition.train.run import Inputs, train_run
from expedition.train.teacher_parts import teach
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from tests.parallel.processes import run_ranks
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run


def test_two_ranks_begin_and_are_taught_as_one_process_is(tmp_path: Path) -> None:
    """Losses of three steps to 1e-4: the bound of ranks against one process, sums in another order."""
    torch.set_num_threads(1)
    ws = Workspace.open(tmp_path / "w", create=True)
    taught = {"length": "3 steps", "teacher": {"run": "main", "top_k": 6, "weight": 0.6}, "seed": 9}
    start = {"run": "main", "state": "optimizer"}
    runs = {
        "main": tiny_run(length="4 steps"),
        "one": tiny_run(**taught, start_from=start),
        "two": tiny_run(**taught, start_from=start, parallel={"dp_shard": 2}),
    }
    programme = programme_with(**runs)
    for name in ("main", "one"):
        inputs = Inputs(CountingSource(runs[name]), tiny_config())
        if runs[name].teacher is not None:
            teach(ws, programme, name, inputs=inputs)
        train_run(ws, programme, name, inputs=inputs)
    teach(ws, programme, "two", inputs=Inputs(CountingSource(alone(runs["two"])), tiny_config()))
    plans = tmp_path / "runs.json"
    plans.write_text(json.dumps({name: run.model_dump(mode="json") for name, run in runs.items()}))
    run_ranks(2, ["tests.train.phase_rank", ws.place, str(plans), "two"])
    one, two = (read_metrics(ws, name, ["loss", "gradient_norm"]) for name in ("one", "two"))
    assert two["loss"].tolist() == pytest.approx(one["loss"].tolist(), rel=1e-4)
    assert two["gradient_norm"].tolist() == pytest.approx(one["gradient_norm"].tolist(), rel=1e-3)
    assert read_parent(ws, "one") == read_parent(ws, "two")


def alone(run: RunPlan) -> RunPlan:
    """The same run on one process."""
    return run.model_copy(update={"parallel": tiny_run().parallel})
