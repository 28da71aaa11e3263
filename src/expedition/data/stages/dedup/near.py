"""Near copies of texts: MinHash signatures propose pairs, the Jaccard similarity of the n-grams themselves decides.

A shingle is an n-gram of 5 tokens (words, or characters in scripts without spaces). 25 bands of 5 values propose a pair
of similarity 0.7 with probability 1 - (1 - 0.7^5)^25 = 0.99, and one of 0.3 with 0.06 (Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import rensa
import xxhash

from expedition.data.stages.dedup.resolve import NEAR, Edge
from expedition.data.stages.dedup.tokens import Hashes, ngram_hashes, token_hashes, tokens

NEAR_KINDS: Final = frozenset({"web", "code", "books", "synthetic"})
ROW_SCHEMA: Final = pa.schema(
    [
        ("key", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("length", pa.int64()),
        ("sketch", pa.large_binary()),
    ]
)
_ALL_PAIRS: Final = 64
_LEADERS: Final = 256


@dataclass(frozen=True, slots=True)
class NearRule:
    """Settings of near deduplication."""

    threshold: float = 0.7
    """Jaccard similarity of shingles from which two texts are copies."""
    shingle_tokens: int = 5
    bands: int = 25
    band_values: int = 5
    sketch: int = 4096
    """Smallest shingle hashes kept for verification; texts with fewer shingles are compared exactly."""
    min_shingles: int = 12
    """Shorter texts are compared exactly only: a phrase in common is no copy."""
    seed: int = 7


def shingles(text: str, rule: NearRule) -> Hashes:
    """Sorted distinct hashes of the text's shingles, at most the `sketch` smallest."""
    found = np.unique(ngram_hashes(token_hashes(tokens(text)), rule.shingle_tokens))
    return found[: rule.sketch]


def jaccard(a: Hashes, b: Hashes, rule: NearRule) -> float:
    """Similarity of two sketches: exact if neither was cut, else the bottom-k estimate over the union's smallest."""
    if len(a) < rule.sketch and len(b) < rule.sketch:
        common = len(np.intersect1d(a, b, assume_unique=True))
        return common / max(len(a) + len(b) - common, 1)
    union = np.union1d(a, b)[: rule.sketch]
    both = np.isin(union, a, assume_unique=True) & np.isin(union, b, assume_unique=True)
    return float(both.sum() / max(len(union), 1))


def signatures(sketches: Sequence[Hashes], rule: NearRule) -> npt.NDArray[np.uint32]:
    """MinHash signatures, one row a sketch, `bands * band_values` columns."""
    width = rule.bands * rule.band_values
    if not sketches:
        return np.empty((0, width), np.uint32)
    offsets = np.zeros(len(sketches) + 1, np.uint64)
    np.cumsum([len(sketch) for sketch in sketches], out=offsets[1:])
    flat = np.concatenate(list(sketches))
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, width, rule.seed)
    return np.asarray(matrix.to_rows(), np.uint32).reshape(len(sketches), width)


def band_keys(signature: npt.NDArray[np.uint32], rule: NearRule) -> list[int]:
    """One signed 64-bit key a band; equal keys propose a pair. The band's number is part of the key."""
    bands = signature.reshape(rule.bands, rule.band_values)
    keys = [xxhash.xxh3_64_intdigest(bands[number].tobytes(), seed=number) for number in range(rule.bands)]
    signed: list[int] = np.array(keys, np.uint64).view(np.int64).tolist()
    return signed


def band_rows(table: pa.Table, rule: NearRule | None = None) -> pa.Table:
    """Rows (key, id, source, length, sketch) for the exchange, one a band; short texts and media kinds have none."""
    rule = rule or NearRule()
    rows = [
        row for row in table.select(["id", "source", "kind", "text", "length"]).to_pylist() if row["kind"] in NEAR_KINDS
    ]
    sketched = [(row, shingles(row["text"], rule)) for row in rows]
    sketched = [(row, sketch) for row, sketch in sketched if len(sketch) >= rule.min_shingles]
    signed = signatures([sketch for _, sketch in sketched], rule)
    out = []
    for (row, sketch), signature in zip(sketched, signed, strict=True):
        data = sketch.tobytes()
        for key in band_keys(signature, rule):
            out.append({"key": key, "id": row["id"], "source": row["source"], "length": row["length"], "sketch": data})
    return pa.Table.from_pylist(out, schema=ROW_SCHEMA)


def near_edges(group: Sequence[tuple[str, Hashes]], rule: NearRule | None = None) -> list[Edge]:
    """Verified edges of a group of one key: (id, sketch) pairs.

    All pairs are compared in groups of up to 64; in larger ones (boilerplate that thousands share) each document is
    compared with the leaders of the clusters found so far, which keeps time near linear.
    """
    rule = rule or NearRule()
    ordered = sorted(group, key=lambda item: item[0])
    leaders: list[tuple[str, Hashes]] = []
    edges: list[Edge] = []
    small = len(ordered) <= _ALL_PAIRS
    for id_, sketch in ordered:
        matched = False
        for other, known in leaders:
            if other != id_ and _may_reach(sketch, known, rule) and jaccard(sketch, known, rule) >= rule.threshold:
                edges.append(Edge(other, id_, NEAR))
                matched = True
                if not small:
                    break
        if (small or not matched) and len(leaders) < _LEADERS:
            leaders.append((id_, sketch))
    return edges


def _may_reach(a: Hashes, b: Hashes, rule: NearRule) -> bool:
    """Whether sizes allow the threshold at all: |a ∩ b| / |a ∪ b| ≤ min / max."""
    small, large = sorted((len(a), len(b)))
    return large == rule.sketch or small >= rule.threshold * large
