"""Near copies of texts: MinHash signatures propose pairs, the Jaccard similarity of the n-grams themselves decides.

A shingle is an n-gram of 5 tokens (words, or characters in scripts without spaces). A pair of similarity s shares a band
of r values with probability s^r, and so is proposed by b bands with 1 - (1 - s^r)^b (Leskovec, Rajaraman, Ullman, Mining
of Massive Datasets, section 3.4):

    s                   0.3    0.5    0.7    0.75    0.8      0.9
    25 bands of 5       0.06   0.55   0.990  0.9989  0.99995  1.0
    14 bands of 8       0.001  0.05   0.565  0.775   0.924    0.9996

14 x 8 (FineWeb, datatrove) misses a thirteenth of the pairs at 0.8 for fewer proposals. Here proposals are cheap, since
each is verified by a merge of two sorted sketches, so the steeper side is given up for recall.
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
from expedition.data.stages.dedup.tokens import Hashed, ngram_hashes

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
    media_with_other_words: bool = True
    """Whether one picture, clip or sound with other words in the same language is a copy."""


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


def signatures(sketches: Sketches, rule: NearRule) -> npt.NDArray[np.uint32]:
    """MinHash signatures of sketches, one row a text, `bands * band_values` columns."""
    width, count = rule.bands * rule.band_values, len(sketches.offsets) - 1
    if not count:
        return np.empty((0, width), np.uint32)
    with np.errstate(over="ignore"):
        flat = (sketches.hashes.astype(np.uint64) + np.uint64(1)) * _MIX
    offsets = sketches.offsets.astype(np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, width, rule.seed)
    return np.asarray(matrix.to_rows(), np.uint32).reshape(count, width)


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

    def take(self, places: npt.NDArray[np.intp]) -> Sketches:
        """Those at `places`."""
        sizes = self.sizes[places]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        shift = np.repeat(self.offsets[places] - offsets[:-1], sizes)
        return Sketches(self.hashes[np.arange(offsets[-1]) + shift], offsets)

    def cut(self, most: int) -> Sketches:
        """The smallest `most` hashes of each."""
        sizes = self.sizes
        if sizes.max(initial=0) <= most:
            return self
        rank = np.arange(len(self.hashes)) - np.repeat(self.offsets[:-1], sizes)
        return Sketches(self.hashes[rank < most], np.concatenate(([0], np.cumsum(np.minimum(sizes, most)))))

    @staticmethod
    def joined(parts: Sequence[Sketches]) -> Sketches:
        """Parts end to end."""
        sizes = np.concatenate([np.empty(0, np.int64), *(part.sizes for part in parts)])
        hashes = np.concatenate([np.empty(0, np.uint32), *(part.hashes for part in parts)])
        return Sketches(hashes, np.concatenate(([0], np.cumsum(sizes))))

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


def sketched(texts: Hashed, rule: NearRule) -> Sketches:
    """Sketches of texts: of the distinct high halves of a text's shingle hashes the `sketch` smallest."""
    size = rule.shingle_tokens
    found = ngram_hashes(texts.hashes, size)
    counts = np.maximum(np.diff(texts.offsets) - size + 1, 0)
    owners = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    # Shingles that run over the end of a text are left out.
    firsts = np.concatenate(([0], np.cumsum(counts)))[:-1]
    places = np.arange(len(owners)) + np.repeat(texts.offsets[:-1] - firsts, counts)
    keys = np.sort((owners << _HALF) | (found[places] >> _HALF))
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    edges = np.searchsorted(keys, np.arange(len(counts) + 1, dtype=np.uint64) << _HALF)
    whole = Sketches((keys & np.uint64(0xFFFFFFFF)).astype(np.uint32), edges.astype(np.int64))
    return whole.cut(rule.sketch)


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
        near = similarities(sketches(numbers), places[:, 0], places[:, 1], rule) >= rule.threshold
        compared += len(batch)
        kept.append(batch[near])
        for a, b in kept[-1].tolist():
            first, second = root(a), root(b)
            parent[max(first, second)] = min(first, second)
    return np.concatenate(kept), compared


def similarities(
    sketches: Sketches, left: npt.NDArray[np.intp], right: npt.NDArray[np.intp], rule: NearRule
) -> npt.NDArray[np.float64]:
    """Similarity of each pair of sketches; 0 where their sizes alone rule the threshold out."""
    sizes = sketches.sizes
    small, large = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    found = np.zeros(len(left))
    cut = large >= rule.sketch
    # |a ∩ b| / |a ∪ b| ≤ min / max: sizes alone rule many out.
    whole = np.flatnonzero(~cut & (small >= rule.threshold * large) & (small > 0))
    if len(whole):
        # Rows of a sparse matrix; the product of two rows has their common hashes, found by one merge in C.
        shape = (len(sizes), 1 << 32)
        ones = np.ones(len(sketches.hashes), np.int8)
        rows = csr_array((ones, sketches.hashes.astype(np.int64), sketches.offsets), shape=shape)
        common = np.diff(rows[left[whole]].multiply(rows[right[whole]]).tocsr().indptr)
        found[whole] = common / (small[whole] + large[whole] - common)
    for place in np.flatnonzero(cut).tolist():
        found[place] = jaccard(sketches[left[place]], sketches[right[place]], rule)
    return found
