"""Counts of what FP8 loses are told, modules that lose too much go back, and a killed run knows it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expedition.model.omni import OmniModel
from expedition.parallel.mesh import Ranks
from expedition.plan.precision import Fp8FallbackPlan
from expedition.train.callbacks.callback import Ending
from expedition.train.callbacks.fp8_health import COUNTED, FELL_BACK, Fp8Health, counted_before, shares_of
from expedition.train.fp8.fallback import FallbackRule, switched_off
from expedition.train.run import Inputs, train_run
from expedition.train.setup import build
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from expedition.workspace.events import Event
from tests.parallel.processes import run_ranks
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

FP8: dict[str, Any] = {"modules": ("*.experts", "*.o_proj"), "recipe": "rowwise", "counters_every": 2}
STRICT: dict[str, Any] = {"zeros_share": 1.0, "saturated_share": 1e-3, "counts": 2}
"""Every module is above this: the largest value of each row is at the format's top."""


def sail(place: Path, length: str, **fp8: Any) -> Workspace:
    rate = {"peak": 5e-3, "floor": 5e-3, "warmup": "2 steps"}
    run = tiny_run(length=length, precision={"fp8": {**FP8, **fp8}}, learning_rate=rate)
    ws = Workspace.open(place, create=True)
    train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()))
    return ws


def fallen(ws: Workspace) -> list[tuple[int, str]]:
    return [(event.fields["step"], event.fields["module"]) for event in ws.events_all(FELL_BACK)]


def test_counts_are_told_for_every_module_and_tensor(tmp_path: Path) -> None:
    ws = sail(tmp_path / "w", "5 steps")
    told = [event.fields for event in ws.events_all(COUNTED)]
    assert [fields["step"] for fields in told] == [1, 3]
    modules = told[0]["modules"]
    assert set(modules) == {f"model.layers.{n}.{name}" for n in (0, 1) for name in ("self_attn.o_proj", "mlp.experts")}
    assert set(modules["model.layers.0.self_attn.o_proj"]) == {"input", "weight", "gradient"}
    hidden = modules["model.layers.0.mlp.experts"]["hidden"]
    assert 0 <= hidden[0] < 0.05 and 0 < hidden[1] < 0.2  # the largest of each row is at the top
    assert fallen(ws) == []


def test_a_run_that_stopped_falls_back_where_one_that_did_not_does(tmp_path: Path) -> None:
    """The stop lies between the counts that make the patience, and after the fall: both are known again."""
    whole = sail(tmp_path / "whole", "10 steps", fallback=STRICT)
    falls = fallen(whole)
    assert [step for step, _ in falls] == [3] * 4
    for length in ("3 steps", "5 steps", "10 steps"):
        parts = sail(tmp_path / "parts", length, fallback=STRICT)
    assert fallen(parts) == falls
    losses = [read_metrics(ws, "main", ["loss"])["loss"].tolist() for ws in (whole, parts)]
    assert losses[0] == losses[1]
    unwatched = read_metrics(sail(tmp_path / "fp8", "10 steps"), "main", ["loss"])["loss"].tolist()
    assert unwatched[:4] == losses[0][:4] and unwatched[4] != losses[0][4]


def test_ranks_count_together_and_fall_back_alike(tmp_path: Path) -> None:
    fp8 = {**FP8, "fallback": STRICT}
    settings: dict[str, Any] = {"length": "6 steps", "precision": {"fp8": fp8}, "checkpoint": {"ephemeral_every": None}}
    (tmp_path / "plan.json").write_text(tiny_run(parallel={"dp_shard": 2}, **settings).model_dump_json())
    run_ranks(2, ["tests.train.job", str(tmp_path / "w"), str(tmp_path / "plan.json")])
    many = Workspace.open(tmp_path / "w")
    one = sail(tmp_path / "one", "6 steps", fallback=STRICT)
    told = [[event.fields["modules"] for event in ws.events_all(COUNTED)] for ws in (many, one)]
    assert [set(modules) for modules in told[0]] == [set(modules) for modules in told[1]]
    for module, tensors in told[1][0].items():
        for tensor, lost in tensors.items():
            assert told[0][0][module][tensor] == pytest.approx(lost, abs=1e-2), (module, tensor)
    assert fallen(many) == fallen(one) and len(fallen(many)) == 4


class Watched:
    """A model's modules, looked at between steps."""

    def __init__(self, ws: Workspace, plan: dict[str, Any], step: int = 0) -> None:
        run = tiny_run(precision={"fp8": {**FP8, **plan}})
        self.model: OmniModel = build(tiny_config(), run, Ranks(0, 1), torch.device("cpu")).model
        self.health = Fp8Health(ws, "main", self.model, run.precision.fp8, Ranks(0, 1), step)


def test_modules_that_fell_in_steps_that_are_done_again_begin_in_fp8(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    name, lost = "model.layers.0.mlp.experts", {"hidden": [0.5, 0.0]}
    for step in (1, 3):
        ws.events("train").append(COUNTED, run="main", step=step, modules={name: lost})
    fallback = {"fallback": {"zeros_share": 0.1, "counts": 2}}
    assert switched_off(Watched(ws, fallback, step=4).model) == [name]
    assert switched_off(Watched(ws, fallback, step=3).model) == []
    ws.events("train").append("train.started", run="main", step=2)
    ws.events("train").append("train.started", run="another", step=0)
    assert switched_off(Watched(ws, fallback, step=4).model) == []
    watched = Watched(ws, fallback, step=2)
    assert all(module.fp8.counts is None for module in watched.model.modules() if hasattr(module, "fp8"))
    ending: Ending = "finished"
    watched.health.at_end(ending)


def as_events(counts: list[Mapping[str, Any]]) -> Iterator[Event]:
    for number, (step, shares) in enumerate(counts):
        fields = {"run": "main", "step": step, "modules": {"m": {"input": [shares, 0.0]}}}
        yield Event(COUNTED, f"{number:06d}", "train", "c", number, fields, "", "")


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(0, 12), st.integers(1, 3))
def test_what_is_recalled_decides_as_what_was_seen(shares: list[float], cut: int, patience: int) -> None:
    plan = Fp8FallbackPlan(zeros_share=0.5, counts=patience)
    seen, recalled = FallbackRule(plan), FallbackRule(plan)
    falls = [seen.observe({"m": {"input": (share, 0.0)}}) for share in shares]
    before = counted_before(as_events(list(enumerate(shares))), "main", cut)
    again = [recalled.observe(shares_) for shares_ in before]
    again += [recalled.observe({"m": {"input": (share, 0.0)}}) for share in shares[cut:]]
    assert again == falls


def test_shares_are_of_all_values() -> None:
    counts = {"m": {"input": torch.tensor([200, 50, 2]), "weight": torch.tensor([0, 0, 0])}}
    assert shares_of(counts, Ranks(0, 1)) == {"m": {"input": (0.25, 0.01), "weight": (0.0, 0.0)}}
    assert shares_of({}, Ranks(0, 1)) == {}
