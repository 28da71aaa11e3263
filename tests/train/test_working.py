"""Copies of the weights in the compute type give the bits of a cast in every micro-batch."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from expedition.parallel.mesh import Ranks
from expedition.parallel.recompute import Recompute, recompute_layers
from expedition.train.batches import TensorBatch, to_tensors
from expedition.train.objective import Parts, forward_backward
from expedition.train.setup import Built, build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from expedition.train.working import Working
from tests.train.tiny import CountingSource, tiny_config, tiny_run

CPU = torch.device("cpu")


class Cast:
    """The definition: weights are cast inside the graph of every micro-batch."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, batch: TensorBatch) -> tuple[object, object]:
        call = _Call(self.model)
        cast = {name: value.to(torch.bfloat16) for name, value in call.named_parameters()}
        output, weight = functional_call(call, cast, (batch,), tie_weights=True)
        return output, lambda hidden: hidden @ weight.t()

    def begin(self, micro_batch: int, micro_batches: int) -> None: ...

    def end(self) -> None: ...


class _Call(nn.Module):
    def __init__(self, omni: nn.Module) -> None:
        super().__init__()
        self.omni = omni

    def forward(self, batch: TensorBatch) -> tuple[object, Tensor]:
        return self.omni(*batch.model_inputs), self.omni.lm_head.weight  # type: ignore[union-attr,return-value]


def built(micro_batches: int, recompute: Recompute, *, tied: bool) -> tuple[Built, list[TensorBatch]]:
    torch.set_num_threads(1)
    run = tiny_run(micro_batches=micro_batches, precision={"compute": "bf16"})
    made = build(tiny_config(tied_embeddings=tied), run, Ranks(0, 1), CPU)
    recompute_layers(made.model, recompute)
    source = CountingSource(run)
    return made, [to_tensors(batch, CPU, made.dtype) for batch in source.rank_batch(0, 0, 1)]


def gradients(made: Built, parts: Parts, batches: Sequence[TensorBatch]) -> dict[str, Tensor]:
    made.state.optimizer.zero_grad()
    forward_backward(parts, batches)
    named = made.state.optimizer.parameters.items()
    return {name: value.grad.float() for name, value in named if value.grad is not None}


@pytest.mark.parametrize("micro_batches", [1, 4])
@pytest.mark.parametrize(("recompute", "tied"), [("none", True), ("layers", False), ("selective", False)])
def test_gradients_are_those_of_a_cast(micro_batches: int, recompute: Recompute, tied: bool) -> None:
    made, batches = built(micro_batches, recompute, tied=tied)
    ours = gradients(made, made.parts, batches)
    parts = made.parts
    cast = Parts(parts.run, parts.ranks, Cast(made.model), parts.experts, parts.kind_weights_K)  # type: ignore[arg-type]
    expected = gradients(made, cast, batches)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_the_model_keeps_its_masters_and_a_step_leaves_fresh_copies() -> None:
    made, batches = built(2, "none", tied=True)
    names = list(dict(made.model.named_parameters()))
    working = made.parts.forward.working
    assert working is not None and set(working.copies) == set(names)
    before = {name: copy._version for name, copy in working.copies.items()}
    for _ in range(2):
        train_step(made.parts, made.state, batches, (), Stopwatch(CPU))
    parameters = dict(made.model.named_parameters())
    assert list(parameters) == names
    for name, copy in working.copies.items():
        assert parameters[name].dtype == torch.float32 and copy.dtype == torch.bfloat16
        assert torch.equal(copy, parameters[name].to(torch.bfloat16))
        assert copy._version > before[name]  # by which FP8 copies know that they are stale


def test_values_from_elsewhere_are_seen() -> None:
    """A checkpoint is read into the masters after the copies are made."""
    model = nn.Linear(3, 2)
    working = Working(model, torch.bfloat16)
    for value in (0.5, 2.0):
        with torch.no_grad():
            model.weight.fill_(value)
        with working.in_place():
            assert bool((model.weight == value).all()) and model.weight.dtype == torch.bfloat16
        assert model.weight.dtype == torch.float32


def test_there_is_no_copy_where_the_types_are_one() -> None:
    model = nn.Linear(3, 2)
    working = Working(model, torch.float32)
    with working.in_place():
        assert model.weight is dict(model.named_parameters())["weight"]
    assert not working.copies


def test_the_copies_are_gone_with_their_last_user() -> None:
    """At once, not when cycles are looked for: on a device the next model needs the memory."""
    model = nn.Linear(3, 2)
    working = Working(model, torch.bfloat16)
    gone = [weakref.ref(copy) for copy in working.copies.values()]
    gc.disable()
    try:
        working.begin(2)
        for _ in range(2):
            with working.in_place():
                model(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
        working.end()
        assert model.weight.grad is not None and model.weight.grad.dtype == torch.float32
        del working, model
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()
