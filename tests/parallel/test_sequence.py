"""Tensor and context parallelism: positions and heads over ranks, and the step of one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from expedition.errors import ProgrammeError
from expedition.model.audio import AudioEncoder
from expedition.model.omni import OmniModel
from expedition.parallel.apply import require_layout
from expedition.parallel.encoders import share_out
from expedition.parallel.sequence import SequenceSplit
from expedition.parallel.tensor import split_layers
from expedition.plan.precision import Fp8Plan
from expedition.plan.runs import ParallelPlan
from expedition.train.precision import apply_fp8
from tests.parallel.cases import Case, alone, differences, run_cases
from tests.parallel.packed import packed_row
from tests.train.tiny import IDS, tiny_config, tiny_run, tiny_shape

BOUND = 1e-4
"""fp32 sums in another order, as in test_ranks (2e-6 to 4e-6 are seen). A head, a chunk or a document that is seen wrongly
moves its gradients by per cents, and a gradient that one rank keeps for itself by tens of per cent."""

DENSE = {"dense_layers": (0,), "dense_inner": 48, "tied_embeddings": False}
DEEP = {"vision": {**tiny_shape().vision.model_dump(), "layers": 2, "deepstack_layers": (0, 1)}}
PARTS = {"micro_batches": 2}

CASES = [
    Case("tp 4 of 2 key heads", {"tp": 4}, DENSE),
    Case("cp 4", {"cp": 4}, DEEP),
    Case("cp and tp", {"cp": 2, "tp": 2}, DEEP),
    Case("tp and FSDP", {"tp": 2, "dp_shard": 2}, DENSE),
    Case("HSDP and tp", {"tp": 2, "dp_replicate": 2}),
    Case("cp and FSDP", {"cp": 2, "dp_shard": 2}),
    Case("cp and tp, layers recomputed", {"cp": 2, "tp": 2, "recompute": "layers"}, DENSE, PARTS),
    Case("cp and tp, dear parts kept", {"cp": 2, "tp": 2, "recompute": "selective"}, DEEP, PARTS),
    Case("bf16", {"cp": 2, "tp": 2}, DENSE, {"precision": {"compute": "bf16"}}),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """All cases, in one world of four processes."""
    return run_cases(tmp_path_factory.mktemp("sequence"), 4, CASES)


@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case.name)
def test_positions_and_heads_over_ranks_take_the_step_of_one_process(
    results: dict[str, dict[str, Tensor]], case: Case
) -> None:
    assert differences(results[case.name], alone(case), BOUND) == []


def test_bf16_stays_near_one_process(results: dict[str, dict[str, Tensor]]) -> None:
    many, one = results["bf16"], alone(CASES[-1])
    assert all(bool(value.isfinite().all()) for value in many.values())
    # Matrix products of bf16 keep 8 bits: losses agree to about 2^-8 of themselves.
    assert float((many["loss.0"] - one["loss.0"]).abs()) <= 2**-8 * float(one["loss.0"])


def test_the_rows_are_hard() -> None:
    """Documents, pictures and sounds lie across the cuts, and some rank's part of a row is padding alone or unlabelled."""
    straddles = {"document": 0, "picture": 0, "sound": 0}
    bare = 0
    for index in range(8):
        tokens, labels, _, document, _ = (torch.as_tensor(value) for value in packed_row(index, 48))
        for edge in range(6, 48, 6):
            straddles["document"] += int(document[edge] == document[edge - 1] > 0)
            straddles["picture"] += int(tokens[edge] == tokens[edge - 1] == IDS.image_pad)
            straddles["sound"] += int(tokens[edge] == tokens[edge - 1] == IDS.audio_pad)
        bare += int((labels.view(8, 6) == -100).all(1).any())
    assert all(straddles.values()) and bare


