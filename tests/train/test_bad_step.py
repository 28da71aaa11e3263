"""Updates that are dropped, and that nothing of them stays."""

from __future__ import annotations

import pytest
import torch

from expedition.parallel.mesh import Ranks
from expedition.plan.runs import BadStepPlan, Injection
from expedition.train.bad_step import SpikeWindow, judge, remember
from expedition.train.batches import to_tensors
from expedition.train.saving.snapshot import snapshot_tensors
from expedition.train.setup import Built, build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


def step(built: Built, source: CountingSource, faults: tuple[Injection, ...] = ()) -> bool:
    batches = [to_tensors(batch, CPU, torch.float32) for batch in source.rank_batch(built.state.step, 0, 1)]
    return bool(train_step(built.parts, built.state, batches, faults, Stopwatch(CPU)).verdict.keep)


@pytest.mark.parametrize("kind", ["nan_gradient", "inf_gradient"])
def test_a_bad_step_leaves_every_bit_unchanged(kind: str) -> None:
    run = tiny_run(bad_step={"spike_deviations": 6})
    source = CountingSource(run)
    built = build(tiny_config(), run, Ranks(0, 1, None), CPU)
    assert step(built, source)
    assert step(built, source)
    before = {**snapshot_tensors(built.state)[0], **snapshot_tensors(built.state)[1]}
    assert not step(built, source, (Injection(step=2, kind=kind),))
    after = {**snapshot_tensors(built.state)[0], **snapshot_tensors(built.state)[1]}
    for name, value in before.items():
        assert value.numpy().tobytes() == after[name].numpy().tobytes(), name
    assert built.state.step == 3
    assert int(built.state.optimizer.updates) == 2
    assert step(built, source)
    assert int(built.state.optimizer.updates) == 3


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
