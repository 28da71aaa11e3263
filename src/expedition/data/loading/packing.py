"""Which documents make which sequence: best fit over the lengths of one shard; the shards are never rebuilt for it.

Documents of one shard are packed with each other only, so a sequence is read from one shard. Lengths are placed in
descending order, each where it leaves the least room (best fit decreasing: Johnson 1973). Equal lengths and equal rooms
are handled together, so the work grows with the number of different ones and not with the documents. No document that
fits is cut. A text longer than a sequence is cut at the ends of sentences or lines (`sentences.py`), and its parts are
packed like documents. A document with media that is too long is cut between its media, or inside its text; a medium
that is longer than a sequence is dropped. A driving record is one observation with its actions: too long, it is dropped
whole. Everything is counted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from expedition.data.loading.index import DocumentPart, Expansion
from expedition.data.loading.sentences import FINAL_PART, Cut, TextCuts
from expedition.data.records import KINDS

IntArray = npt.NDArray[np.int64]

WHOLE_KINDS = ("driving", "chat")
"""Kinds whose documents are never cut: actions without what was seen, and answers without what was asked, would be
trained on as if nothing had been."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Stored tokens start..end of a document; `tokens` is their length in a sequence, media expanded."""

    document: int
    start: int
    end: int
    tokens: int


@dataclass(slots=True)
class PackCounts:
    """What became of one kind's documents, in expanded tokens:
    packed - repeated + dropped + left out = all."""

    documents: int = 0
    sequences: int = 0
    packed_tokens: int = 0
    repeated_tokens: int = 0
    """Packed a second time or more, where a weight asks for more than one pass."""
    dropped_documents: int = 0
    dropped_media: int = 0
    dropped_tokens: int = 0
    """Of media that are longer than a sequence, and of documents that may not be cut."""
    left_out_documents: int = 0
    left_out_tokens: int = 0
    """Excluded by a decision, or by a weight below 1."""
    cut_documents: int = 0
    cuts: int = 0
    cuts_at_an_end: int = 0
    """Cuts of long documents that fall after a sentence or line, or before a medium."""

    def fill(self, sequence_tokens: int) -> float | None:
        """Part of the sequences' positions that is not padding; None without a sequence."""
        return self.packed_tokens / (self.sequences * sequence_tokens) if self.sequences else None

    def add(self, other: PackCounts) -> None:
        """Add another's numbers to these."""
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))


@dataclass(frozen=True, slots=True)
class MediaSize:
    """What a picture, clip or sound becomes: pad tokens with start and end, vision patches, mel frames."""

    tokens: int
    patches: int
    mel_frames: int


@dataclass(frozen=True, slots=True)
class Split:
    """A long document with media in pieces (start, end, tokens, patches, mel frames) and the media that do not fit."""

    pieces: tuple[tuple[int, int, int, int, int], ...]
    cuts: int
    cuts_at_an_end: int
    dropped: tuple[MediaSize, ...]


