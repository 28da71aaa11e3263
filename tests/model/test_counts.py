"""Counted parameters and FLOPs against the built model and torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters, encoder_flops, flops_per_token
from expedition.model.omni import OmniModel
from expedition.plan.shapes import TokenIds, preset_shapes

from .inputs import CONFIG, COUNTED_HERE, IDS, MIDDLE, Row, Writer, pack, randomised, transformers_thinker

QWEN_ROWS = 152064


def config_of(name: str) -> OmniConfig:
    return CONFIG if name == "small" else OmniConfig(preset_shapes()[name], QWEN_ROWS, TokenIds())


@pytest.mark.parametrize("name", ["small", "tiny", "1b", "10b", "10b-active"])
def test_counts_equal_the_built_model(name: str) -> None:
    config = config_of(name)
    with torch.device("meta"):
        sizes = {name: p.numel() for name, p in OmniModel(config).named_parameters()}
    counts = count_parameters(config)

    def built(prefix: str, *parts: str) -> int:
        return sum(size for name, size in sizes.items() if name.startswith(prefix) and any(p in name for p in parts))

    assert counts.total == sum(sizes.values())
    assert counts.vision == built("visual.", "")
    assert counts.audio == built("audio_tower.", "")
    assert counts.experts == built("model.", ".experts.")
    assert counts.router == built("model.", ".mlp.gate.weight")
    assert counts.attention == built("model.", ".self_attn.")
    assert counts.dense == built("model.", ".mlp.gate_proj", ".mlp.up_proj", ".mlp.down_proj")
    assert counts.norms == built("model.", "layernorm", "model.norm.")
    assert counts.embedding + counts.head == built("model.", "embed_tokens") + built("lm_head", "")


@pytest.mark.parametrize(
    ("name", "decoder", "vision", "audio", "active"),
    [
        ("1b", 1_188_355_072, 138_372_352, 96_485_248, 508_877_824),
        ("10b", 10_894_845_952, 538_631_408, 647_927_168, 2_127_702_016),
    ],
)
def test_presets_have_exactly_these_parameters(name: str, decoder: int, vision: int, audio: int, active: int) -> None:
    """Plans, budgets and the cards of releases rely on these: a change of a preset is a new model."""
    counts = count_parameters(config_of(name))
    assert (counts.decoder, counts.vision, counts.audio, counts.active) == (decoder, vision, audio, active)


def test_presets_are_the_sizes_they_are_called() -> None:
    one, ten, active = (count_parameters(config_of(name)) for name in ("1b", "10b", "10b-active"))
    assert 1.15e9 < one.decoder < 1.25e9
    assert 10.85e9 < ten.decoder < 10.95e9
    assert 2.05e9 < ten.active < 2.15e9
    assert 9.9e9 < active.active < 10.1e9


@pytest.mark.parametrize("config", [CONFIG, MIDDLE], ids=["small", "middle"])
def test_flops_equal_torch_counter(config: OmniConfig) -> None:
    """Exact, without a tolerance: both count products only, and masked pairs of attention in full."""
    model = randomised(config)
    thinker = transformers_thinker(model)
    w = Writer(config)
    row = w.text(w.audio(w.audio(w.video(w.image(w.text(Row(), 5), 4, 6), 2, 4, 4), 930), 37), 5)
    inputs = pack([row], thinker, config)
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=COUNTED_HERE) as counter:
        model.head(model(**inputs.ours).hidden_BSH)
    tokens = len(row.tokens)
    decoder = flops_per_token(config, tokens, causal=False).total * tokens
    encoders = encoder_flops(config, row.grids, row.frames)
    parts = counter.get_flop_counts()
    assert sum(parts["OmniModel.visual"].values()) == encoders.vision
    assert sum(parts["OmniModel.audio_tower"].values()) == encoders.audio
    assert counter.get_total_flops() == decoder + encoders.vision + encoders.audio


def test_causal_attention_is_half() -> None:
    full, half = (flops_per_token(CONFIG, 4096, causal=causal) for causal in (False, True))
    assert 2 * half.attention_scores == full.attention_scores
    assert half.total - half.attention_scores == full.total - full.attention_scores


def test_vocabulary_must_hold_the_token_ids() -> None:
    from expedition.errors import ProgrammeError

    with pytest.raises(ProgrammeError, match="no row for token id 10"):
        OmniConfig(CONFIG.shape, 10, IDS)
