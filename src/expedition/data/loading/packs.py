"""Pack plans on disk: `index/pack-<fingerprint>.npz` beside the version's index, made once, deletable, remade equal."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np

from expedition.data.loading.decode import DocumentReader
from expedition.data.loading.index import DocumentIndex, media_tokens
from expedition.data.loading.packing import PackCounts, PackPlan, kept_prefix, plan_packing
from expedition.errors import InputError
from expedition.plan.media import MediaRule
from expedition.workspace import NotFound, Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_json

SCHEMA = "data.pack/1"

_ARRAYS = ("piece_first", "pieces", "tokens", "patches", "mel_frames", "shard_kind", "shard", "shard_first")


def pack_fingerprint(content_hash: str, sequence_tokens: int, rule: MediaRule) -> str:
    """Names a plan by all that it depends on: the version's content, the sequence length, the media rule, this form."""
    parts = {"schema": SCHEMA, "content": content_hash, "sequence_tokens": sequence_tokens, "media": rule.model_dump()}
    return sha256_json(parts)[:16]


def pack_key(version: str, dataset: str, fingerprint: str) -> str:
    """Where a plan lies."""
    return f"{layout.dataset(version, dataset)}/index/pack-{fingerprint}.npz"


def load_or_make_pack(
    ws: Workspace, key: str, index: DocumentIndex, reader: DocumentReader, sequence_tokens: int, rule: MediaRule
) -> PackPlan:
    """The plan at `key`, made and written (atomically) where it is missing or damaged. Idempotent."""
    try:
        return _from_bytes(ws.store.read(key), sequence_tokens, key)
    except (NotFound, InputError):
        plan = make_pack(index, reader, sequence_tokens, rule)
        ws.store.write(key, _to_bytes(plan))
        return plan


def make_pack(index: DocumentIndex, reader: DocumentReader, sequence_tokens: int, rule: MediaRule) -> PackPlan:
    """Plan the packing; reads stored tokens only of documents with media that are too long."""

    def truncate(document: int) -> tuple[int, int] | None:
        tokens = reader.tokens(document)
        sizes = [media_tokens(span, rule) for span in index.media(document)]
        return kept_prefix(reader.placeholders(document, tokens), sizes, len(tokens), sequence_tokens)

    return plan_packing(index, index.expansion(rule), sequence_tokens, truncate)


def _to_bytes(plan: PackPlan) -> bytes:
    header = {
        "schema": SCHEMA,
        "sequence_tokens": plan.sequence_tokens,
        "counts": {kind: asdict(counts) for kind, counts in plan.counts.items()},
    }
    buffer = io.BytesIO()
    columns = {name: getattr(plan, name) for name in _ARRAYS}
    np.savez(buffer, header=np.frombuffer(canonical_json(header), dtype=np.uint8), **columns)
    return buffer.getvalue()


def _from_bytes(data: bytes, sequence_tokens: int, key: str) -> PackPlan:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            columns = {name: stored[name] for name in _ARRAYS}
        counts = {kind: PackCounts(**values) for kind, values in header["counts"].items()}
    except Exception as error:
        raise InputError(f"the pack plan is damaged: {error}", where=key, fix="delete it; it is made again") from error
    if header["schema"] != SCHEMA or header["sequence_tokens"] != sequence_tokens:
        raise InputError("the pack plan is of another form", where=key, fix="delete it; it is made again")
    return PackPlan(sequence_tokens=sequence_tokens, counts=counts, **columns)
