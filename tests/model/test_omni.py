"""What the whole model promises beyond parity: isolation of documents, encoders in every step, clear refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from expedition.errors import InputError, ProgrammeError
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.plan.media import MediaRule
from expedition.plan.shapes import TokenIds, preset_shapes

from .inputs import CONFIG, IDS, Row, Writer, pack, randomised, transformers_thinker


def packed(inputs: dict[str, Tensor], real_BS: Tensor) -> dict[str, Tensor]:
    """All rows' documents one after the other in a single row, with padding after them."""
    one = dict(inputs)
    flat = real_BS.flatten()
    number = (torch.arange(1, len(real_BS) + 1)[:, None] * real_BS).flatten()[flat]
    one["tokens_BS"] = torch.cat((inputs["tokens_BS"].flatten()[flat], torch.ones(3, dtype=torch.long)))[None]
    one["document_BS"] = torch.cat((number, torch.zeros(3, dtype=torch.long))).int()[None]
    one["positions_3BS"] = torch.cat((inputs["positions_3BS"].flatten(1)[:, flat], torch.zeros(3, 3)), dim=1)[:, None]
    return one


def documents() -> list[Row]:
    w = Writer()
    return [
        w.text(w.image(w.text(Row(), 4), 4, 6), 3),
        w.text(Row(), 21),
        w.text(w.audio(w.video(w.text(Row(), 1), 2, 4, 4), 143), 9),
    ]


def test_packing_documents_into_a_row_changes_nothing() -> None:
    """A row of three documents gives what three rows give, to float32 rounding of another batch layout."""
    model = randomised()
    inputs = pack(documents(), transformers_thinker(model))
    with torch.no_grad():
        rows = model(**inputs.ours).hidden_BSH[inputs.real_BS]
        row = model(**packed(inputs.ours, inputs.real_BS)).hidden_BSH[0, :-3]
    assert (rows - row).abs().max() < 2e-5 * rows.abs().max()


def test_documents_do_not_see_each_other() -> None:
    """The gradient of one document's states with respect to the others' embeddings is exactly zero."""
    model = randomised()
    inputs = packed(*(lambda i: (i.ours, i.real_BS))(pack(documents(), transformers_thinker(model))))
    seen: list[Tensor] = []
    handle = model.model.embed_tokens.register_forward_hook(lambda _m, _i, out: seen.append(out) or out.retain_grad())
    middle = inputs["document_BS"][0] == 2
    model(**inputs).hidden_BSH[0, middle].sum().backward()
    handle.remove()
    assert seen[0].grad is not None
    assert seen[0].grad[0, middle].any() and not seen[0].grad[0, ~middle].any()


def test_encoders_take_part_without_media() -> None:
    """Text alone: every parameter of both encoders gets a gradient, and it is zero; the output does not change."""
    model = randomised()
    inputs = pack([Writer().text(Row(), 12)], transformers_thinker(model)).ours
    hidden = model(**inputs).hidden_BSH
    model.head(hidden).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if name.startswith(("visual.", "audio_tower.")):
            assert not parameter.grad.any(), name
    with torch.no_grad():
        for parameter in (*model.visual.parameters(), *model.audio_tower.parameters()):
            parameter.add_(1.0)
        assert torch.equal(model(**inputs).hidden_BSH, hidden)


def test_router_output_is_complete() -> None:
    model = randomised()
    inputs = pack(documents(), transformers_thinker(model)).ours
    output = model(**inputs)
    shape, tokens = model.config.shape, inputs["tokens_BS"].numel()
    assert len(output.router) == len(shape.moe_layers)
    for router in output.router:
        assert router.logits_TE.shape == (tokens, shape.experts) and router.logits_TE.requires_grad
        expected = router.logits_TE.topk(shape.top_k).indices
        assert torch.equal(router.topk_TK, expected)


def test_pad_tokens_without_media_are_refused() -> None:
    model = randomised()
    inputs = pack(documents(), transformers_thinker(model)).ours
    with pytest.raises(InputError, match="image and video pad tokens stand for"):
        model(**{**inputs, "tokens_BS": inputs["tokens_BS"].masked_fill(inputs["tokens_BS"] == IDS.video_pad, 30)})
    with pytest.raises(InputError, match="audio pad tokens stand for"):
        model(**{**inputs, "tokens_BS": inputs["tokens_BS"].masked_fill(inputs["tokens_BS"] == IDS.audio_pad, 30)})


def test_a_row_of_padding_alone_is_finite() -> None:
    model = randomised()
    inputs = pack([Writer().text(Row(), 8)], transformers_thinker(model)).ours
    inputs["document_BS"] = torch.zeros_like(inputs["document_BS"])
    hidden = model(**inputs).hidden_BSH
    hidden.sum().backward()
    assert hidden.isfinite().all() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_bf16_follows_float32() -> None:
    """bf16 keeps 8 bits; over three layers the states stay within 5 % of the largest float32 state."""
    model = randomised()
    inputs = pack(documents(), transformers_thinker(model)).ours
    with torch.no_grad():
        exact = model(**inputs).hidden_BSH
        half = model.bfloat16()(**inputs).hidden_BSH
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().mean() < 0.05 * exact.abs().mean() + 0.02


def test_same_input_twice_is_bit_equal() -> None:
    model = randomised()
    inputs = pack(documents(), transformers_thinker(model)).ours

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(**inputs).hidden_BSH.square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


@pytest.mark.parametrize("field", ["patch", "merge", "temporal_patch", "mel_bins"])
def test_shape_and_media_rule_must_agree(field: str) -> None:
    shape, rule = preset_shapes()["tiny"], MediaRule()
    assert OmniConfig.from_plan(shape, rule, IDS, 512).position_id_per_seconds == rule.position_id_per_seconds
    with pytest.raises(ProgrammeError, match=field):
        OmniConfig.from_plan(shape, rule.model_copy(update={field: getattr(rule, field) + 1}), IDS, 512)


def test_config_survives_json() -> None:
    assert OmniConfig.from_json(CONFIG.to_json()) == CONFIG


def test_token_ids_come_from_a_tokenizer() -> None:
    table = {"<|endoftext|>": 7, **{f"<|{name}|>": 20 + n for n, name in enumerate(TokenIds.__slots__)}}
    ids = TokenIds.from_tokenizer(table.__getitem__)
    assert ids.end_of_text == 7 and ids.audio_pad == table["<|audio_pad|>"]


def test_first_weights_have_the_std_that_the_shape_says() -> None:
    """fan-in: variance 1 / inputs for products, `position_std` for the position table; norms one, biases zero."""
    model = OmniModel(OmniConfig(preset_shapes()["tiny"], 1024, IDS), seed=1)
    for name, fan_in in (
        ("model.layers.0.self_attn.q_proj.weight", 128),
        ("model.layers.1.mlp.experts.gate_up_proj", 128),
        ("model.layers.1.mlp.experts.down_proj", 64),
        ("visual.patch_embed.proj.weight", 384),
        ("audio_tower.conv2d2.weight", 288),
    ):
        assert model.get_parameter(name).std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
    assert model.visual.pos_embed.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert (model.model.norm.weight == 1).all() and (model.visual.blocks[0].attn.qkv.bias == 0).all()