def test_clips_apart_are_as_clips_together() -> None:
    """A clip's features depend on the longest chunk of the batch; ranks that encode some of its clips are told it."""
    shape = tiny_shape().audio
    torch.manual_seed(1)
    encoder = AudioEncoder(shape, 32)
    frames = [30, 130, 60]
    mel_MF = torch.randn(shape.mel_bins, sum(frames))
    together_NH = encoder(mel_MF, torch.tensor(frames))
    parts = zip(mel_MF.split(frames, dim=1), frames, strict=True)
    apart_NH = torch.cat([encoder(part, torch.tensor([count]), shape.chunk_frames) for part, count in parts])
    assert torch.allclose(apart_NH, together_NH, atol=1e-5)
    assert not torch.allclose(encoder(mel_MF[:, :30], torch.tensor([30])), together_NH[: shape.tokens(30)], atol=1e-3)


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 8))
def test_items_are_shared_out_evenly(costs: list[int], parts: int) -> None:
    shares = share_out(costs, parts)
    assert sorted(item for share in shares for item in share) == list(range(len(costs)))
    loads = [sum(costs[item] for item in share) for share in shares]
    # A part is above the lowest by at most the item that it got last.
    assert all(
        load - min(loads) <= max((costs[item] for item in share), default=0)
        for load, share in zip(loads, shares, strict=True)
    )


SPLITS = st.tuples(st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([1, 2, 3, 4]), st.integers(1, 5))


@given(SPLITS, st.integers(0, 1))
def test_ranks_have_each_position_once_and_equally_many(sizes: tuple[int, int, int], dim: int) -> None:
    cp, tp, unit = sizes
    places = torch.arange(2 * cp * tp * unit)
    row = places[:, None] if dim == 0 else places[None]
    parts = [SequenceSplit(cp, c, tp, t).tokens(row, dim).flatten() for c in range(cp) for t in range(tp)]
    assert {part.numel() for part in parts} == {2 * unit}
    assert torch.equal(torch.cat(parts).sort().values, places)
    for context in range(cp):
        queries = SequenceSplit(cp, context, tp, 0).queries(row, dim).flatten()
        assert torch.equal(torch.cat(parts[context * tp : (context + 1) * tp]), queries)


@given(SPLITS)
def test_rows_put_together_are_the_rows(sizes: tuple[int, int, int]) -> None:
    cp, tp, unit = sizes
    row = torch.arange(2 * cp * tp * unit)
    parts = [SequenceSplit(cp, context, tp, 0).queries(row, 0) for context in range(cp)]
    assert torch.equal(SequenceSplit(cp, 0, tp, 0).whole(parts, 0), row)


@given(SPLITS)
def test_a_causal_row_is_the_same_work_for_every_context_rank(sizes: tuple[int, int, int]) -> None:
    cp, tp, unit = sizes
    seen = torch.arange(1, 2 * cp * tp * unit + 1)
    splits = [SequenceSplit(cp, context, tp, 0) for context in range(cp)]
    assert len({int(split.queries(seen, 0).sum()) for split in splits}) == 1
    # What is multiplied: the keys up to the end of each stretch of queries; never all of them where cp > 1.
    products = {sum((end - first) * end for first, end in split.stretches(len(seen))) for split in splits}
    assert len(products) == 1 and cp * products.pop() == len(seen) ** 2 * (2 * cp + 1 if cp > 1 else 2) // (
        4 * cp if cp > 1 else 2
    )


def test_a_length_that_does_not_divide_is_refused_by_the_plan() -> None:
    with pytest.raises(ValidationError, match="must be a multiple of 2 · cp · tp = 8"):
        tiny_run(parallel={"cp": 2, "tp": 2}, sequence_length=44)
    assert tiny_run(parallel={"dp_shard": 2}, sequence_length=43).sequence_length == 43


def test_fp8_layers_are_not_split() -> None:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    model = OmniModel(tiny_config())
    apply_fp8(model, Fp8Plan(modules=("*self_attn.o_proj",)))
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        with pytest.raises(ProgrammeError, match="is Fp8Linear"):
            split_layers(model, init_device_mesh("cpu", (2,)))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("shape", "tp", "rule"),
    [
        ({}, 8, "heads = 4 must divide by it"),
        ({"heads": 6, "kv_heads": 2}, 3, "divide kv_heads = 2 or be a multiple"),
        ({**DENSE, "dense_inner": 34}, 4, "dense_inner = 34 must divide by it"),
    ],
)
def test_a_model_that_cannot_be_split_is_refused_with_the_rule(shape: dict[str, Any], tp: int, rule: str) -> None:
    with pytest.raises(ProgrammeError, match=rule):
        require_layout(tiny_shape(**shape), ParallelPlan(tp=tp))