class LongDocuments(Protocol):
    """What is asked about a document that is longer than a sequence; `document` is its number in the version."""

    def cuts(self, document: int, *, by_line: bool) -> list[Cut]:
        """Where a text is cut."""
        ...

    def split(self, document: int) -> Split:
        """How one with media is cut."""
        ...


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The plan of one part of the index, as columns.

    Of a sequence: tokens, patches, mel_frames, and `squares`, the sum of its pieces' squared lengths (attention).
    Entry e is (kind, shard, pass) and has sequences first..first + sequences; entries with the same documents share
    them. Sequence s holds pieces piece_first[s]..piece_first[s+1]; `document` counts from the part's first.
    """

    entries: Mapping[str, IntArray]
    sequences: Mapping[str, IntArray]
    pieces: Mapping[str, IntArray]
    counts: Mapping[str, PackCounts]
    cells: Mapping[str, Mapping[str, int]]

    def meta(self) -> dict[str, Any]:
        """Counts by kind, and by kind/source/language the documents, tokens and packed tokens, as JSON values."""
        return {
            "counts": {kind: asdict(counts) for kind, counts in self.counts.items()},
            "cells": {name: dict(cell) for name, cell in self.cells.items()},
        }


def best_fit(lengths: npt.ArrayLike, capacity: int) -> IntArray:
    """Sequence number of each item; no sequence is longer than `capacity`. Sequences count by their first item. Pure.

    Raises ValueError for an item of length 0 or beyond `capacity`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    wrong = np.flatnonzero((sizes < 1) | (sizes > capacity))
    if len(wrong):
        raise ValueError(f"item {wrong[0]} has length {sizes[wrong[0]]}, not 1..{capacity}")
    if not len(sizes):
        return np.zeros(0, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    distinct, counts = np.unique(sizes, return_counts=True)
    placed = _placements(distinct[::-1].tolist(), counts[::-1].tolist(), capacity)
    first, used, each, start = np.asarray(placed, dtype=np.int64).T
    move = np.repeat(np.arange(len(placed)), used * each)
    bins = np.empty(len(sizes), dtype=np.int64)
    bins[order] = first[move] + (np.arange(len(sizes)) - start[move]) // each[move]
    _, first_item, number = np.unique(bins, return_index=True, return_inverse=True)
    rank = np.empty(len(first_item), dtype=np.int64)
    rank[np.argsort(first_item)] = np.arange(len(first_item))
    return rank[number.ravel()]


def _placements(lengths: list[int], counts: list[int], capacity: int) -> list[tuple[int, int, int, int]]:
    """Moves (first bin, bins, items a bin, first item) that place `counts` items of descending `lengths`.

    `rooms` holds the different rooms of open bins in order, `bins[room]` runs of bins (first, number) with that room.
    """
    rooms: list[int] = []
    bins: dict[int, list[tuple[int, int]]] = {}
    moves: list[tuple[int, int, int, int]] = []
    made = item = 0
    for length, count in zip(lengths, counts, strict=True):
        while count:
            at = bisect_left(rooms, length)
            if at < len(rooms):
                room = rooms[at]
                runs = bins[room]
                first, number = runs.pop()
                if not runs:
                    del bins[room], rooms[at]
            else:
                room, first, number = capacity, made, -(-count // (capacity // length))
                made += number
            # The tightest bin stays the tightest while it has room: it takes as many of this length as it holds.
            each = min(room // length, count)
            used = min(count // each, number)
            moves.append((first, used, each, item))
            item, count = item + used * each, count - used * each
            for left, start, many in ((room, first + used, number - used), (room - each * length, first, used)):
                if left and many:
                    if left not in bins:
                        bins[left] = []
                        insort(rooms, left)
                    bins[left].append((start, many))
    return moves


def split_at_media(
    tokens: npt.NDArray[np.int32],
    placeholders: Sequence[int],
    sizes: Sequence[MediaSize],
    sequence_tokens: int,
    text: TextCuts,
) -> Split:
    """Cut a document with media at `placeholders` (positions in the stored tokens) of `sizes`. Pure.

    A piece takes what fits; it ends before a medium that does not fit, or after a sentence of the text.
    """
    costs = np.ones(len(tokens), dtype=np.int64)
    costs[list(placeholders)] = [size.tokens for size in sizes]
    ends = np.concatenate(([0], np.cumsum(costs)))
    size_at = dict(zip(placeholders, sizes, strict=True))
    pieces: list[tuple[int, int, int, int, int]] = []
    dropped: list[MediaSize] = []
    start, cuts, at_end = 0, 0, 0
    while start < len(tokens):
        limit = int(ends.searchsorted(ends[start] + sequence_tokens, "right")) - 1
        if limit == start:
            dropped.append(size_at[start])
            start += 1
            continue
        end = limit
        if limit < len(tokens):
            cuts += 1
            if limit in size_at:
                at_end += 1
            else:
                before = placeholders[bisect_left(placeholders, limit) - 1] if placeholders[0] < limit else -1
                text_start = max(start, before + 1)
                room = min(max(1, sequence_tokens // FINAL_PART), limit - text_start)
                if room:
                    cut = text.last_end(tokens, text_start, limit, room, by_line=False)
                    end, at_end = cut.end, at_end + cut.at_end
        inside = [size_at[place] for place in placeholders if start <= place < end]
        patches, frames = sum(size.patches for size in inside), sum(size.mel_frames for size in inside)
        pieces.append((start, end, int(ends[end] - ends[start]), patches, frames))
        start = end
    return Split(tuple(pieces), cuts, at_end, tuple(dropped))


def pack_part(
    part: DocumentPart, expansion: Expansion, copies: IntArray, sequence_tokens: int, long: LongDocuments
) -> PartPlan:
    """Pack the documents of a part, document d `copies[d]` times (each in another pass). Pure but for `long`."""
    counts: dict[str, PackCounts] = defaultdict(PackCounts)
    pieces = _pieces(part, expansion, copies, sequence_tokens, long, counts)
    writer = _PlanWriter(sequence_tokens)
    bounds = np.searchsorted(pieces["document"], np.arange(len(part.tokens) + 1))
    for kind, shard, documents in _groups(part):
        chosen = _rows(bounds, documents)
        last = -1
        for number in range(int(copies[documents].max(initial=0))):
            rows = chosen[copies[pieces["document"][chosen]] > number]
            if len(rows) == last:
                writer.repeat(kind, shard, number)
            elif len(rows):
                writer.add(kind, shard, number, {name: column[rows] for name, column in pieces.items()})
                last = len(rows)
        name = KINDS[kind]
        counts[name].sequences += writer.sequences_of(kind, shard)
        packed = pieces["tokens"][chosen] * copies[pieces["document"][chosen]]
        counts[name].packed_tokens += int(packed.sum())
        counts[name].repeated_tokens += int(packed.sum() - pieces["tokens"][chosen].sum())
    return writer.finish(dict(counts), _cells(part, expansion, copies, pieces))


def _groups(part: DocumentPart) -> Iterator[tuple[int, int, IntArray]]:
    """(kind, shard, documents) in order of kind, then shard."""
    order = np.lexsort((part.shard, part.kind))
    if not len(order):
        return
    changes = (np.diff(part.kind[order]) != 0) | (np.diff(part.shard[order]) != 0)
    for documents in np.split(order, np.flatnonzero(changes) + 1):
        yield int(part.kind[documents[0]]), int(part.shard[documents[0]]), documents


def _rows(bounds: IntArray, documents: IntArray) -> IntArray:
    """Rows bounds[d]..bounds[d+1] of every d of `documents` (ascending)."""
    sizes = bounds[documents + 1] - bounds[documents]
    ends = np.cumsum(sizes)
    within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    rows: IntArray = np.repeat(bounds[documents], sizes) + within
    return rows


def _pieces(
    part: DocumentPart,
    expansion: Expansion,
    copies: IntArray,
    sequence_tokens: int,
    long: LongDocuments,
    counts: dict[str, PackCounts],
) -> dict[str, IntArray]:
    """Pieces of the part's documents that are packed at least once, by document."""
    kept = copies > 0
    for kind in np.unique(part.kind).tolist():
        of_kind = part.kind == kind
        count = counts[KINDS[kind]]
        count.documents += int(of_kind.sum())
        count.left_out_documents += int((of_kind & ~kept).sum())
        count.left_out_tokens += int(expansion.tokens[of_kind & ~kept].sum())
    fits = np.flatnonzero(kept & (part.tokens > 0) & (expansion.tokens <= sequence_tokens))
    sizes = (expansion.tokens[fits], expansion.patches[fits], expansion.mel_frames[fits])
    columns = dict(zip(_PIECE, (fits, np.zeros_like(fits), part.tokens[fits], *sizes), strict=True))
    rows: _Rows = []
    for document in np.flatnonzero(kept & (expansion.tokens > sequence_tokens)).tolist():
        count = counts[KINDS[int(part.kind[document])]]
        has_media = part.media_first[document] < part.media_first[document + 1]
        rows += (_split if has_media else _cut)(document, part, expansion, long, count)
    if not rows:
        return columns
    added = np.asarray(rows, dtype=np.int64).T
    joined = {name: np.concatenate((columns[name], more)) for name, more in zip(_PIECE, added, strict=True)}
    order = np.argsort(joined["document"], kind="stable")
    return {name: column[order] for name, column in joined.items()}


_Rows = list[tuple[int, int, int, int, int, int]]


def _cut(document: int, part: DocumentPart, expansion: Expansion, long: LongDocuments, count: PackCounts) -> _Rows:
    cuts = long.cuts(part.first + document, by_line=KINDS[int(part.kind[document])] == "code")
    count.cut_documents += 1
    count.cuts += len(cuts) - 1
    count.cuts_at_an_end += sum(cut.at_end for cut in cuts[:-1])
    starts = [0, *(cut.end for cut in cuts[:-1])]
    return [(document, start, cut.end, cut.end - start, 0, 0) for start, cut in zip(starts, cuts, strict=True)]


def _split(document: int, part: DocumentPart, expansion: Expansion, long: LongDocuments, count: PackCounts) -> _Rows:
    if KINDS[int(part.kind[document])] in WHOLE_KINDS:
        count.dropped_documents += 1
        count.dropped_media += int(part.media_first[document + 1] - part.media_first[document])
        count.dropped_tokens += int(expansion.tokens[document])
        return []
    split = long.split(part.first + document)
    count.cut_documents += 1
    count.cuts += split.cuts
    count.cuts_at_an_end += split.cuts_at_an_end
    count.dropped_documents += not split.pieces
    count.dropped_media += len(split.dropped)
    count.dropped_tokens += sum(size.tokens for size in split.dropped)
    return [(document, *piece) for piece in split.pieces]


def _cells(
    part: DocumentPart, expansion: Expansion, copies: IntArray, pieces: Mapping[str, IntArray]
) -> dict[str, dict[str, int]]:
    """By kind/source/language: documents, their expanded tokens, and the tokens packed in one pass over the kind."""
    code = (part.kind * len(part.sources) + part.source) * len(part.languages) + part.language
    distinct, cell = np.unique(code, return_inverse=True)
    packed = pieces["tokens"] * copies[pieces["document"]]
    sums = {
        "documents": np.bincount(cell, minlength=len(distinct)),
        "tokens": np.bincount(cell, expansion.tokens, len(distinct)),
        "packed_tokens": np.bincount(cell[pieces["document"]], packed, len(distinct)),
    }
    cells = {}
    for number, value in enumerate(distinct.tolist()):
        rest, language = divmod(value, len(part.languages))
        kind, source = divmod(rest, len(part.sources))
        name = f"{KINDS[kind]}/{part.sources[source]}/{part.languages[language]}"
        cells[name] = {key: int(column[number]) for key, column in sums.items()}
    return cells


class _PlanWriter:
    """Collects sequences and turns them into the plan's columns."""

    def __init__(self, sequence_tokens: int) -> None:
        self._sequence_tokens = sequence_tokens
        self._entries: list[tuple[int, int, int, int, int]] = []
        self._pieces: dict[str, list[IntArray]] = defaultdict(list)
        self._sequences: dict[str, list[IntArray]] = defaultdict(list)
        self._made = 0

    def add(self, kind: int, shard: int, number: int, pieces: Mapping[str, IntArray]) -> None:
        """Pack `pieces` as pass `number` of a shard."""
        sequence = best_fit(pieces["tokens"], self._sequence_tokens)
        order = np.argsort(sequence, kind="stable")
        count = int(sequence.max()) + 1
        for name in _PIECE_COLUMNS:
            self._pieces[name].append(pieces[name][order])
        self._sequences["pieces"].append(np.bincount(sequence, minlength=count))
        for name, sizes in (
            ("tokens", pieces["tokens"]),
            ("patches", pieces["patches"]),
            ("mel_frames", pieces["mel_frames"]),
            ("squares", pieces["tokens"] ** 2),
        ):
            self._sequences[name].append(np.bincount(sequence, sizes, count).astype(np.int64))
        self._entries.append((kind, shard, number, self._made, count))
        self._made += count

    def repeat(self, kind: int, shard: int, number: int) -> None:
        """Pass `number` holds the documents of the pass before: it has the same sequences."""
        *_, first, count = self._entries[-1]
        self._entries.append((kind, shard, number, first, count))

    def sequences_of(self, kind: int, shard: int) -> int:
        """Sequences of all passes of the group that was added last."""
        total = 0
        for entry in reversed(self._entries):
            if entry[:2] != (kind, shard):
                break
            total += entry[4]
        return total

    def finish(self, counts: dict[str, PackCounts], cells: dict[str, dict[str, int]]) -> PartPlan:
        empty = np.zeros(0, dtype=np.int64)
        entries = np.asarray(self._entries, dtype=np.int64).reshape(-1, 5).T
        joined = {name: np.concatenate([empty, *self._sequences[name]]) for name in _SEQUENCE_COLUMNS}
        ends = np.concatenate(([0], np.cumsum(joined.pop("pieces"))))
        return PartPlan(
            entries=dict(zip(("kind", "shard", "pass", "first", "sequences"), entries, strict=True)),
            sequences={"piece_first": ends, **joined},
            pieces={name: np.concatenate([empty, *self._pieces[name]]) for name in _PIECE_COLUMNS},
            counts=counts,
            cells=cells,
        )


_SEQUENCE_COLUMNS = ("pieces", "tokens", "patches", "mel_frames", "squares")
_PIECE_COLUMNS = ("document", "start", "end", "tokens")
_PIECE = (*_PIECE_COLUMNS, "patches", "mel_frames")
