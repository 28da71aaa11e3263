"""Processor files of an export: how transformers makes the model's inputs of pictures, clips, sounds and messages.

All sizes come from the media rule that trained the model, so transformers' own processor gives the same tokens.
"""

from __future__ import annotations

from typing import Any

from expedition.plan.media import MediaRule

__all__ = [
    "MEDIA_TOKENS",
    "call_arguments",
    "preprocessor_json",
    "processor_json",
    "tokenizer_config_json",
]

MEDIA_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "audio_token": "<|audio_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
"""Names under which `Qwen3OmniMoeProcessor` asks the tokenizer for the tokens around and in place of media."""


def tokenizer_config_json(own: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's own config plus what the processor asks of it."""
    return {
        **own,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "Qwen3OmniMoeProcessor",
        "extra_special_tokens": {**_named(own.get("extra_special_tokens")), **MEDIA_TOKENS},
        "padding_side": "left",
    }


def _named(tokens: object) -> dict[str, str]:
    return {str(name): str(token) for name, token in tokens.items()} if isinstance(tokens, dict) else {}


def _pixels(rule: MediaRule) -> dict[str, Any]:
    return {
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "patch_size": rule.patch,
        "merge_size": rule.merge,
        "temporal_patch_size": rule.temporal_patch,
    }


def _image(rule: MediaRule) -> dict[str, Any]:
    size = {"shortest_edge": rule.image_min_pixels, "longest_edge": rule.image_max_pixels}
    return {"image_processor_type": "Qwen2VLImageProcessor", **_pixels(rule), "size": size}


def _video(rule: MediaRule) -> dict[str, Any]:
    return {
        "video_processor_type": "Qwen2VLVideoProcessor",
        **_pixels(rule),
        "size": {"shortest_edge": rule.image_min_pixels, "longest_edge": rule.video_max_pixels},
        "fps": rule.video_fps,
        "min_frames": 1,
        "max_frames": rule.video_max_frames,
        "do_sample_frames": False,
    }


def _audio(rule: MediaRule) -> dict[str, Any]:
    samples = rule.audio_samples(1 << 62)
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": rule.mel_bins,
        "sampling_rate": rule.sample_rate,
        "hop_length": rule.hop,
        "n_fft": rule.n_fft,
        "chunk_length": samples // rule.sample_rate,
        "n_samples": samples,
        "nb_max_frames": samples // rule.hop,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "dither": 0.0,
    }


def call_arguments(rule: MediaRule, frames_per_s: float) -> dict[str, Any]:
    """What a call of transformers' processor must be given for clips of `frames_per_s`.

    Its own defaults for a clip's size go before the saved ones, it takes a clip for one frame a second, and its rate is
    stated such that temporal patches lie a whole number of positions apart, as they do in training: a hair more, so that
    a frame never rounds to after the sound of its moment.
    """
    fps = rule.temporal_patch / rule.second_per_grid(rule.video_time_step(frames_per_s)) * (1 + 1e-12)
    videos = {"size": _video(rule)["size"], "fps": fps, "use_audio_in_video": rule.audio_in_video}
    return {"videos_kwargs": {**videos, "position_id_per_seconds": rule.position_id_per_seconds}}


def processor_json(rule: MediaRule) -> dict[str, Any]:
    """processor_config.json: all parts nested, as transformers 5 writes it."""
    return {
        "processor_class": "Qwen3OmniMoeProcessor",
        "image_processor": _image(rule),
        "video_processor": _video(rule),
        "feature_extractor": _audio(rule),
    }


def preprocessor_json(rule: MediaRule) -> dict[str, Any]:
    """preprocessor_config.json: picture and sound flat in one file, as transformers 4 and serving engines read it."""
    pixels = {"min_pixels": rule.image_min_pixels, "max_pixels": rule.image_max_pixels}
    return {"processor_class": "Qwen3OmniMoeProcessor", **_image(rule), **pixels, **_audio(rule)}
