"""Which documents make which sequence: a plan made from the index alone, the shards are never rebuilt for it.

Documents of one shard are packed with each other only, so a sequence is read from one shard. Best fit over a bounded
number of open sequences (Johnson 1974): a piece goes where it leaves the least room, so one pass suffices and the order
of a shard is kept roughly. A text longer than a sequence is cut into sequences of its own and a rest. A document with
media that is too long keeps its media whole and loses text at its end; if its media alone do not leave room for one
token after them, it is dropped. Both are counted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from expedition.data.loading.index import BRACKET_TOKENS, DocumentIndex, Expansion
from expedition.data.records import KINDS

IntArray = npt.NDArray[np.int64]

OPEN_SEQUENCES = 64
"""Sequences that are open for more at a time."""

Truncate = Callable[[int], "tuple[int, int] | None"]
"""document → (stored tokens kept, their expanded length), or None if its media do not fit."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Stored tokens start..end of a document; `tokens` is their length in a sequence, media expanded."""

    document: int
    start: int
    end: int
    tokens: int


@dataclass(slots=True)
class PackCounts:
    """What became of one kind's documents, in expanded tokens: packed + truncated + dropped = all."""

    documents: int = 0
    sequences: int = 0
    packed_tokens: int = 0
    truncated_documents: int = 0
    truncated_tokens: int = 0
    dropped_documents: int = 0
    dropped_tokens: int = 0


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Packed sequences in order of kind, then shard. Sequence s holds pieces piece_first[s]..piece_first[s+1].

    `shard_kind`, `shard`: pairs with at least one sequence; pair i has sequences shard_first[i]..shard_first[i+1].
    Costs by sequence: tokens (not padding), patches, mel_frames.
    """

    sequence_tokens: int
    piece_first: IntArray
    pieces: IntArray
    tokens: IntArray
    patches: IntArray
    mel_frames: IntArray
    shard_kind: IntArray
    shard: IntArray
    shard_first: IntArray
    counts: dict[str, PackCounts] = field(default_factory=dict)

    @property
    def sequences(self) -> int:
        """How many sequences there are, of all kinds."""
        return len(self.tokens)

    def sizes(self, kind: str) -> list[int]:
        """Sequences in each shard of a kind, in the plan's order."""
        chosen = self.shard_kind == KINDS.index(kind)
        return [int(size) for size in np.diff(self.shard_first)[chosen]]

    def first(self, kind: str) -> int:
        """Number of the kind's first sequence."""
        return int(self.shard_first[int(np.searchsorted(self.shard_kind, KINDS.index(kind)))])

    def kinds(self) -> list[str]:
        """Kinds that have at least one sequence."""
        return [KINDS[number] for number in sorted(set(self.shard_kind.tolist()))]

    def members(self, sequence: int) -> list[Piece]:
        """Pieces of a sequence in order."""
        rows = self.pieces[int(self.piece_first[sequence]) : int(self.piece_first[sequence + 1])]
        return [Piece(*row) for row in rows.tolist()]


def best_fit(lengths: Sequence[int], capacity: int, open_limit: int = OPEN_SEQUENCES) -> list[list[int]]:
    """Numbers of the items of each sequence; every item once, no sequence longer than `capacity`. Pure.

    Raises ValueError for an item of length 0 or beyond `capacity`.
    """
    sequences: list[list[int]] = []
    open_: list[tuple[int, int]] = []
    for item, length in enumerate(lengths):
        if not 0 < length <= capacity:
            raise ValueError(f"item {item} has length {length}, not 1..{capacity}")
        position = bisect_left(open_, (length, -1))
        if position < len(open_):
            room, number = open_.pop(position)
            sequences[number].append(item)
        else:
            room, number = capacity, len(sequences)
            sequences.append([item])
            if len(open_) >= open_limit:
                open_.pop(0)
        if room > length:
            insort(open_, (room - length, number))
    return sequences


def cut(document: int, stored: int, sequence_tokens: int) -> list[Piece]:
    """Pieces of a text without media: whole sequences and a rest."""
    starts = range(0, stored, sequence_tokens)
    ends = [min(start + sequence_tokens, stored) for start in starts]
    return [Piece(document, start, end, end - start) for start, end in zip(starts, ends, strict=True)]


