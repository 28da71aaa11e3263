"""config.json of an export: our config in the words of `Qwen3OmniMoeConfig`, and the way back.

Every token id is written, also those that the class does not declare and yet needs (`vision_start_token_id` …), and
`head_dim`, which it honours without declaring.
"""

from __future__ import annotations

from typing import Any

import torch

from expedition.errors import InputError
from expedition.model.config import OmniConfig
from expedition.model.rope import attention_factor
from expedition.plan.positions import RopeScaling
from expedition.plan.shapes import AudioShape, ModelShape, TokenIds, VisionShape

__all__ = ["ARCHITECTURE", "config_from_json", "config_json", "generation_json"]

ARCHITECTURE = "Qwen3OmniMoeForConditionalGeneration"


def config_json(config: OmniConfig, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """What transformers, vLLM and SGLang read to build the class; `dtype` is that of the weights' files."""
    ids, tied = config.token_ids, config.shape.tied_embeddings
    name = str(dtype).removeprefix("torch.")
    return {
        "architectures": [ARCHITECTURE],
        "model_type": "qwen3_omni_moe",
        "dtype": name,
        "enable_audio_output": False,
        "im_start_token_id": ids.im_start,
        "im_end_token_id": ids.im_end,
        "tie_word_embeddings": tied,
        "thinker_config": {
            "model_type": "qwen3_omni_moe_thinker",
            "dtype": name,
            "tie_word_embeddings": tied,
            "initializer_range": config.shape.init_std,
            "position_id_per_seconds": config.position_id_per_seconds,
            "image_token_id": ids.image_pad,
            "video_token_id": ids.video_pad,
            "audio_token_id": ids.audio_pad,
            "vision_start_token_id": ids.vision_start,
            "vision_end_token_id": ids.vision_end,
            "audio_start_token_id": ids.audio_start,
            "audio_end_token_id": ids.audio_end,
            "text_config": _text_json(config),
            "vision_config": _vision_json(config.shape),
            "audio_config": _audio_json(config.shape),
        },
    }


def _text_json(config: OmniConfig) -> dict[str, Any]:
    shape = config.shape
    return {
        "model_type": "qwen3_omni_moe_text",
        "vocab_size": config.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.dense_inner or shape.expert_inner * shape.top_k,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_positions,
        "initializer_range": shape.init_std,
        "rms_norm_eps": shape.norm_eps,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_parameters": {
            **_scaling_json(shape.rope_scaling),
            "rope_theta": shape.rope_theta,
            "mrope_section": list(shape.mrope_section),
            "mrope_interleaved": True,
        },
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(shape.dense_layers),
        "moe_intermediate_size": shape.expert_inner,
        "num_experts": shape.experts,
        "num_experts_per_tok": shape.top_k,
        "norm_topk_prob": True,
        "tie_word_embeddings": shape.tied_embeddings,
        "bos_token_id": None,
        "eos_token_id": config.token_ids.end_of_text,
        "pad_token_id": None,
    }


