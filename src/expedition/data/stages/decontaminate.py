"""Decontamination: training texts that contain benchmark items are removed or cut, and each removal names its item.

An item is looked for by its n-grams of tokens: 13 words (Brown et al. 2020, appendix C), 20 characters in scripts
without spaces, or the whole item where it is shorter, down to 8 words or 12 characters. Items below that are phrases
that anybody writes. A document counts as contaminated where it covers at least six tenths of an item, or 50 tokens of
it in a row. N-grams that several items share are the benchmark's template and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.benchmark_files import Item, Unread, read_benchmarks
from expedition.data.stages.dedup.tokens import Hashes, fine_tokens, is_unspaced, ngram_hashes, token_hashes
from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult

Coverage = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeakRule:
    """Lengths and shares that decide; tokens are words, or characters in scripts without spaces."""

    ngram_words: int = 13
    min_words: int = 8
    ngram_characters: int = 20
    min_characters: int = 12
    covered_share: float = 0.6
    covered_run: int = 50
    template_items: int = 3
    """An n-gram in this many items of one benchmark is its template."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A benchmark item found in a text: share of its tokens covered, first and last covered token of the text."""

    benchmark: str
    item: str
    share: float
    first_token: int
    last_token: int


@dataclass(frozen=True, slots=True)
class _Grams:
    """N-grams of one size: sorted hashes, the item of each, its position in the item."""

    hashes: Hashes
    items: npt.NDArray[np.int32]
    positions: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BenchmarkIndex:
    """N-grams of all benchmark items by size."""

    rule: LeakRule
    benchmarks: tuple[str, ...]
    names: tuple[str, ...]
    lengths: npt.NDArray[np.int32]
    grams: dict[int, _Grams]
    unread: tuple[Unread, ...] = ()

    @classmethod
    def from_folder(cls, folder: Path | str, rule: LeakRule | None = None) -> BenchmarkIndex:
        """Index of every evaluation file below `folder`; an absent folder gives an empty index."""
        found = list(read_benchmarks(Path(folder))) if Path(folder).is_dir() else []
        unread = tuple(item for item in found if isinstance(item, Unread))
        return cls.from_items((item for item in found if isinstance(item, Item)), rule, unread)

    @classmethod
    def from_items(
        cls, items: Iterable[Item], rule: LeakRule | None = None, unread: tuple[Unread, ...] = ()
    ) -> BenchmarkIndex:
        """Index of the given items; those shorter than the rule's minimum are left out."""
        rule = rule or LeakRule()
        kept: list[Item] = []
        lengths: list[int] = []
        by_size: dict[int, list[tuple[int, Hashes]]] = {}
        for item in items:
            found = fine_tokens(item.text)
            size = _size(found, item.text, rule)
            if size:
                by_size.setdefault(size, []).append((len(kept), ngram_hashes(token_hashes(found), size)))
                kept.append(item)
                lengths.append(len(found))
        grams = {size: _without_templates(rows, kept, rule) for size, rows in sorted(by_size.items())}
        return cls(
            rule,
            tuple(item.benchmark for item in kept),
            tuple(item.name for item in kept),
            np.array(lengths, np.int32),
            grams,
            unread,
        )

    def leaks(self, text: str) -> list[Leak]:
        """Benchmark items that the text contains, by the rule, most covered first."""
        if not self.grams:
            return []
        hashes = token_hashes(fine_tokens(text))
        covered: dict[int, Coverage] = {}
        where: dict[int, tuple[int, int]] = {}
        for size, grams in self.grams.items():
            for at, row in _hits(ngram_hashes(hashes, size), grams):
                item, start = int(grams.items[row]), int(grams.positions[row])
                covered.setdefault(item, np.zeros(int(self.lengths[item]), np.bool_))[start : start + size] = True
                first, last = where.get(item, (at, at))
                where[item] = (min(first, at), max(last, at + size - 1))
        found = [
            Leak(self.benchmarks[item], self.names[item], float(cover.mean()), *where[item])
            for item, cover in covered.items()
            if cover.mean() >= self.rule.covered_share or _longest_run(cover) >= self.rule.covered_run
        ]
        return sorted(found, key=lambda leak: (-leak.share, leak.item))


def _longest_run(cover: Coverage) -> int:
    """Length of the longest run of covered tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], cover, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _size(found: list[str], text: str, rule: LeakRule) -> int:
    """N-gram size for an item; 0 for items too short to prove anything."""
    unspaced = is_unspaced(text)
    size = rule.ngram_characters if unspaced else rule.ngram_words
    minimum = rule.min_characters if unspaced else rule.min_words
    return min(size, len(found)) if len(found) >= minimum else 0


def _without_templates(rows: list[tuple[int, Hashes]], items: list[Item], rule: LeakRule) -> _Grams:
    hashes = np.concatenate([found for _, found in rows])
    owners = np.concatenate([np.full(len(found), item, np.int32) for item, found in rows])
    positions = np.concatenate([np.arange(len(found), dtype=np.int32) for _, found in rows])
    order = np.argsort(hashes, kind="stable")
    hashes, owners, positions = hashes[order], owners[order], positions[order]
    _, inverse = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.stack([inverse.astype(np.int64), owners.astype(np.int64)]), axis=1)
    shared = np.bincount(pairs[0], minlength=int(inverse.max(initial=-1)) + 1) >= rule.template_items
    keep = ~shared[inverse]
    return _Grams(hashes[keep], owners[keep], positions[keep])


def _hits(found: Hashes, grams: _Grams) -> list[tuple[int, int]]:
    """(position in the text, row of `grams`) of every match."""
    if not len(found) or not len(grams.hashes):
        return []
    left = np.searchsorted(grams.hashes, found, "left")
    right = np.searchsorted(grams.hashes, found, "right")
    return [(int(at), row) for at in np.nonzero(right > left)[0] for row in range(int(left[at]), int(right[at]))]


@dataclass(frozen=True, slots=True)
class Decontaminate:
    """Stage: a document that contains benchmark items is dropped; a long one loses the paragraphs that hold them.

    Kinds of the world's own grammar (captions, transcripts, drives) are left alone by default: their short texts come
    up in any honest sample of the same world.
    """

    index: BenchmarkIndex
    kinds: frozenset[str] = frozenset({"web", "code", "books", "synthetic"})
    cut_above_characters: int = 20_000
    """A longer document is cut by paragraphs instead of dropped."""
    name: str = "decontaminate"
    _max_reported: int = field(default=3, repr=False)

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        leaks = self.index.leaks(row.text)
        if not leaks:
            return KEEP
        counts = {f"leak {leak.benchmark}": 1 for leak in leaks}
        names = ", ".join(leak.item for leak in leaks[: self._max_reported])
        if len(row.text) > self.cut_above_characters:
            text = self._cut(row.text)
            if text is not None:
                return Outcome(text=text, meta={"leaks_cut": names}, changed=("leak cut",), counts=counts)
        return Outcome(drop=f"benchmark leak: {names}", counts=counts)

    def _cut(self, text: str) -> str | None:
        """The text without the paragraphs that hold leaks; None where that does not free it of them."""
        blocks = text.split("\n\n")
        kept = [block for block in blocks if PLACEHOLDER in block or not self.index.leaks(block)]
        cut = "\n\n".join(kept)
        return cut if kept and not self.index.leaks(cut) else None
