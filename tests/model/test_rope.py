"""Stretched positions against transformers: frequencies, logits of texts beyond the original length, and the config."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.model.export_config import config_from_json, config_json
from expedition.model.rope import inverse_frequencies, scaled_frequencies
from expedition.plan.positions import RopePlan, RopeScaling

from .inputs import CONFIG, Row, Writer, pack, randomised, transformers_thinker

CPU = torch.device("cpu")
LINEAR = RopeScaling(kind="linear", factor=4.0, original_max_positions=16)
YARN = RopeScaling(kind="yarn", factor=8.0, original_max_positions=32, beta_fast=4.0, beta_slow=0.5)
PLANS = {
    "theta": RopePlan(theta=5e6, max_positions=65536),
    "linear": RopePlan(scaling=LINEAR),
    "yarn": RopePlan(scaling=YARN),
    "yarn with its own factor and theta": RopePlan(
        theta=3e4, scaling=RopeScaling(kind="yarn", factor=2.5, original_max_positions=40, attention_factor=1.3)
    ),
    "yarn without rounding": RopePlan(
        scaling=RopeScaling(kind="yarn", factor=16.0, original_max_positions=128, truncate=False)
    ),
}


def config_of(plan: RopePlan) -> OmniConfig:
    return replace(CONFIG, shape=CONFIG.shape.with_positions(plan))


@pytest.mark.parametrize("name", PLANS)
def test_stretched_logits_equal_transformers(name: str) -> None:
    """The bound of test_parity; frequencies that are not stretched move these logits by more than a thousandth."""
    plain, stretched = randomised(), randomised(config_of(PLANS[name]))
    thinker = transformers_thinker(stretched)
    w = Writer()
    inputs = pack([w.text(w.image(w.text(Row(), 60), 4, 6), 40), w.text(Row(), 90)], thinker)
    with torch.no_grad():
        ours = stretched.head(stretched(**inputs.ours).hidden_BSH)[inputs.real_BS]
        other = plain.head(plain(**inputs.ours).hidden_BSH)[inputs.real_BS]
        theirs = thinker(**inputs.theirs).logits[inputs.real_BS]
    assert (ours - theirs).abs().max() <= 5e-6 * theirs.abs().max()
    assert (other - theirs).abs().max() > 1e-3 * theirs.abs().max()


@pytest.mark.parametrize("name", PLANS)
def test_the_exported_config_gives_the_positions_back(name: str) -> None:
    config = config_of(PLANS[name])
    found = config_from_json(config_json(config), "config.json").shape
    assert (found.rope_theta, found.max_positions) == (config.shape.rope_theta, config.shape.max_positions)
    assert found.rope_scaling == config.shape.rope_scaling


def test_a_scaling_that_is_not_computed_here_is_refused() -> None:
    document = config_json(CONFIG)
    document["thinker_config"]["text_config"]["rope_parameters"] |= {"rope_type": "longrope", "factor": 2.0}
    with pytest.raises(InputError, match="longrope"):
        config_from_json(document, "config.json")


@settings(max_examples=60, deadline=None)
@given(
    factor=st.floats(1, 64),
    original=st.integers(256, 32768),
    theta=st.sampled_from([1e4, 1e6]),
    kind=st.sampled_from(["linear", "yarn"]),
)
def test_frequencies_lie_between_the_plain_and_the_divided_ones(
    factor: float, original: int, theta: float, kind: str
) -> None:
    scaling = RopeScaling(kind=kind, factor=factor, original_max_positions=original)
    plain_d, found_d = inverse_frequencies(128, theta, CPU), scaled_frequencies(128, theta, scaling, CPU)
    assert torch.all(found_d <= plain_d * (1 + 1e-6)) and torch.all(found_d >= plain_d / factor * (1 - 1e-6))
    assert torch.all(found_d[:-1] >= found_d[1:])
    if kind == "yarn":
        turns_d = original * plain_d / (2 * torch.pi)
        assert torch.allclose(found_d[turns_d > 80], plain_d[turns_d > 80])
        assert torch.allclose(found_d[turns_d < 0.4], plain_d[turns_d < 0.4] / factor)


def test_a_scaling_of_one_changes_nothing() -> None:
    scaling = RopeScaling(kind="yarn", factor=1.0, original_max_positions=4096)
    assert torch.allclose(scaled_frequencies(64, 1e6, scaling, CPU), inverse_frequencies(64, 1e6, CPU))
