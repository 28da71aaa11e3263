"""Decontamination: training texts that contain benchmark items are removed or cut, and each removal names its item.

An item is looked for by its n-grams of tokens: 13 words (Brown et al. 2020, appendix C), 20 characters in scripts
without spaces, or the whole item where it is shorter, down to 8 words or 12 characters. A document counts as
contaminated where it covers at least six tenths of an item, or 50 tokens of it in a row. Shorter items are phrases that
anybody writes: they count only where several of one benchmark stand in a document as lines of their own. N-grams that
several items share are the benchmark's template and prove nothing, unless they run on for 50 tokens: that is a passage.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.benchmark_files import Item, Unread, read_benchmarks
from expedition.data.stages.dedup.tokens import (
    Hashed,
    Hashes,
    fine_excerpt,
    fine_tokens,
    hashed,
    is_unspaced,
    ngram_hashes,
    ngrams_by_size,
    token_hashes,
)
from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult

STAGE: Final = "decontaminate"
REASON: Final = "benchmark leak"
CUT: Final = "leak cut"
_EXCERPT_CHARACTERS: Final = 160
_SLOTS_A_GRAM: Final = 16

Coverage = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LeakRule:
    """Lengths and shares that decide; tokens are words, or characters in scripts without spaces."""

    ngram_words: int = 13
    min_words: int = 8
    ngram_characters: int = 20
    min_characters: int = 12
    covered_share: float = 0.6
    """Of the tokens that n-grams of its own cover."""
    covered_run: int = 50
    template_items: int = 3
    """An n-gram in this many items of one benchmark is its template."""
    line_words: int = 4
    line_characters: int = 6
    """Items from here up to the minimum are looked for as whole lines."""
    lines: int = 3
    """Different such items of one benchmark that a document must hold."""


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
    slots: Coverage
    """Whether any hash has these high bits: rules nearly all n-grams of a text out at one look."""
    shift: np.uint64

    @staticmethod
    def of(hashes: Hashes, items: npt.NDArray[np.int32], positions: npt.NDArray[np.int32]) -> _Grams:
        """`hashes` rise."""
        bits = max(8, (_SLOTS_A_GRAM * len(hashes)).bit_length())
        shift = np.uint64(64 - bits)
        slots = np.zeros(1 << bits, np.bool_)
        slots[hashes >> shift] = True
        return _Grams(hashes, items, positions, slots, shift)

    def hits(self, found: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(places in `found`, rows of this) of every match."""
        places = np.flatnonzero(self.slots[found >> self.shift])
        left = np.searchsorted(self.hashes, found[places], "left")
        counts = np.searchsorted(self.hashes, found[places], "right") - left
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1] if len(ends) else 0) + np.repeat(left - (ends - counts), counts)
        return np.repeat(places, counts), rows


