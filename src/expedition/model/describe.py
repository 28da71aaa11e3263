"""A model of the programme in numbers: what `expedition model show` prints."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.model.counts import PartCounts, count_parameters, encoder_flops, flops_per_token
from expedition.plan.models import Programme
from expedition.plan.shapes import ModelShape, TokenIds

__all__ = ["describe_model", "model_lines", "rows_of"]

NAMED_TOKENS = 32
"""Room for our special tokens that are not action bins, in the upper bound of a compact vocabulary."""
PICTURE_PX = 448
CLIP_FRAMES = 8
SOUND_FRAMES = 3_000
"""Sizes of the media whose cost is shown: a square picture, a clip of such frames, a sound of 30 s in mel frames."""


def describe_model(programme: Programme, name: str, sequence: int, vocabulary: int | None = None) -> dict[str, Any]:
    """Sizes, parameters by part, FLOPs of a token in a document of `sequence` tokens, of media, and memory by state.

    Rows of the embedding table: `vocabulary`, else the whole padded one, or, where the programme trains this model on
    a compact one (which is made with the data), an upper bound of that. Raises UsageError for a name that is not
    there, with the nearest.
    """
    shape = _named(programme, name)
    rows, source = (vocabulary, "given") if vocabulary else rows_of(programme, name)
    ids = TokenIds(**{field: number for number, field in enumerate(asdict(TokenIds()))})
    config = OmniConfig(shape, rows, ids)
    counts = count_parameters(config)
    return {
        "model": name,
        "vocabulary_rows": rows,
        "vocabulary_is": source,
        "sizes": shape.model_dump(mode="json"),
        "parameters": counts.to_json(),
        "forward_flops_per_token": _token_flops(config, sequence),
        "forward_flops_of_media": _media_flops(config),
        "memory_bytes": _memory(shape, counts),
    }


def _named(programme: Programme, name: str) -> ModelShape:
    if name not in programme.models:
        near = difflib.get_close_matches(name, programme.models, n=1)
        fix = f"did you mean {near[0]}?" if near else f"one of: {', '.join(programme.models)}"
        raise UsageError(f"the programme has no model {name!r}", where="models", fix=fix)
    return programme.models[name]


def _token_flops(config: OmniConfig, sequence: int) -> dict[str, Any]:
    causal, full = (flops_per_token(config, sequence, causal=causal) for causal in (True, False))
    return {
        "sequence": sequence,
        "causal": {**asdict(causal), "total": causal.total},
        "full": {**asdict(full), "total": full.total},
        "definition": "products only, 2 FLOPs a multiply-add; causal attention is half; embedding look-up excluded,"
        " head included; encoders excluded; forward and backward are 3 times this",
    }


def _media_flops(config: OmniConfig) -> dict[str, Any]:
    vision, audio = config.shape.vision, config.shape.audio
    side = PICTURE_PX // (vision.patch * vision.merge) * vision.merge
    picture = (1, side, side)
    clip = (-(-CLIP_FRAMES // vision.temporal_patch), side, side)
    media = {
        f"picture of {PICTURE_PX} x {PICTURE_PX} px": (_grid_tokens(config, picture), [picture], []),
        f"clip of {CLIP_FRAMES} such frames": (_grid_tokens(config, clip), [clip], []),
        f"sound of {SOUND_FRAMES // 100} s": (audio.tokens(SOUND_FRAMES), [], [SOUND_FRAMES]),
    }
    return {
        what: {"tokens": tokens, "encoder": (flops := encoder_flops(config, grids, frames)).vision + flops.audio}
        for what, (tokens, grids, frames) in media.items()
    }


def _grid_tokens(config: OmniConfig, grid: tuple[int, int, int]) -> int:
    return grid[0] * grid[1] * grid[2] // config.shape.vision.merge_unit


def _memory(shape: ModelShape, counts: PartCounts) -> dict[str, Any]:
    """Bytes of the whole model by state, before sharding."""
    total = counts.total
    states = {"master_weights_fp32": 4 * total, "gradients_fp32": 4 * total, "adamw_moments_fp32": 8 * total}
    return {
        **states,
        "compute_weights_bf16": 2 * total,
        "training_total": sum(states.values()) + 2 * total,
        "checkpoint": 12 * total,
        "export_bf16": 2 * total,
        "kv_cache_of_a_token_bf16": 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim,
        "definition": "whole model with AdamW; sharding divides all but the compute weights, which are gathered a"
        " layer at a time; activations come on top",
    }


def model_lines(description: Mapping[str, Any]) -> Iterator[str]:
    """The description for a person, a line at a time."""
    sizes, parameters = description["sizes"], description["parameters"]
    yield f"{description['model']}: {_short(parameters['total'])} parameters, {_short(parameters['active'])} active a token"
    yield ""
    yield "sizes"
    for part, values in (("decoder", sizes), ("vision", sizes["vision"]), ("audio", sizes["audio"])):
        plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
        yield from _wrapped(part, [f"{key} {_size(value)}" for key, value in plain.items()])
    rows = f"{description['vocabulary_rows']:,} rows, {description['vocabulary_is']}"
    yield f"  {'vocabulary':<11} {rows}"
    yield ""
    yield f"parameters {'':<24} {'number':>16}    share"
    for part, number in parameters.items():
        if part in ("decoder", "total", "active"):
            continue
        share = "  of experts" if part == "active_experts" else f"  {100 * number / parameters['total']:5.2f} %"
        if number:
            yield f"  {part.replace('_', ' '):<33} {number:>16,}{share}"
    for part in ("decoder", "total", "active"):
        yield f"  {part:<33} {parameters[part]:>16,}"
    flops = description["forward_flops_per_token"]
    yield ""
    yield f"forward FLOPs a token, {flops['sequence']:,} tokens a document {'causal':>10} {'full':>16}"
    for part, number in flops["causal"].items():
        if not number:
            continue
        yield f"  {part.replace('_', ' '):<33} {number:>16,} {flops['full'][part]:>16,}"
    yield f"  {'forward and backward':<33} {3 * flops['causal']['total']:>16,} {3 * flops['full']['total']:>16,}"
    yield f"  ({flops['definition']})"
    yield ""
    yield f"media {'':<27} {'tokens':>10} {'encoder FLOPs':>16}"
    for what, cost in description["forward_flops_of_media"].items():
        yield f"  {what:<33} {cost['tokens']:>8,} {cost['encoder']:>18,}"
    yield ""
    yield "memory by state"
    for state, size in description["memory_bytes"].items():
        if state != "definition":
            yield f"  {state.replace('_', ' '):<33} {_bytes(size):>16}"
    yield f"  ({description['memory_bytes']['definition']})"


def _wrapped(part: str, items: list[str]) -> Iterator[str]:
    line = ""
    for item in items:
        if len(line) + len(item) > 96:
            yield f"  {part:<11} {line.removesuffix(', ')}"
            part, line = "", ""
        line += f"{item}, "
    yield f"  {part:<11} {line.removesuffix(', ')}"


def _size(value: Any) -> str:
    return "none" if value in (None, []) else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(number: int) -> str:
    return f"{number / 1e9:.2f}B" if number >= 10**9 else f"{number / 1e6:.2f}M"


def _bytes(size: int) -> str:
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:,.2f} {name}"
    return f"{size} B"


def rows_of(programme: Programme, name: str) -> tuple[int, str]:
    """Rows of the embedding table, and where the number comes from."""
    plan = programme.data.tokenizer
    trained = any(run.model == name for run in programme.runs.values())
    if plan.compact_entries is None:
        return plan.padded_size, "the programme's"
    if not trained:
        return plan.padded_size, "the whole vocabulary: no run of this programme trains this model"
    used = plan.compact_entries + (plan.added_from - plan.base_size) + plan.action_bins + NAMED_TOKENS
    return -(-used // 64) * 64, "at most this (compact tokenizer, made with the data)"
