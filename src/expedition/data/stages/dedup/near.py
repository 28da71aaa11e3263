"""Near copies of texts: MinHash signatures propose pairs, the Jaccard similarity of the n-grams themselves decides.

A shingle is an n-gram of 5 tokens (words, or characters in scripts without spaces). 25 bands of 5 values propose a pair
of similarity 0.7 with probability 1 - (1 - 0.7^5)^25 = 0.99, and one of 0.3 with 0.06 (Leskovec, Rajaraman, Ullman,
Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import rensa
from scipy.sparse import csr_array

from expedition.data.stages.dedup.candidates import NO_PAIRS, Numbers, Pairs
from expedition.data.stages.dedup.tokens import Hashes, ngram_hashes

Sketch = npt.NDArray[np.uint32]
"""The high halves of a text's smallest shingle hashes, rising."""

NEAR_KINDS: Final = frozenset({"web", "code", "books", "synthetic"})
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_FOLD: Final = np.uint64(29)
_HALF: Final = np.uint64(32)


@dataclass(frozen=True, slots=True)
class NearRule:
    """Settings of near deduplication."""

    threshold: float = 0.7
    """Jaccard similarity of shingles from which two texts are copies."""
    shingle_tokens: int = 5
    bands: int = 25
    band_values: int = 5
    sketch: int = 2048
    """Smallest shingle hashes kept for verification; texts with fewer shingles are compared exactly, others with a
    standard error of 0.01 at the threshold."""
    min_shingles: int = 12
    """Shorter texts are compared exactly only: a phrase in common is no copy."""
    seed: int = 7


def shingles(tokens: Hashes, rule: NearRule) -> Hashes:
    """Sorted hashes of the shingles of a text with these token hashes, distinct in their high halves, at most the
    `sketch` smallest."""
    found = np.sort(ngram_hashes(tokens, rule.shingle_tokens))
    if len(found) > 1:
        high = found >> _HALF
        found = found[np.concatenate(([True], high[1:] != high[:-1]))]
    return found[: rule.sketch]


def sketch_of(found: Hashes) -> Sketch:
    """What is kept of shingle hashes: their high halves, which keep the order."""
    return (found >> _HALF).astype(np.uint32)


def jaccard(a: Sketch, b: Sketch, rule: NearRule) -> float:
    """Similarity of two sketches: exact if neither was cut, else the bottom-k estimate over the union's smallest."""
    if len(a) < len(b):
        a, b = b, a
    if not len(b):
        return 0.0
    common = b[a[np.minimum(np.searchsorted(a, b), len(a) - 1)] == b]
    if len(a) < rule.sketch:
        return len(common) / (len(a) + len(b) - len(common))
    union = np.union1d(a, b)[: rule.sketch]
    return float(np.searchsorted(common, union[-1], side="right") / len(union))


def signatures(found: Sequence[Hashes], rule: NearRule) -> npt.NDArray[np.uint32]:
    """MinHash signatures of shingle hashes, one row a text, `bands * band_values` columns."""
    width = rule.bands * rule.band_values
    if not found:
        return np.empty((0, width), np.uint32)
    offsets = np.zeros(len(found) + 1, np.uint64)
    np.cumsum([len(each) for each in found], out=offsets[1:])
    flat = np.concatenate(list(found))
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, width, rule.seed)
    return np.asarray(matrix.to_rows(), np.uint32).reshape(len(found), width)


def band_keys(signature: npt.NDArray[np.uint32], rule: NearRule) -> npt.NDArray[np.uint64]:
    """Keys [texts, bands]: an equal key proposes a pair. The band's number is part of the key."""
    values = signature.reshape(-1, rule.bands, rule.band_values).astype(np.uint64)
    with np.errstate(over="ignore"):
        keys = np.broadcast_to(np.arange(1, rule.bands + 1, dtype=np.uint64) * _MIX, values.shape[:2]).copy()
        for place in range(rule.band_values):
            keys = (keys ^ values[:, :, place]) * _MIX
            keys ^= keys >> _FOLD
    return keys


@dataclass(frozen=True, slots=True)
class Sketches:
    """Sketches of many texts end to end."""

    hashes: Sketch
    offsets: npt.NDArray[np.int64]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Hashes of each."""
        return np.diff(self.offsets)

    def __getitem__(self, place: int) -> Sketch:
        return self.hashes[self.offsets[place] : self.offsets[place + 1]]

    @staticmethod
    def of(arrays: Sequence[pa.Array]) -> Sketches:
        """The sketches of Arrow arrays of large binary without nulls, one after the other."""
        flat, sizes = [np.empty(0, np.uint32)], [np.empty(0, np.int64)]
        for array in arrays:
            _, edges, data = array.buffers()
            offsets = np.frombuffer(edges, np.int64)[array.offset : array.offset + len(array) + 1]
            sizes.append(np.diff(offsets) // 4)
            if data is not None:
                flat.append(np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].view(np.uint32))
        return Sketches(np.concatenate(flat), np.concatenate(([0], np.cumsum(np.concatenate(sizes)))))


def verified(
    pairs: Pairs, sketches: Callable[[Numbers], Sketches], rule: NearRule, pairs_at_once: int = 1024
) -> tuple[Pairs, int]:
    """The pairs that are near copies, as far as components need them, and the number of comparisons made.

    `sketches(numbers)` gives those of rising document numbers. A pair whose ends are joined by pairs before it is not
    compared: it cannot change a component.
    """
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while (above := parent.get(node, node)) != node:
            parent[node] = node = parent.get(above, above)
        return node

    kept, compared = [NO_PAIRS], 0
    for start in range(0, len(pairs), pairs_at_once):
        batch = pairs[start : start + pairs_at_once]
        if parent:
            batch = batch[[root(a) != root(b) for a, b in batch.tolist()]]
        numbers, places = np.unique(batch, return_inverse=True)
        places = places.reshape(-1, 2)
        near = _near(sketches(numbers), places[:, 0], places[:, 1], rule)
        compared += len(batch)
        kept.append(batch[near])
        for a, b in kept[-1].tolist():
            first, second = root(a), root(b)
            parent[max(first, second)] = min(first, second)
    return np.concatenate(kept), compared


def _near(
    sketches: Sketches, left: npt.NDArray[np.intp], right: npt.NDArray[np.intp], rule: NearRule
) -> npt.NDArray[np.bool_]:
    """Which pairs of sketches reach the threshold."""
    sizes = sketches.sizes
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    cut = large >= rule.sketch
    # |a ∩ b| / |a ∪ b| ≤ min / max: sizes alone rule many out.
    near = cut | (small >= rule.threshold * large)
    whole = np.flatnonzero(near & ~cut)
    if len(whole):
        # Rows of a sparse matrix; the product of two rows has their common hashes, found by one merge in C.
        shape = (len(sizes), 1 << 32)
        ones = np.ones(len(sketches.hashes), np.int8)
        rows = csr_array((ones, sketches.hashes.astype(np.int64), sketches.offsets), shape=shape)
        common = np.diff(rows[left[whole]].multiply(rows[right[whole]]).tocsr().indptr)
        near[whole] = common >= rule.threshold * (small[whole] + large[whole] - common)
    for place in np.flatnonzero(cut).tolist():
        near[place] = jaccard(sketches[left[place]], sketches[right[place]], rule) >= rule.threshold
    return near