@dataclass(frozen=True, slots=True)
class BenchmarkIndex:
    """N-grams of all benchmark items by size, and the short items."""

    rule: LeakRule
    benchmarks: tuple[str, ...]
    names: tuple[str, ...]
    lengths: npt.NDArray[np.int32]
    """Tokens of each item that n-grams of its own cover."""
    grams: dict[int, _Grams]
    lines: Mapping[bytes, tuple[str, str]] = field(default_factory=dict)
    """Content hash of each short item → benchmark and name."""
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
        """Index of the given items; of items with the same text the first one's name is kept."""
        rule = rule or LeakRule()
        kept: list[Item] = []
        short: list[Item] = []
        lengths: list[int] = []
        by_size: dict[int, list[tuple[int, Hashes]]] = defaultdict(list)
        seen: set[tuple[str, ...]] = set()
        for item in items:
            found = fine_tokens(item.text)
            if tuple(found) in seen:
                continue
            seen.add(tuple(found))
            size, is_line = _size(found, item.text, rule)
            if size:
                by_size[size].append((len(kept), ngram_hashes(token_hashes(found), size)))
                kept.append(item)
                lengths.append(len(found))
            elif is_line:
                short.append(item)
        coverable = np.array(lengths, np.int32)
        benchmarks = tuple(item.benchmark for item in kept)
        grams = {size: _own(rows, benchmarks, coverable, size, rule) for size, rows in sorted(by_size.items())}
        contents = [content for block in hashed([item.text for item in short], fine=True) for content in block.contents]
        lines = {content: (item.benchmark, item.name) for content, item in zip(contents, short, strict=True)}
        return cls(rule, benchmarks, tuple(item.name for item in kept), coverable, grams, lines, unread)

    def leaks(self, text: str) -> list[Leak]:
        """Benchmark items that the text contains, by the rule, most covered first."""
        return self.leaks_of([text])[0]

    def leaks_of(self, texts: Sequence[str]) -> list[list[Leak]]:
        """`leaks` of each text, in one pass over all."""
        found: list[list[Leak]] = []
        for block in hashed(texts, fine=True) if self.grams else ():
            found += self._leaks(block)
        found = found or [[] for _ in texts]
        if self.lines:
            for text, leaks in zip(texts, found, strict=True):
                leaks += self._lines(text)
        return [sorted(leaks, key=lambda leak: (-leak.share, leak.item)) for leaks in found]

    def _leaks(self, block: Hashed) -> list[list[Leak]]:
        covered: dict[tuple[int, int], Coverage] = {}
        where: dict[tuple[int, int], tuple[int, int]] = {}
        for size, hashes in ngrams_by_size(block.hashes, list(self.grams)):
            grams = self.grams[size]
            places, rows = grams.hits(hashes)
            owners = np.searchsorted(block.offsets, places, "right") - 1
            inside = places + size <= block.offsets[owners + 1]
            at = (places - block.offsets[owners])[inside].tolist()
            told = owners[inside].tolist(), grams.items[rows[inside]].tolist(), grams.positions[rows[inside]].tolist()
            for place, owner, item, start in zip(at, *told, strict=True):
                key = (owner, item)
                cover = covered.setdefault(key, np.zeros(start + size, np.bool_))
                if len(cover) < start + size:
                    cover = covered[key] = np.concatenate([cover, np.zeros(start + size - len(cover), np.bool_)])
                cover[start : start + size] = True
                first, last = where.get(key, (place, place))
                where[key] = (min(first, place), max(last, place + size - 1))
        found: list[list[Leak]] = [[] for _ in block.contents]
        for (owner, item), cover in covered.items():
            share = min(1.0, int(cover.sum()) / int(self.lengths[item]))
            if share >= self.rule.covered_share or _longest_run(cover) >= self.rule.covered_run:
                found[owner].append(Leak(self.benchmarks[item], self.names[item], share, *where[owner, item]))
        return found

    def _lines(self, text: str) -> list[Leak]:
        """Short items that stand in a text as whole lines, of benchmarks of which there are enough."""
        lines = text.split("\n")
        if len(lines) < self.rule.lines:
            return []
        by_benchmark: dict[str, dict[str, Leak]] = defaultdict(dict)
        token = 0
        for block in hashed(lines, fine=True):
            for content, count in zip(block.contents, np.diff(block.offsets).tolist(), strict=True):
                if content in self.lines:
                    benchmark, name = self.lines[content]
                    by_benchmark[benchmark].setdefault(name, Leak(benchmark, name, 1.0, token, token + count - 1))
                token += count
        return [leak for found in by_benchmark.values() if len(found) >= self.rule.lines for leak in found.values()]


def _longest_run(cover: Coverage) -> int:
    """Length of the longest run of covered tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], cover, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _size(found: list[str], text: str, rule: LeakRule) -> tuple[int, bool]:
    """N-gram size for an item, 0 for one too short to prove anything alone; whether that is looked for as a line."""
    if is_unspaced(text):
        size, minimum, line = rule.ngram_characters, rule.min_characters, rule.line_characters
    else:
        size, minimum, line = rule.ngram_words, rule.min_words, rule.line_words
    return (min(size, len(found)) if len(found) >= minimum else 0), len(found) >= line


def _own(
    rows: list[tuple[int, Hashes]],
    benchmarks: Sequence[str],
    coverable: npt.NDArray[np.int32],
    size: int,
    rule: LeakRule,
) -> _Grams:
    """The n-grams that are no template; what they cover of each item goes into `coverable`."""
    hashes = np.concatenate([found for _, found in rows])
    sizes = np.array([len(found) for _, found in rows])
    owners = np.repeat(np.array([item for item, _ in rows], np.int32), sizes)
    ends = np.cumsum(sizes)
    positions = (np.arange(len(hashes)) - np.repeat(ends - sizes, sizes)).astype(np.int32)
    _, codes = np.unique(np.array([benchmarks[item] for item, _ in rows]), return_inverse=True)
    _, inverse = np.unique(hashes, return_inverse=True)
    # An n-gram in several items of one benchmark: pairs (n-gram and benchmark, item) without repetition.
    cells = inverse.astype(np.int64) * (int(codes.max(initial=0)) + 1) + np.repeat(codes, sizes)
    _, cells = np.unique(cells, return_inverse=True)
    pairs = np.unique(np.stack([cells.astype(np.int64), owners.astype(np.int64)]), axis=1)
    shared = np.bincount(pairs[0])[cells] >= rule.template_items
    keep = ~shared
    for (item, found), end in zip(rows, ends.tolist(), strict=True):
        mine = slice(end - len(found), end)
        if shared[mine].any():
            keep[mine] |= _in_long_runs(shared[mine], rule.covered_run - size + 1)
            coverable[item] = _covered(keep[mine], size)
    order = np.argsort(hashes[keep], kind="stable")
    return _Grams.of(hashes[keep][order], owners[keep][order], positions[keep][order])


def _in_long_runs(flags: Coverage, least: int) -> Coverage:
    """Where flags are set in runs of at least `least`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    found = np.zeros(len(flags), np.bool_)
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        found[start:end] = end - start >= least
    return found


