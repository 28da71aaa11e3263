"""Exact copies: equal content after case, spaces and punctuation are taken away, media bytes counted in."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import xxhash

from expedition.data.stages.dedup.resolve import EXACT, Edge
from expedition.data.stages.dedup.tokens import normalised

TEXT_KINDS = frozenset({"web", "books", "synthetic"})
"""Kinds whose texts are compared with each other; code is compared with code."""
ROW_SCHEMA = pa.schema([("key", pa.string()), ("id", pa.string()), ("source", pa.string()), ("length", pa.int64())])


def content_key(kind: str, text: str, phash: str | None) -> str | None:
    """Hash of what makes a document the same: its text, and the fingerprint of its media where it has any.

    Code keeps its case and punctuation. None for a media document without a fingerprint: equal captions are no copy.
    """
    if kind in TEXT_KINDS:
        family, content = "text", normalised(text) or text
    elif kind == "code":
        family, content = "code", "\n".join(line.rstrip() for line in text.strip().splitlines())
    elif phash:
        family, content = kind, f"{phash}\x00{normalised(text)}"
    else:
        return None
    return xxhash.xxh3_128_hexdigest(f"{family}\x00{content}".encode())


def exact_rows(table: pa.Table) -> pa.Table:
    """Rows (key, id, source, length) for the exchange; documents without a key have no row."""
    rows = []
    for row in table.select(["id", "source", "kind", "text", "length", "phash"]).to_pylist():
        key = content_key(row["kind"], row["text"], row["phash"])
        if key is not None:
            rows.append({"key": key, "id": row["id"], "source": row["source"], "length": row["length"]})
    return pa.Table.from_pylist(rows, schema=ROW_SCHEMA)


def exact_edges(ids: Sequence[str]) -> list[Edge]:
    """Edges of a group of one key: every document to the smallest id."""
    ordered = sorted(set(ids))
    return [Edge(ordered[0], other, EXACT) for other in ordered[1:]]
