"""The model on a CUDA device: values as on the CPU, bf16 through the grouped products, generation, the 1b preset."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from expedition.model.config import OmniConfig
from expedition.model.generation import HOST, generate
from expedition.model.omni import OmniModel
from expedition.model.sampling import Sampling, Stopping
from expedition.plan.shapes import TokenIds, preset_shapes

from .inputs import CONFIG, Row, Writer, pack, randomised, transformers_thinker

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def rows() -> list[Row]:
    w = Writer()
    return [
        w.text(w.image(w.text(w.image(w.text(Row(), 4), 4, 6), 2), 10, 4), 3),
        w.text(Row(), 21),
        w.text(w.audio(w.video(w.text(Row(), 1), 2, 4, 4), 343), 9),
    ]


def on_cuda(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor if name in HOST else tensor.cuda() for name, tensor in inputs.items()}


def test_float32_equals_cpu() -> None:
    """Products in full float32 (no TF32): sums in another order, as between the CPU and transformers."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = randomised()
    inputs = pack(rows(), transformers_thinker(model))
    with torch.no_grad():
        expected = model(**inputs.ours).hidden_BSH[inputs.real_BS]
        got = model.cuda()(**on_cuda(inputs.ours)).hidden_BSH.cpu()[inputs.real_BS]
    assert (got - expected).abs().max() < 5e-5 * expected.abs().max()


def test_bf16_equals_transformers_in_bf16() -> None:
    """Grouped products against transformers' own: both bf16, so each is as far from float32 as the other.

    Sizes of this test are multiples of 8, which the grouped product needs for its 16-byte rows.
    """
    shape = CONFIG.shape.model_copy(update={"expert_inner": 24})
    model = randomised(OmniConfig(shape, 200, CONFIG.token_ids))
    thinker = transformers_thinker(model)
    inputs = pack(rows(), thinker)
    with torch.no_grad():
        exact = model.head(model(**inputs.ours).hidden_BSH)[inputs.real_BS]
        there = {name: v.cuda() if isinstance(v, Tensor) else v for name, v in inputs.theirs.items()}
        theirs = thinker.cuda().bfloat16()(**there)
        half = model.cuda().bfloat16()
        ours = half.head(half(**on_cuda(inputs.ours)).hidden_BSH)
    far = [(x.float().cpu()[inputs.real_BS] - exact).abs().mean() for x in (ours, theirs.logits)]
    assert far[0] < 1.5 * far[1]


def test_greedy_on_cuda_equals_cpu() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = randomised(seed=2)
    inputs = pack(rows(), transformers_thinker(model))
    prompts = SimpleNamespace(**{name: tensor.numpy() for name, tensor in inputs.ours.items()})
    free = Stopping(token_ids=())
    expected = generate(model, prompts, 60, stopping=free)
    assert np.array_equal(generate(model.cuda(), prompts, 60, stopping=free), expected)


def test_sampling_on_cuda_repeats_with_its_seed() -> None:
    model = randomised(seed=2).cuda()
    inputs = pack(rows(), _Positions())
    prompts = SimpleNamespace(**{name: tensor.numpy() for name, tensor in inputs.ours.items()})
    sampling = Sampling(temperature=1.0, top_p=0.9, min_p=0.01, repetition_penalty=1.1, seed=4)
    first, again = (generate(model, prompts, 20, sampling, num_return_sequences=2) for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first[0], first[1])


def test_a_step_of_the_1b_preset_gives_finite_gradients_without_host_synchronisation() -> None:
    """The forward pass of a packed row with pictures and sound in bf16 never waits for the device."""
    config = OmniConfig(preset_shapes()["1b"], 152064, TokenIds())
    with torch.device("cuda"):
        model = OmniModel(config).bfloat16()
    w = Writer(config)
    documents = [w.text(w.audio(w.image(w.text(Row(), 200), 16, 24), 800), 300)]
    inputs = on_cuda(pack(documents, _Positions(), config).ours)
    inputs["patches_PC"], inputs["mel_MF"] = inputs["patches_PC"].bfloat16(), inputs["mel_MF"].bfloat16()
    model(**inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = model(**inputs)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    output.hidden_BSH.float().square().mean().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


class _Positions:
    """Text positions for every token: enough where values are not compared."""

    def get_rope_index(self, tokens_BS: Tensor, *rest: object) -> tuple[Tensor]:
        return (torch.arange(tokens_BS.shape[1]).expand(3, *tokens_BS.shape).float(),)
