"""Where a run goes on: another number of ranks, and checkpoints that are not this run's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.plan.runs import RunPlan
from expedition.train.checkpoint import MODEL, checkpoints, load_tensors, newest_intact
from expedition.train.run import Inputs, train_run
from expedition.train.setup import load_model
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from tests.parallel.processes import run_ranks
from tests.train.programme import programme_with
from tests.train.tiny import IDS, CountingSource, tiny_config, tiny_run, tiny_shape


def sail(place: Path, run: RunPlan, config: OmniConfig | None = None, tokenizer: str | None = None) -> dict[str, Any]:
    ws = Workspace.open(place, create=True)
    inputs = Inputs(CountingSource(run), config or tiny_config(), tokenizer)
    return train_run(ws, programme_with(main=run), "main", inputs=inputs)


def plan(length: str, **changes: Any) -> RunPlan:
    rate = {"peak": 5e-3, "floor": 5e-3, "warmup": "2 steps"}
    return tiny_run(**{"length": length, "learning_rate": rate, "optimizer": {"eps": 1e-2}, **changes})


def test_a_run_of_two_ranks_goes_on_as_one_process(tmp_path: Path) -> None:
    place, whole = tmp_path / "w", tmp_path / "whole"
    sail(whole, plan("8 steps"))
    for length, ranks in (("4 steps", 2), ("8 steps", 1)):
        run = plan(length, parallel={"dp_shard": ranks})
        if ranks == 1:
            sail(place, run)
            continue
        (tmp_path / "plan.json").write_text(run.model_dump_json())
        run_ranks(ranks, ["tests.train.job", str(place), str(tmp_path / "plan.json")])
    ws = Workspace.open(place)
    assert [event.fields["step"] for event in ws.events_all("train.started")] == [0, 4]
    assert [len(info.shards(MODEL)) for info in checkpoints(ws, "main") if info.permanent] == [2, 1, 1]
    found, expected = (read_metrics(Workspace.open(p), "main", ["loss"])["loss"] for p in (place, whole))
    # fp32 sums in another order: 1e-6 a step, grown by eight steps of training. Another sample, a lost moment or a wrong
    # step count would be off by more than 1e-2.
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    last, undisturbed = (newest_intact(Workspace.open(p), "main")[0] for p in (place, whole))
    assert last is not None and undisturbed is not None
    here, there = load_tensors(ws, last, MODEL), load_tensors(Workspace.open(whole), undisturbed, MODEL)
    assert here.keys() == there.keys()
    for name in here:
        assert float((here[name] - there[name]).norm()) <= 1e-3 * float(there[name].norm()) + 1e-5, name
    model = load_model(ws, "main")
    assert all((parameter == here[name]).all() for name, parameter in model.named_parameters())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained") / "w"
    sail(place, plan("2 steps"), tokenizer="a" * 64)
    return place


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"config": tiny_config(expert_inner=32)}, "shape.expert_inner is 16 there and 32 here"),
        ({"config": OmniConfig(tiny_shape(), 64, IDS)}, "vocabulary is 48 there and 64 here"),
        ({"tokenizer": "b" * 64}, "another tokenizer: its fingerprint is aaaaaaaaaaaaaaaa… there and bbbbbbbbbbbbbbbb"),
        ({"run": plan("4 steps", optimizer={"kind": "muon"})}, "the checkpoint has no "),
    ],
    ids=["shape", "vocabulary", "tokenizer", "optimizer"],
)
def test_a_checkpoint_of_something_else_is_refused_by_its_first_difference(
    trained: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        sail(trained, **{"run": plan("4 steps"), **changes})
    assert problem in str(caught.value)
    assert caught.value.exit_code == 2
    assert caught.value.fix
    assert [info.step for info in checkpoints(Workspace.open(trained), "main")] == [2]