def kept_prefix(
    placeholders: Sequence[int], media_tokens: Sequence[int], stored: int, sequence_tokens: int
) -> tuple[int, int] | None:
    """How many stored tokens of a document with media are kept so that it fits, and their expanded length.

    `placeholders` are the positions of its media in the stored tokens, `media_tokens` their pad tokens. None if the
    last medium with its end token leaves no room for one more token. Pure.
    """
    extra = sum(tokens + BRACKET_TOKENS - 1 for tokens in media_tokens)
    after_media = placeholders[-1] + 1 + extra
    if after_media + 1 > sequence_tokens:
        return None
    kept = min(stored, sequence_tokens - extra)
    return kept, kept + extra


def plan_packing(index: DocumentIndex, expansion: Expansion, sequence_tokens: int, truncate: Truncate) -> PackPlan:
    """Pack every document of the index. Pure but for `truncate`, asked about documents that are too long."""
    writer = _PlanWriter(expansion)
    for kind in sorted(set(index.kind.tolist())):
        counts = writer.counts.setdefault(KINDS[kind], PackCounts())
        of_kind = np.flatnonzero(index.kind == kind)
        for shard in sorted(set(index.shard[of_kind].tolist())):
            documents = of_kind[index.shard[of_kind] == shard]
            pieces = _pieces(documents.tolist(), index, expansion, sequence_tokens, truncate, counts)
            groups = best_fit([piece.tokens for piece in pieces], sequence_tokens)
            writer.add(kind, shard, [[pieces[item] for item in group] for group in groups])
    return writer.finish(sequence_tokens)


def _pieces(
    documents: list[int],
    index: DocumentIndex,
    expansion: Expansion,
    sequence_tokens: int,
    truncate: Truncate,
    counts: PackCounts,
) -> list[Piece]:
    pieces: list[Piece] = []
    for document in documents:
        stored, expanded = int(index.columns["tokens"][document]), int(expansion.tokens[document])
        counts.documents += 1
        if expanded <= sequence_tokens:
            pieces += [Piece(document, 0, stored, expanded)] if stored else []
        elif index.media_first[document] == index.media_first[document + 1]:
            pieces += cut(document, stored, sequence_tokens)
        elif (kept := truncate(document)) is None:
            counts.dropped_documents += 1
            counts.dropped_tokens += expanded
        else:
            counts.truncated_documents += 1
            counts.truncated_tokens += expanded - kept[1]
            pieces.append(Piece(document, 0, *kept))
    return pieces


class _PlanWriter:
    """Collects sequences and turns them into the plan's columns."""

    def __init__(self, expansion: Expansion) -> None:
        self._expansion = expansion
        self._pieces: list[tuple[int, int, int, int]] = []
        self._piece_first = [0]
        self._costs: list[tuple[int, int, int]] = []
        self._shards: list[tuple[int, int]] = []
        self._shard_first = [0]
        self.counts: dict[str, PackCounts] = {}

    def add(self, kind: int, shard: int, sequences: list[list[Piece]]) -> None:
        if not sequences:
            return
        counts = self.counts[KINDS[kind]]
        for sequence in sequences:
            tokens = sum(piece.tokens for piece in sequence)
            patches = sum(int(self._expansion.patches[piece.document]) for piece in sequence)
            frames = sum(int(self._expansion.mel_frames[piece.document]) for piece in sequence)
            self._costs.append((tokens, patches, frames))
            self._pieces += [(piece.document, piece.start, piece.end, piece.tokens) for piece in sequence]
            self._piece_first.append(len(self._pieces))
            counts.packed_tokens += tokens
        counts.sequences += len(sequences)
        self._shards.append((kind, shard))
        self._shard_first.append(len(self._costs))

    def finish(self, sequence_tokens: int) -> PackPlan:
        costs = np.asarray(self._costs, dtype=np.int64).reshape(-1, 3)
        shards = np.asarray(self._shards, dtype=np.int64).reshape(-1, 2)
        return PackPlan(
            sequence_tokens=sequence_tokens,
            piece_first=np.asarray(self._piece_first, dtype=np.int64),
            pieces=np.asarray(self._pieces, dtype=np.int64).reshape(-1, 4),
            tokens=costs[:, 0],
            patches=costs[:, 1],
            mel_frames=costs[:, 2],
            shard_kind=shards[:, 0],
            shard=shards[:, 1],
            shard_first=np.asarray(self._shard_first, dtype=np.int64),
            counts=self.counts,
        )