def _scaling_json(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    told: dict[str, Any] = {
        "rope_type": scaling.kind,
        "factor": scaling.factor,
        "original_max_position_embeddings": scaling.original_max_positions,
    }
    if scaling.kind == "yarn":
        told |= {
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
            "attention_factor": attention_factor(scaling),
            "truncate": scaling.truncate,
        }
    return told


def _scaling_of(rope: dict[str, Any], max_positions: int, where: str) -> RopeScaling | None:
    """Inverse of `_scaling_json`. Raises InputError for a type that is not computed here."""
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return None
    if kind not in ("linear", "yarn"):
        raise InputError(f"rope_type {kind!r} is none of default, linear, yarn", where=where)
    if rope.get("mscale") and rope.get("mscale_all_dim") and rope.get("attention_factor") is None:
        raise InputError("rope_parameters.mscale is not read", where=where, fix="write attention_factor instead")
    original = rope.get("original_max_position_embeddings") or int(max_positions / rope["factor"])
    plain = RopeScaling(kind=kind, factor=rope["factor"], original_max_positions=original)
    if kind == "linear":
        return plain
    names = ("beta_fast", "beta_slow", "attention_factor", "truncate")
    given = {name: rope[name] for name in names if rope.get(name) is not None}
    if given.get("attention_factor") == attention_factor(plain):
        del given["attention_factor"]
    return plain.model_copy(update=given)


def _vision_json(shape: ModelShape) -> dict[str, Any]:
    vision = shape.vision
    return {
        "model_type": "qwen3_omni_moe_vision_encoder",
        "depth": vision.layers,
        "hidden_size": vision.hidden,
        "hidden_act": "gelu_pytorch_tanh",
        "intermediate_size": vision.inner,
        "num_heads": vision.heads,
        "in_channels": 3,
        "patch_size": vision.patch,
        "spatial_merge_size": vision.merge,
        "temporal_patch_size": vision.temporal_patch,
        "out_hidden_size": shape.hidden,
        "num_position_embeddings": vision.position_grid**2,
        "deepstack_visual_indexes": list(vision.deepstack_layers),
    }


def _audio_json(shape: ModelShape) -> dict[str, Any]:
    audio = shape.audio
    return {
        "model_type": "qwen3_omni_moe_audio_encoder",
        "num_mel_bins": audio.mel_bins,
        "encoder_layers": audio.layers,
        "encoder_attention_heads": audio.heads,
        "encoder_ffn_dim": audio.inner,
        "d_model": audio.hidden,
        "activation_function": "gelu",
        "max_source_positions": audio.max_positions,
        "n_window": audio.chunk_frames // 2,
        "n_window_infer": audio.window_frames,
        "output_dim": shape.hidden,
        "conv_chunksize": 500,
        "downsample_hidden_size": audio.conv_channels,
    }


def generation_json(config: OmniConfig) -> dict[str, Any]:
    """Where generation ends, and what fills the shorter rows of a batch."""
    ids = config.token_ids
    return {"do_sample": False, "eos_token_id": [ids.end_of_text, ids.im_end], "pad_token_id": ids.end_of_text}


_ARITHMETIC: tuple[tuple[str, str, Any], ...] = (
    ("text_config", "hidden_act", "silu"),
    ("text_config", "norm_topk_prob", True),
    ("text_config", "decoder_sparse_step", 1),
    ("text_config", "attention_bias", False),
    ("vision_config", "hidden_act", "gelu_pytorch_tanh"),
    ("vision_config", "in_channels", 3),
    ("audio_config", "activation_function", "gelu"),
    ("audio_config", "scale_embedding", False),
)
"""Part, field and the one value that the model computes; a field that is not there has it."""


def config_from_json(document: dict[str, Any], where: str) -> OmniConfig:
    """Inverse of `config_json`; reads the field names of transformers 4 too, in which published checkpoints are.

    Raises InputError where the class or its arithmetic is another, or a field is missing.
    """
    if document.get("architectures") != [ARCHITECTURE]:
        raise InputError(f"the class is {document.get('architectures')}, this reads [{ARCHITECTURE}]", where=where)
    try:
        thinker = document["thinker_config"]
        _same_arithmetic(thinker, where)
        return OmniConfig(
            shape=_shape(thinker["text_config"], thinker["vision_config"], thinker["audio_config"], document, where),
            vocabulary=thinker["text_config"]["vocab_size"],
            token_ids=TokenIds(
                end_of_text=_one(thinker["text_config"].get("eos_token_id") or TokenIds().end_of_text),
                im_start=document["im_start_token_id"],
                im_end=document["im_end_token_id"],
                image_pad=thinker["image_token_id"],
                video_pad=thinker["video_token_id"],
                audio_pad=thinker["audio_token_id"],
                vision_start=thinker["vision_start_token_id"],
                vision_end=thinker["vision_end_token_id"],
                audio_start=thinker["audio_start_token_id"],
                audio_end=thinker["audio_end_token_id"],
            ),
            position_id_per_seconds=thinker["position_id_per_seconds"],
        )
    except KeyError as error:
        raise InputError(f"the config has no field {error}", where=where) from error
    except ValueError as error:
        raise InputError(str(error), where=where) from error


def _same_arithmetic(thinker: dict[str, Any], where: str) -> None:
    hidden = thinker["text_config"]["hidden_size"]
    widths = (("vision_config", "out_hidden_size", hidden), ("audio_config", "output_dim", hidden))
    for part, field, expected in (*_ARITHMETIC, *widths):
        if (found := thinker[part].get(field, expected)) != expected:
            raise InputError(f"{part}.{field} is {found!r}, the model computes {expected!r}", where=where)
    if not _rope(thinker["text_config"]).get("mrope_interleaved", True):
        raise InputError("mrope_interleaved is false, the model interleaves the three axes", where=where)
    side = round(thinker["vision_config"]["num_position_embeddings"] ** 0.5)
    if side**2 != thinker["vision_config"]["num_position_embeddings"]:
        raise InputError("vision_config.num_position_embeddings is no square", where=where)


def _rope(text: dict[str, Any]) -> dict[str, Any]:
    """`rope_parameters`; transformers 4 has a `rope_scaling` and the base beside it."""
    if text.get("rope_parameters") is not None:
        return dict(text["rope_parameters"])
    return {**(text.get("rope_scaling") or {}), "rope_theta": text["rope_theta"]}


def _one(value: int | list[int]) -> int:
    return value[0] if isinstance(value, list) else value


def _shape(
    text: dict[str, Any], vision: dict[str, Any], audio: dict[str, Any], whole: dict[str, Any], where: str
) -> ModelShape:
    return ModelShape(
        hidden=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        head_dim=text["head_dim"],
        experts=text["num_experts"],
        top_k=text["num_experts_per_tok"],
        expert_inner=text["moe_intermediate_size"],
        dense_layers=tuple(text["mlp_only_layers"]),
        dense_inner=text["intermediate_size"] if text["mlp_only_layers"] else 0,
        tied_embeddings=whole["thinker_config"]["tie_word_embeddings"],
        rope_theta=_rope(text)["rope_theta"],
        rope_scaling=_scaling_of(_rope(text), text["max_position_embeddings"], where),
        mrope_section=tuple(_rope(text)["mrope_section"]),
        norm_eps=text["rms_norm_eps"],
        max_positions=text["max_position_embeddings"],
        init_std=text["initializer_range"],
        vision=VisionShape(
            hidden=vision["hidden_size"],
            layers=vision["depth"],
            heads=vision["num_heads"],
            inner=vision["intermediate_size"],
            patch=vision["patch_size"],
            temporal_patch=vision["temporal_patch_size"],
            merge=vision["spatial_merge_size"],
            position_grid=round(vision["num_position_embeddings"] ** 0.5),
            deepstack_layers=tuple(vision["deepstack_visual_indexes"]),
        ),
        audio=AudioShape(
            hidden=audio["d_model"],
            layers=audio["encoder_layers"],
            heads=audio["encoder_attention_heads"],
            inner=audio["encoder_ffn_dim"],
            mel_bins=audio["num_mel_bins"],
            conv_channels=audio["downsample_hidden_size"],
            chunk_frames=2 * audio["n_window"],
            window_frames=audio["n_window_infer"],
            max_positions=audio["max_source_positions"],
        ),
    )
