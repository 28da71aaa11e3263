"""A model of the programme in numbers: what `expedition model show` and `counts` print."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters, flops_per_token
from expedition.plan.data import TokenizerPlan
from expedition.plan.models import Programme
from expedition.plan.shapes import ModelShape, TokenIds

__all__ = ["describe_counts", "named_shape"]

NAMED_TOKENS = 32
"""Room for our special tokens that are not action bins, in the upper bound of a compact vocabulary."""


def named_shape(programme: Programme, name: str) -> ModelShape:
    """A shape of the programme. Raises UsageError with the nearest name."""
    if name not in programme.models:
        near = difflib.get_close_matches(name, programme.models, n=1)
        fix = f"did you mean {near[0]}?" if near else f"one of: {', '.join(programme.models)}"
        raise UsageError(f"the programme has no model {name!r}", where="models", fix=fix)
    return programme.models[name]


def describe_counts(programme: Programme, name: str, sequence: int, vocabulary: int | None = None) -> dict[str, Any]:
    """Parameters by part and forward FLOPs of a token in a document of `sequence` tokens.

    Rows of the embedding table: `vocabulary`, else the programme's; a compact tokenizer is made with the data, so its
    rows are an upper bound here.
    """
    shape = named_shape(programme, name)
    rows = vocabulary or _rows(programme.data.tokenizer)
    ids = TokenIds(**{field: number for number, field in enumerate(asdict(TokenIds()))})
    config = OmniConfig(shape, rows, ids)
    causal, full = (flops_per_token(config, sequence, causal=causal) for causal in (True, False))
    return {
        "model": name,
        "vocabulary_rows": rows,
        "vocabulary_is": "given" if vocabulary else _source(programme.data.tokenizer),
        "parameters": count_parameters(config).to_json(),
        "forward_flops_per_token": {
            "sequence": sequence,
            "causal": {**asdict(causal), "total": causal.total},
            "full": {**asdict(full), "total": full.total},
            "definition": "products only, 2 FLOPs a multiply-add; causal attention is half; embedding look-up excluded,"
            " head included; encoders excluded; forward and backward are 3 times this",
        },
    }


def _rows(plan: TokenizerPlan) -> int:
    if plan.compact_entries is None:
        return plan.padded_size
    used = plan.compact_entries + (plan.added_from - plan.base_size) + plan.action_bins + NAMED_TOKENS
    return -(-used // 64) * 64


def _source(plan: TokenizerPlan) -> str:
    return "the programme's" if plan.compact_entries is None else "at most this (compact tokenizer, made with the data)"