def _covered(keep: Coverage, size: int) -> int:
    """Tokens that the kept n-grams of an item cover; at least 1."""
    cover = np.zeros(len(keep) + size - 1, np.bool_)
    for place in np.flatnonzero(keep).tolist():
        cover[place : place + size] = True
    return max(1, int(cover.sum()))


@dataclass(frozen=True, slots=True)
class Decontaminate:
    """Removes documents that contain benchmark items, and the paragraphs of long ones that do.

    Items are read from every evaluation file of the programme and looked for by n-grams of tokens, case, punctuation
    and spaces apart: 13 words, 20 characters in Chinese, Thai and the like, the whole item where it is shorter; shorter
    than 8 words or 12 characters as whole lines, three of one benchmark. A document is dropped; one above 20,000
    characters loses its paragraphs with leaks. Translations and paraphrases are not found.

    Reasons:
        benchmark leak    the document covers an item by the rule; the particulars name item, share and place
        leak cut          a long document lost the paragraphs that hold items
    Thresholds:
        ngram_words: 13 words; the most that GPT-3 takes (Brown et al. 2020, appendix C).
        min_words: 8 words; the least N there.
        ngram_characters, min_characters: 20 and 12: own choice; no clean text of the open set holds one by chance.
        covered_share: 0.6 of an item's own tokens; PaLM takes 0.7 of its 8-grams (Chowdhery et al. 2022, section 8).
        covered_run: 50 tokens in a row, a passage: own choice.
        template_items: 3 items of one benchmark that share an n-gram: own choice.
        lines: 3 short items of one benchmark, of line_words 4 or line_characters 6 and more: own choice.
        cut_above_characters: 20,000; a longer document is a book or a collection, most of which is sound.
    Measured on 23,558 benchmark texts by benchmarks/quality/dedup.py: of items planted whole, restyled or by seven tenths
    0.99 are found; of 816 clean texts none is taken.
    Keeps: kinds of the world's own grammar (captions, transcripts, drives), whose short texts come up in any honest
        sample; phrases in common; frames that a benchmark's items share.
    """

    index: BenchmarkIndex
    kinds: frozenset[str] = frozenset({"web", "code", "books", "synthetic", "chat"})
    cut_above_characters: int = 20_000
    """A longer document is cut by paragraphs instead of dropped; a conversation never is, its turns belong together."""
    name: str = STAGE
    _max_reported: int = field(default=3, repr=False)

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        told = zip(batch.column("id").to_pylist(), batch.column("kind").to_pylist(), strict=True)
        rows = [(number, name) for number, (name, kind) in enumerate(told) if kind in self.kinds]
        texts = batch.column("text")
        leaks = self.index.leaks_of([texts[number].as_py() or "" for number, _ in rows])
        found = {name: mine for (_, name), mine in zip(rows, leaks, strict=True) if mine}
        return map_documents(batch, self.kinds, lambda row: self._decide(row, found.get(row.id, [])))

    def _decide(self, row: Row, leaks: list[Leak]) -> Outcome:
        if not leaks:
            return KEEP
        counts = {f"leak {leak.benchmark}": 1 for leak in leaks}
        if len(row.text) > self.cut_above_characters and row.kind != "chat":
            text = self._cut(row.text)
            if text is not None:
                particulars = tuple(f"{leak.item} {leak.share:.2f}" for leak in leaks[: self._max_reported])
                return Outcome(text=text, changed=(CUT,), counts=counts, particulars=particulars)
        return Outcome(drop=leak_reason(row.text, leaks, self._max_reported), counts=counts)

    def _cut(self, text: str) -> str | None:
        """The text without the paragraphs that hold leaks; None where that does not free it of them."""
        blocks = text.split("\n\n")
        leaks = self.index.leaks_of(blocks)
        kept = [block for block, found in zip(blocks, leaks, strict=True) if PLACEHOLDER in block or not found]
        cut = "\n\n".join(kept)
        return cut if kept and not self.index.leaks(cut) else None


def leak_reason(text: str, leaks: Sequence[Leak], most: int) -> str:
    """The reason of a drop: a JSON list of the most covered items after the colon; `parse_leaks` reads it."""
    rows = [
        {
            "benchmark": leak.benchmark,
            "item": leak.item,
            "overlap": round(leak.share, 3),
            "excerpt": fine_excerpt(text, leak.first_token, leak.last_token)[:_EXCERPT_CHARACTERS],
        }
        for leak in leaks[:most]
    ]
    return f"{REASON}: {json.dumps(rows, ensure_ascii=False, separators=(',', ':'))}"


def parse_leaks(reason: str) -> list[dict[str, Any]]:
    """The items that a reason names: benchmark, item, overlap, excerpt; empty for any other reason."""
    head, _, told = reason.partition(": ")
    if head != REASON or not told.startswith("["):
        return []
    found: list[dict[str, Any]] = json.loads(told)
    return found
