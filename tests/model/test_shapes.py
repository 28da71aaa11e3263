"""Shapes as data: impossible ones are refused with the rule that they break."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters, encoder_flops, flops_per_token
from expedition.model.omni import OmniModel
from expedition.plan.media import MediaRule
from expedition.plan.shapes import AudioShape, ModelShape, VisionShape, preset_shapes

from .inputs import COUNTED_HERE, IDS, SMALL, VOCABULARY, Row, Writer


def changed(path: str, value: Any) -> dict[str, Any]:
    data = SMALL.model_dump()
    one_field(data, path, value)
    return data


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("kv_heads", 3, "heads 4 must be a multiple of kv_heads 3"),
        ("head_dim", 15, "head_dim 15 must be even"),
        ("mrope_section", (4, 2, 3), "sums to 9, must be head_dim / 2 = 8"),
        ("mrope_section", (0, 4, 4), "every third"),
        ("top_k", 7, "top_k 7 must be at most experts 6"),
        ("dense_layers", (0, 0), "dense_layers \\(0, 0\\) must rise without repeats"),
        ("dense_layers", (3,), "must lie in 0..2"),
        ("dense_inner", 0, "dense_inner must be given"),
        ("hidden", 0, "greater than 0"),
        ("layer", 3, "Extra inputs are not permitted"),
        ("vision.heads", 3, "whole multiple of 4"),
        ("vision.deepstack_layers", (3,), "must lie in 0..2"),
        ("vision.deepstack_layers", (1, 1), "rise without repeats"),
        ("audio.heads", 5, "multiple of heads 5"),
        ("audio.chunk_frames", 101, "must be even"),
        ("audio.chunk_frames", 200, "13 tokens"),
        ("audio.window_frames", 250, "multiple of chunk_frames"),
    ],
)
def test_impossible_shapes_are_refused_with_the_rule(path: str, value: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        ModelShape(**changed(path, value))


def one_field(data: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    place[last] = value


NUMBERS = [
    "hidden", "layers", "heads", "kv_heads", "head_dim", "experts", "top_k", "expert_inner", "dense_inner",
    "vision.hidden", "vision.layers", "vision.heads", "vision.inner", "vision.patch", "vision.temporal_patch",
    "vision.merge", "vision.position_grid", "audio.hidden", "audio.layers", "audio.heads", "audio.inner",
    "audio.mel_bins", "audio.conv_channels", "audio.chunk_frames", "audio.window_frames",
]  # fmt: skip
number = st.tuples(st.sampled_from(NUMBERS), st.one_of(st.integers(-1, 9), st.sampled_from([16, 24, 98, 100, 300])))
few = st.lists(st.integers(-1, 4), max_size=4).map(tuple)
layer_lists = st.tuples(st.sampled_from(["dense_layers", "vision.deepstack_layers"]), few)
sections = st.tuples(st.just("mrope_section"), st.tuples(*[st.integers(-1, 9)] * 3))
changes = st.lists(st.one_of(number, number, layer_lists, sections), min_size=1, max_size=3)


@settings(deadline=None, max_examples=35, derandomize=True)
@given(changes)
def test_what_is_accepted_builds_and_runs_and_is_counted(changes: list[tuple[str, Any]]) -> None:
    """Any fields set to any numbers: refused with a rule, or as `possible_shapes`."""
    data = SMALL.model_dump()
    for field, value in changes:
        # A merged block's weight grows with the fourth power of its side: that is possible, and more than a test holds.
        one_field(data, field, min(value, 9) if field == "vision.merge" else value)
    try:
        shape = ModelShape(**data)
    except ValidationError as error:
        assert all(problem["msg"] for problem in error.errors())
        return
    builds_and_runs_and_is_counted(shape)


@st.composite
def possible_shapes(draw: st.DrawFn) -> ModelShape:
    """Shapes that obey every rule by construction."""
    kv_heads, groups, pairs, layers = (draw(st.integers(1, most)) for most in (3, 4, 9, 4))
    experts, blocks, audio_heads = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    row, column = draw(st.integers(0, (pairs + 1) // 3)), draw(st.integers(0, pairs // 3))
    dense = draw(st.sets(st.integers(0, layers - 1)))
    deepstack = draw(st.sets(st.integers(0, blocks - 1), max_size=layers))
    vision_heads = draw(st.integers(1, 3))
    return ModelShape(
        hidden=draw(st.integers(1, 40)), layers=layers, heads=kv_heads * groups, kv_heads=kv_heads, head_dim=2 * pairs,
        experts=experts, top_k=draw(st.integers(1, experts)), expert_inner=draw(st.integers(1, 20)),
        dense_layers=tuple(sorted(dense)), dense_inner=draw(st.integers(1, 20)),
        tied_embeddings=draw(st.booleans()), mrope_section=(pairs - row - column, row, column),
        vision=VisionShape(
            hidden=4 * vision_heads * draw(st.integers(1, 3)), layers=blocks, heads=vision_heads,
            inner=draw(st.integers(1, 20)), patch=draw(st.integers(1, 5)), temporal_patch=draw(st.integers(1, 3)),
            merge=draw(st.integers(1, 3)), position_grid=draw(st.integers(1, 6)),
            deepstack_layers=tuple(sorted(deepstack)),
        ),
        audio=AudioShape(
            hidden=2 * audio_heads * draw(st.integers(2, 4)), layers=draw(st.integers(1, 3)), heads=audio_heads,
            inner=draw(st.integers(1, 20)), mel_bins=draw(st.integers(1, 20)), conv_channels=draw(st.integers(1, 5)),
            chunk_frames=100, window_frames=100 * draw(st.integers(1, 8)),
        ),
    )  # fmt: skip


@settings(deadline=None, max_examples=20, derandomize=True)
@given(possible_shapes())
def test_every_shape_within_the_rules_builds_and_runs_and_is_counted(shape: ModelShape) -> None:
    builds_and_runs_and_is_counted(shape)


def builds_and_runs_and_is_counted(shape: ModelShape) -> None:
    """A model of the counted size whose output is finite and whose FLOPs are those of torch's counter, with media."""
    config = OmniConfig(shape, VOCABULARY, IDS)
    model = OmniModel(config)
    assert count_parameters(config).total == sum(p.numel() for p in model.parameters())
    row = media_of_each_kind(model)
    tokens, (hidden_BSH, flops) = len(row.tokens), counted(model, row)
    assert hidden_BSH.isfinite().all()
    encoders = encoder_flops(config, row.grids, row.frames)
    assert flops == flops_per_token(config, tokens, causal=False).total * tokens + encoders.vision + encoders.audio


