"""Documents as rows ready for a shard: JSON member, stored tokens, media, and which shard they belong to.

Stored tokens: text encoded between inserts, one id for each insert, `<|endoftext|>` last. Media are not expanded: the
loader does that by the programme's media rule, so a shard outlives a change of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from expedition.data.records import PLACEHOLDER
from expedition.data.tokenizer import Tokenizer
from expedition.data.versions.decisions import META
from expedition.plan.media import MediaRule
from expedition.workspace.hashes import canonical_json

MEDIA_TOKENS = {"image": "<|image|>", "video": "<|video|>", "audio": "<|audio|>"}
BRACKET_TOKENS = 2
"""Start and end token that the loader puts around a medium's pad tokens."""

MEDIA_TYPE = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("insert", pa.int32(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
    ]
)
ROW_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("inner", pa.string()),
        pa.field("url", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("json", pa.large_binary(), nullable=False),
        pa.field("tokens", pa.large_binary(), nullable=False),
        pa.field("modalities", pa.string(), nullable=False),
        pa.field("decisions", pa.string(), nullable=False),
        pa.field("media", pa.list_(MEDIA_TYPE), nullable=False),
    ]
)
"""What travels through the exchange; `tokens` is little-endian int32, `modalities` JSON counts of expanded tokens."""


def rows_of(
    documents: Sequence[dict[str, Any]], shards: Sequence[int], tokenizer: Tokenizer, rule: MediaRule
) -> pa.RecordBatch:
    """Tokenise document rows (`DOCUMENT_SCHEMA`, as Python values) for the shards with these numbers."""
    pieces = [row["text"].split(PLACEHOLDER) for row in documents]
    encoded = iter(tokenizer.encode_batch([piece for parts in pieces for piece in parts]))
    values = []
    for row, parts, shard in zip(documents, pieces, shards, strict=True):
        ids = [next(encoded) for _ in parts]
        values.append(_row(row, ids, shard, tokenizer, rule))
    return pa.RecordBatch.from_pylist(values, schema=ROW_SCHEMA)


def join_tokens(
    pieces: Sequence[np.ndarray[Any, np.dtype[np.int32]]], inserts: Sequence[dict[str, Any]], tokenizer: Tokenizer
) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The stored tokens of a document: pieces of text with one id between them for each insert, then end of text."""
    parts: list[Any] = [pieces[0]]
    for insert, piece in zip(inserts, pieces[1:], strict=True):
        parts.append([tokenizer.special(MEDIA_TOKENS.get(insert["kind"], insert["name"]))])
        parts.append(piece)
    parts.append([tokenizer.end_of_text])
    return np.concatenate(parts).astype("<i4")


def _row(
    row: dict[str, Any],
    pieces: Sequence[np.ndarray[Any, np.dtype[np.int32]]],
    shard: int,
    tokenizer: Tokenizer,
    rule: MediaRule,
) -> dict[str, Any]:
    tokens = join_tokens(pieces, row["inserts"], tokenizer)
    metas = [json.loads(insert["meta"] or "{}") for insert in row["inserts"]]
    media = [
        _medium(number, insert, meta)
        for number, (insert, meta) in enumerate(zip(row["inserts"], metas, strict=True))
        if insert["kind"] in MEDIA_TOKENS
    ]
    language = row["language"] or "und"
    told = json.loads(row["meta"] or "{}")
    inner, decisions = told.get("inner"), told.pop(META, "")
    described = {
        **{name: row[name] for name in ("id", "source", "kind", "path", "url", "licence", "text")},
        "language": language,
        "inserts": [
            {"kind": insert["kind"], "name": insert["name"], "meta": meta}
            for insert, meta in zip(row["inserts"], metas, strict=True)
        ],
        "lineage": {"source": row["source"], "path": row["path"], "inner": inner},
        "meta": told,
    }
    return {
        **{name: row[name] for name in ("id", "source", "kind", "path", "url", "licence")},
        "inner": inner,
        "decisions": decisions,
        "shard": shard,
        "language": language,
        "characters": len(row["text"]),
        "json": canonical_json(described),
        "tokens": tokens.tobytes(),
        "modalities": json.dumps(modality_tokens(len(tokens), media, rule), sort_keys=True),
        "media": media,
    }


def _medium(number: int, insert: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": insert["kind"],
        "insert": number,
        "data": insert["data"],
        "width": int(meta.get("width", 0)),
        "height": int(meta.get("height", 0)),
        "frames": int(meta.get("frames", 0)),
        "samples": int(meta.get("samples", 0)),
    }


def modality_tokens(stored: int, media: Sequence[dict[str, Any]], rule: MediaRule) -> dict[str, int]:
    """Tokens of a document after the loader's expansion, by modality; start and end tokens count to the medium."""
    counts = {"text": stored - len(media), "image": 0, "video": 0, "audio": 0}
    for medium in media:
        counts[medium["kind"]] += BRACKET_TOKENS + _pads(medium, rule)
    return counts


def _pads(medium: dict[str, Any], rule: MediaRule) -> int:
    if medium["kind"] == "audio":
        return rule.audio_tokens(rule.audio_frames(medium["samples"]))
    if medium["kind"] == "video":
        return rule.video_tokens(medium["frames"], medium["height"], medium["width"])
    return rule.image_tokens(medium["height"], medium["width"])
