"""Updates that are dropped, and that nothing of them stays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from expedition.parallel.mesh import Ranks
from expedition.plan.runs import BadStepPlan, Injection
from expedition.train.bad_step import SpikeWindow, judge, remember
from expedition.train.batches import to_tensors
from expedition.train.run import Inputs, train_run
from expedition.train.setup import Built, build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.state import whole_state
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


def step(built: Built, source: CountingSource, faults: tuple[Injection, ...] = (), sound: float | None = None) -> bool:
    """Whether a step was kept; `sound` replaces one value of the batch's mel frames."""
    batches = [to_tensors(batch, CPU, torch.float32) for batch in source.rank_batch(built.state.step, 0, 1)]
    if sound is not None:
        batches[0].mel_MF[5, 7] = sound
    return bool(train_step(built.parts, built.state, batches, faults, Stopwatch(CPU)).verdict.keep)


def bits_of(built: Built) -> dict[str, bytes]:
    """Everything that a step changes, as bytes."""
    model, optimizer = whole_state(built.state)
    values = {**model, **optimizer}
    return {name: value.reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in values.items()}


PLANS: dict[str, dict[str, Any]] = {
    "AdamW": {},
    "Muon": {"kind": "muon"},
    "AdamW, stochastic rounding": {"weights": "bf16_stochastic", "moments": "bf16"},
    "Muon, stochastic rounding": {"kind": "muon", "weights": "bf16_stochastic", "moments": "bf16"},
}
EXPERTS = "model.layers.1.mlp.experts.down_proj"


@contextmanager
def spoilt(built: Built, name: str, value: float) -> Iterator[None]:
    """While it lasts, one value of a parameter's gradient is another one."""

    def spoil(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad[..., -1, -1].view(-1)[3] = value

    working = built.parts.forward.working
    assert working is not None
    taken = working.copies.get(name, built.state.optimizer.parameters[name])
    handle = taken.register_post_accumulate_grad_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("plan", list(PLANS))
def test_a_bad_step_leaves_every_bit_unchanged(plan: str) -> None:
    """NaN and infinity in the first gradient, in one expert's, and in what the loss is made of."""
    run = tiny_run(bad_step={"spike_deviations": 6}, optimizer=PLANS[plan])
    source = CountingSource(run)
    built = build(tiny_config(), run, Ranks(0, 1), CPU)
    assert step(built, source)
    assert step(built, source)
    before = bits_of(built)
    for value in (math.nan, math.inf, -math.inf):
        with spoilt(built, EXPERTS, value):
            assert not step(built, source)
        assert not step(built, source, sound=value)
    for kind in ("nan_gradient", "inf_gradient"):
        assert not step(built, source, (Injection(step=built.state.step, kind=kind),))
    after = bits_of(built)
    assert [name for name, value in before.items() if after[name] != value] == []
    assert built.state.step == 10
    assert int(built.state.optimizer.updates) == 2
    assert step(built, source)
    assert int(built.state.optimizer.updates) == 3
    changed = bits_of(built)
    assert all(changed[name] != value for name, value in before.items() if name in built.state.optimizer.parameters)


def test_a_spike_is_dropped_once_the_window_is_full_and_never_enters_it() -> None:
    plan = BadStepPlan(spike_deviations=4, window_steps=8)
    window = SpikeWindow.empty(plan, CPU)
    norm = torch.tensor(1.0)
    for number in range(20):
        loss = torch.tensor(5.0 + 0.01 * (number % 3))
        verdict = judge(loss, norm, window, plan)
        assert bool(verdict.keep)
        window = remember(window, loss, norm + 0.01 * (number % 2), verdict.keep)
    spike = judge(torch.tensor(6.0), norm, window, plan)
    assert bool(spike.spike)
    assert not bool(spike.keep)
    after = remember(window, torch.tensor(6.0), norm, spike.keep)
    assert torch.equal(after.values_W2, window.values_W2)
    assert int(after.accepted) == 20


def test_without_a_spike_bound_only_what_is_not_finite_is_dropped() -> None:
    plan = BadStepPlan()
    window = SpikeWindow.empty(plan, CPU)
    for loss, norm, keep in [(1e30, 1e30, True), (float("nan"), 1.0, False), (1.0, float("inf"), False)]:
        assert bool(judge(torch.tensor(loss), torch.tensor(norm), window, plan).keep) is keep


@pytest.mark.parametrize("metrics_every", [1, 4])
def test_the_samples_of_a_dropped_step_are_kept(tmp_path: Path, metrics_every: int) -> None:
    faults = [{"step": 3, "kind": "nan_gradient"}, {"step": 6, "kind": "inf_gradient"}]
    run = tiny_run(length="9 steps", metrics_every=metrics_every, inject=faults)
    ws, source = Workspace.open(tmp_path, create=True), CountingSource(run)
    train_run(ws, programme_with(main=run), "main", inputs=Inputs(source, tiny_config()))
    kept = [event.fields for event in ws.events_all("train.step_dropped")]
    assert [fields["step"] for fields in kept] == [3, 6]
    for fields in kept:
        ids = [int(sample) for batch in source.rank_batch(fields["step"], 0, 1) for sample in batch.sample_ids]
        assert fields["sample_ids"] == sorted(ids)
        assert fields["reason"] == "not finite"
        assert fields["rank"] == 0
        assert math.isfinite(fields["loss"])
        assert fields["gradient_norm"] in ("nan", "inf")
