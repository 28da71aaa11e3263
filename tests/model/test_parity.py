"""Our model against transformers' Qwen3OmniMoe thinker: same weights, same inputs, every modality.

The bound. Both run float32 on the CPU and differ only in the order of sums: fused against split products, packed
against per-segment attention, sorted against masked experts. A sum of n terms in another order differs by about
sqrt(n) · 2⁻²⁴ relative; the longest here is n = 384 (a merged block's patches), some 20 operations deep: about 1e-6 of
the largest logit is expected, 3.5e-7 (small) to 1.2e-6 (middle) were seen, 5e-6 is allowed for other processors. What it would not
pass: a wrong interpolation tap, GELU kind (tanh against exact differs by 3e-4), rotary axis, attention window or
padding moves logits by far more.
One exception is excluded by the data: where two router probabilities tie to rounding, another expert may be chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from expedition.model.attention import RMSNorm
from expedition.model.omni import OmniModel

from .inputs import CONFIG, MIDDLE, Row, Writer, pack, randomised, transformers_thinker

BOUND = 5e-6


def text(w: Writer) -> list[Row]:
    return [w.text(Row(), 40)]


def image(w: Writer) -> list[Row]:
    return [w.text(w.image(w.text(Row(), 5), 6, 4), 9)]


def several_images(w: Writer) -> list[Row]:
    row = w.text(Row(), 3)
    for rows, columns in ((4, 4), (2, 8), (10, 6), (4, 4), (2, 2)):
        row = w.text(w.image(row, rows, columns), 2)
    return [row]


def video(w: Writer) -> list[Row]:
    return [w.text(w.video(w.text(Row(), 4), 3, 4, 6, seconds=0.7), 8)]


def video_beside_audio(w: Writer) -> list[Row]:
    return [w.text(w.audio(w.video(w.text(Row(), 4), 2, 4, 4), 230), 6)]


def video_with_its_audio(w: Writer) -> list[Row]:
    return [w.text(w.video_with_audio(w.text(Row(), 3), (3, 4, 4), 190, seconds=0.5), 6)]


def audio(w: Writer) -> list[Row]:
    """Three clips: several windows with a tail, exactly one chunk, less than a chunk."""
    row = w.audio(w.text(Row(), 3), 537)
    return [w.text(w.audio(w.text(w.audio(row, 100), 2), 61), 4)]


def short_audio_only(w: Writer) -> list[Row]:
    """No full chunk: chunks are padded to the longest clip, windows shrink with it."""
    return [w.text(w.audio(w.audio(Row(), 37), 90), 4)]


def mixed_with_padding(w: Writer) -> list[Row]:
    return [
        w.text(w.image(w.text(Row(), 4), 4, 6), 3),
        w.text(Row(), 21),
        w.text(w.video(w.text(w.audio(w.text(w.image(Row(), 2, 2), 3), 143), 1), 2, 4, 4), 9),
        w.text(w.audio(w.text(Row(), 1), 15), 5),
    ]


def clips_with_sound_and_padding(w: Writer) -> list[Row]:
    return [
        w.text(w.video_with_audio(w.text(Row(), 9), (2, 4, 6), 230, seconds=1.0), 3),
        w.text(w.video_with_audio(Row(), (3, 2, 4), 100, seconds=0.4), 2),
    ]


CASES = [
    text, image, several_images, video, video_beside_audio, video_with_its_audio, audio, short_audio_only,
    mixed_with_padding, clips_with_sound_and_padding,
]  # fmt: skip


SHAPES = {"small": CONFIG, "middle": MIDDLE}


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(request: pytest.FixtureRequest) -> tuple[OmniModel, Any]:
    """Our model and transformers' class with the same weights, biases and norms random too."""
    model = randomised(SHAPES[request.param])
    return model, transformers_thinker(model)