def media_of_each_kind(model: OmniModel) -> Row:
    w, merge = Writer(model.config), model.config.shape.vision.merge
    return w.text(w.audio(w.video(w.image(w.text(Row(), 3), merge, 2 * merge), 2, merge, merge), 130), 3)


def counted(model: OmniModel, row: Row) -> tuple[Tensor, int]:
    """Hidden states of one row, and the FLOPs that torch's counter sees with the head."""
    vision, audio = model.config.shape.vision, model.config.shape.audio
    size = len(row.tokens)
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "tokens_BS": torch.tensor([row.tokens]),
        "positions_3BS": torch.arange(size).expand(3, 1, -1),
        "document_BS": torch.ones(1, size, dtype=torch.int32),
        "patches_PC": torch.randn(sum(t * h * w for t, h, w in row.grids), vision.patch_values, generator=generator),
        "grid_G3": torch.tensor(row.grids),
        "is_video_G": torch.tensor(row.is_video),
        "mel_MF": torch.randn(audio.mel_bins, sum(row.frames), generator=generator),
        "mel_lengths_A": torch.tensor(row.frames),
    }
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=COUNTED_HERE) as counter:
        hidden_BSH = model(**inputs).hidden_BSH
        model.head(hidden_BSH)
    return hidden_BSH, counter.get_total_flops()


def test_presets_are_possible_and_round_trip() -> None:
    shapes = preset_shapes()
    assert list(shapes) == ["tiny", "small-student", "1b", "10b", "10b-active"]
    for shape in shapes.values():
        assert ModelShape(**yaml.safe_load(yaml.safe_dump(shape.model_dump(mode="json")))) == shape


def test_audio_tokens_equal_the_media_rule_and_transformers() -> None:
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

    rule = MediaRule()
    for frames in range(1, 450):
        tokens = SMALL.audio.tokens(frames)
        assert tokens == rule.audio_tokens(frames) == _get_feat_extract_output_lengths(frames)


def test_shapes_and_counts_need_no_torch() -> None:
    """The planner counts models without loading the training framework."""
    code = (
        "import sys\n"
        "from expedition.model import OmniConfig, count_parameters, flops_per_token\n"
        "from expedition.plan.shapes import TokenIds, preset_shapes\n"
        "config = OmniConfig(preset_shapes()['10b'], 152064, TokenIds())\n"
        "count_parameters(config), flops_per_token(config, 4096)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
