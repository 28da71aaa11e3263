"""Shapes as data: impossible ones are refused with the rule that they break."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from expedition.plan.media import MediaRule
from expedition.plan.shapes import ModelShape, preset_shapes

from .inputs import SMALL


def changed(path: str, value: Any) -> dict[str, Any]:
    data = SMALL.model_dump()
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("kv_heads", 3, "heads 4 must be a multiple of kv_heads 3"),
        ("head_dim", 15, "head_dim 15 must be even"),
        ("mrope_section", (4, 2, 3), "sums to 9, must be head_dim / 2 = 8"),
        ("mrope_section", (0, 4, 4), "every third"),
        ("top_k", 7, "top_k 7 must be at most experts 6"),
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