@pytest.mark.parametrize(
    ("case", "side"),
    [*((case, "left") for case in CASES), (mixed_with_padding, "right"), (clips_with_sound_and_padding, "right")],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_logits_equal_transformers(pair: tuple[OmniModel, Any], case: Callable[[Writer], list[Row]], side: str) -> None:
    model, thinker = pair
    inputs = pack(case(Writer(model.config)), thinker, model.config, side=side)
    with torch.no_grad():
        ours = model.head(model(**inputs.ours).hidden_BSH)[inputs.real_BS]
        theirs = thinker(**inputs.theirs).logits[inputs.real_BS]
    assert (ours - theirs).abs().max() <= BOUND * theirs.abs().max()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_gradients_equal_transformers(pair: tuple[OmniModel, Any], case: Callable[[Writer], list[Row]]) -> None:
    """Every parameter's gradient of the same scalar, to 1e-4 of its largest entry.

    Gradients pass the network twice and sum over tokens with cancellation: twenty times the bound of the logits, with
    a floor of 1e-6 of the largest gradient of all for parameters whose own gradient is zero in exact arithmetic (the
    key bias of the audio attention: softmax does not see a constant).
    """
    model, thinker = pair
    for module in (model, thinker):
        module.zero_grad(set_to_none=True)
    inputs = pack(case(Writer(model.config)), thinker, model.config)
    probe = torch.randn(int(inputs.real_BS.sum()), model.config.vocabulary, generator=torch.Generator().manual_seed(5))
    (model.head(model(**inputs.ours).hidden_BSH)[inputs.real_BS] * probe).sum().backward()
    (thinker(**inputs.theirs).logits[inputs.real_BS] * probe).sum().backward()
    theirs = dict(thinker.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in theirs.values() if p.grad is not None)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        expected = theirs[name].grad
        if expected is None:  # transformers leaves an encoder without input out; ours takes part with zeros
            assert not parameter.grad.any(), name
            continue
        allowed = 1e-4 * float(expected.abs().max()) + 1e-6 * largest
        assert float((parameter.grad - expected).abs().max()) <= allowed, name


def wrong(model: OmniModel, what: str) -> OmniModel:
    """The model with one mistake of the kind that the bound is there to find."""
    spoilt = randomised(model.config)
    if what == "norm epsilon of 1e-5":
        for module in spoilt.modules():
            if isinstance(module, RMSNorm):
                module.eps = 1e-5
    elif what == "exact GELU in the vision encoder":
        for block in spoilt.visual.blocks:
            block.mlp.forward = _exact_gelu(block.mlp)
    elif what == "deepstack levels swapped":
        spoilt.visual.merger_list = torch.nn.ModuleList(reversed(list(spoilt.visual.merger_list)))
    elif what == "one weight moved by 1e-3":
        with torch.no_grad():
            spoilt.model.layers[1].self_attn.o_proj.weight[0, 0] += 1e-3
    elif what == "rope base 1 % larger":
        spoilt.model.shape = model.config.shape.model_copy(update={"rope_theta": 1.01 * model.config.shape.rope_theta})
    return spoilt


def _exact_gelu(mlp: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: mlp.linear_fc2(torch.nn.functional.gelu(mlp.linear_fc1(x)))


@pytest.mark.parametrize(
    "what",
    [
        "norm epsilon of 1e-5", "exact GELU in the vision encoder", "deepstack levels swapped",
        "one weight moved by 1e-3", "rope base 1 % larger",
    ],
)  # fmt: skip
def test_the_bound_does_not_pass_a_small_mistake(what: str) -> None:
    """Each moves the logits by at least twice the bound: no test of parity could pass with it."""
    model = randomised()
    inputs = pack(mixed_with_padding(Writer()), transformers_thinker(model)).ours
    with torch.no_grad():
        right, other = (m.head(m(**inputs).hidden_BSH) for m in (model, wrong(model, what)))
    assert (other - right).abs().max() > 2 * BOUND * right.abs().max()
