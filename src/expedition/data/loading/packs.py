"""Pack plans on disk: `index/pack-<fingerprint>/`, made once from the index, deletable, remade equal.

Two levels. The table has a row an entry (kind, shard, pass): the global number of its first sequence, and where that
lies. The parts hold, for the same shards as the index's parts, each sequence's costs and pieces. Opening a plan reads
the table alone (31 bytes an entry, mapped); a sequence costs a few pages of one part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.cache import ShardReader
from expedition.data.loading.decode import DocumentReader
from expedition.data.loading.derived import PART_FILE, make_parts
from expedition.data.loading.flat import Array, Blocks, Flat, Parted, encode, open_flat
from expedition.data.loading.index import BRACKET_TOKENS, PART_DOCUMENTS, DocumentIndex, media_size, open_index
from expedition.data.loading.packing import MediaSize, PackCounts, Piece, Split, pack_part, split_at_media
from expedition.data.loading.sentences import Cut, TextCuts
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.loading.weights import copies
from expedition.data.records import KINDS
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json

IntArray = npt.NDArray[np.int64]

SCHEMA = "data.pack/2"
COSTS = ("tokens", "patches", "mel_frames", "squares")
"""What a sequence costs: positions that are not padding, vision patches, frames of sound, squared piece lengths."""


@dataclass(frozen=True)
class PackRule:
    """What a plan depends on besides the version's content."""

    sequence_tokens: int
    media: MediaRule
    excluded: tuple[str, ...] = ()
    """Sources, shards and document ids that are left out."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Passes over a cell (kind/source/language) within one pass over its kind; 1 where none is given."""
    part_documents: int = PART_DOCUMENTS
    """Documents of a part: how the plan lies in files; no sequence depends on it."""

    def fingerprint(self, content_hash: str) -> str:
        """Names a plan by all that it depends on, this form included."""
        parts = {
            "schema": SCHEMA,
            "content": content_hash,
            "sequence_tokens": self.sequence_tokens,
            "media": self.media.model_dump(),
            "excluded": sorted(self.excluded),
            "weights": dict(self.weights),
            "part": self.part_documents,
        }
        return sha256_json(parts)[:16]


class PackPlan:
    """Packed sequences in order of kind, then pass, then shard. Safe for many threads."""

    def __init__(self, sequence_tokens: int, table: Flat, parts: Parted) -> None:
        self.sequence_tokens = sequence_tokens
        self.counts = {kind: PackCounts(**values) for kind, values in table.meta["counts"].items()}
        """What became of each kind's documents."""
        self.cells: dict[str, dict[str, int]] = table.meta["cells"]
        """By kind/source/language: documents, tokens, and tokens packed in one pass over the kind."""
        self._kind, self._shard, self._pass = (table.read(name) for name in ("kind", "shard", "pass"))
        self._first: IntArray = table.read("first")
        self._part, self._part_first = table.read("part"), table.read("part_first")
        self._parts = parts

    @property
    def sequences(self) -> int:
        """How many sequences there are, of all kinds."""
        return int(self._first[-1])

    @property
    def entries(self) -> int:
        """How many (kind, shard, pass) there are."""
        return len(self._shard)

    def kinds(self) -> list[str]:
        """Kinds that have at least one sequence."""
        return [
            KINDS[number] for number in range(len(KINDS)) if self._first_entry(number) < self._first_entry(number + 1)
        ]

    def firsts(self, kind: str) -> IntArray:
        """Global number of the first sequence of each of a kind's entries, and the end of the last."""
        number = KINDS.index(kind)
        return self._first[self._first_entry(number) : self._first_entry(number + 1) + 1]

    def first(self, kind: str) -> int:
        """Number of the kind's first sequence."""
        return int(self.firsts(kind)[0])

    def count(self, kind: str) -> int:
        """How many sequences the kind has."""
        firsts = self.firsts(kind)
        return int(firsts[-1] - firsts[0])

    def entry(self, kind: str, number: int) -> tuple[int, int]:
        """(shard, pass) of the `number`-th entry of a kind."""
        row = self._first_entry(KINDS.index(kind)) + number
        return int(self._shard[row]), int(self._pass[row])

    def members(self, sequence: int) -> list[Piece]:
        """Pieces of a sequence in order. Raises IndexError."""
        flat, row = self._find(sequence)
        start, end = flat.read("piece_first", row, row + 2).tolist()
        base = int(flat.meta["first_document"])
        columns = [flat.read(f"piece_{name}", start, end).tolist() for name in ("document", "start", "end", "tokens")]
        return [Piece(base + document, *rest) for document, *rest in zip(*columns, strict=True)]

    def costs(self, sequences: npt.ArrayLike) -> IntArray:
        """Tokens (not padding), patches, mel frames and squared piece lengths [4, n], from the plan alone."""
        wanted = np.asarray(sequences, dtype=np.int64)
        entry = self._first.searchsorted(wanted, "right") - 1
        row = self._part_first[entry] + wanted - self._first[entry]
        part = self._part[entry]
        out = np.empty((len(COSTS), len(wanted)), dtype=np.int64)
        for number in np.unique(part).tolist():
            chosen = np.flatnonzero(part == number)
            low, high = int(row[chosen].min()), int(row[chosen].max()) + 1
            for line, name in enumerate(COSTS):
                out[line, chosen] = self._parts.part(number).read(name, low, high)[row[chosen] - low]
        return out

    def shard_of(self, sequence: int) -> tuple[int, int]:
        """Number of the shard that a sequence is read from, and how many sequences one pass reads there."""
        entry = self._entry(sequence)
        return int(self._shard[entry]), int(self._first[entry + 1] - self._first[entry])

    def _first_entry(self, kind: int) -> int:
        return int(self._kind.searchsorted(kind, "left"))

    def _entry(self, sequence: int) -> int:
        if not 0 <= sequence < self.sequences:
            raise IndexError(f"sequence {sequence} of {self.sequences}")
        return int(self._first.searchsorted(sequence, "right")) - 1

    def _find(self, sequence: int) -> tuple[Flat, int]:
        entry = self._entry(sequence)
        row = int(self._part_first[entry]) + sequence - int(self._first[entry])
        return self._parts.part(int(self._part[entry])), row


def open_pack(ws: Workspace, version: str, dataset: str, content_hash: str, rule: PackRule) -> PackPlan:
    """The plan of a version under `rule`, made where it is missing. Idempotent; safe for many processes."""
    place = f"{layout.dataset(version, dataset)}/index/pack-{rule.fingerprint(content_hash)}"

    def plan() -> tuple[_PackTask, list[int]]:
        _opened.cache_clear()
        index = open_index(ws, version, dataset, part_documents=rule.part_documents)
        return _PackTask(ws.place, version, dataset, content_hash, rule), list(range(index.table.parts))

    table = make_parts(ws, place, SCHEMA, plan, _table)
    blocks = Blocks(ws.store)
    numbers = np.arange(int(table.meta["parts"]) + 1)
    parts = Parted(numbers, lambda number: open_flat(ws.store, f"{place}/part-{number:06d}.flat", SCHEMA, blocks))
    return PackPlan(rule.sequence_tokens, table, parts)


@dataclass(frozen=True)
class _PackTask:
    """Packs one part of the index."""

    place: str
    version: str
    dataset: str
    content_hash: str
    rule: PackRule

    def __call__(self, number: int, folder: Path) -> dict[str, Any]:
        index = _opened(self.place, self.version, self.dataset, self.content_hash, self.rule.part_documents)
        part = index.part(number)
        expansion = part.expansion(self.rule.media)
        chosen = copies(part, self.rule.weights, self.rule.excluded, index.shards)
        plan = pack_part(part, expansion, chosen, self.rule.sequence_tokens, _Long(self, index))
        columns: dict[str, Array] = {"piece_first": plan.sequences["piece_first"]}
        columns |= {name: plan.sequences[name].astype("i8" if name == "squares" else "i4") for name in COSTS}
        columns |= {f"piece_{name}": column.astype("i4") for name, column in plan.pieces.items()}
        columns |= {f"entry_{name}": column for name, column in plan.entries.items()}
        (folder / PART_FILE).write_bytes(encode(columns, {"first_document": part.first}, SCHEMA))
        entries = {name: column.tolist() for name, column in plan.entries.items()}
        return {"entries": entries, **plan.meta()}


class _Long:
    """Reads the stored tokens of documents that are longer than a sequence, and of no others."""

    def __init__(self, task: _PackTask, index: DocumentIndex) -> None:
        self._task, self._index = task, index

    @cached_property
    def _reader(self) -> DocumentReader:
        task, ws = self._task, Workspace.open(self._task.place)
        ids = MediaTokenIds.of_version(ws, task.version, task.dataset)
        shards = ShardReader(ws.store, whole_shards=False)
        return DocumentReader(self._index, shards, layout.dataset(task.version, task.dataset), ids, task.rule.media)

    def cuts(self, document: int, *, by_line: bool) -> list[Cut]:
        return self._text_cuts.cut(self._reader.tokens(document), self._task.rule.sequence_tokens, by_line=by_line)

    def split(self, document: int) -> Split:
        tokens = self._reader.tokens(document)
        sizes = []
        for span in self._index.media(document):
            pads, patches, mel_frames = media_size(span, self._task.rule.media)
            sizes.append(MediaSize(pads + BRACKET_TOKENS, patches, mel_frames))
        places = self._reader.placeholders(document, tokens)
        return split_at_media(tokens, places, sizes, self._task.rule.sequence_tokens, self._text_cuts)

    @property
    def _text_cuts(self) -> TextCuts:
        return _text_cuts(self._task.place, self._task.version, self._task.dataset, self._task.content_hash)


@lru_cache(maxsize=2)
def _opened(place: str, version: str, dataset: str, content_hash: str, part_documents: int) -> DocumentIndex:
    """The index of a version; a worker process opens it once for all its parts."""
    return open_index(Workspace.open(place), version, dataset, part_documents=part_documents)


@lru_cache(maxsize=2)
def _text_cuts(place: str, version: str, dataset: str, content_hash: str) -> TextCuts:
    import json

    from expedition.data.tokenizer.vocabulary import vocabulary_of

    key = f"{layout.dataset(version, dataset)}/tokenizer/tokenizer.json"
    return TextCuts(vocabulary_of(json.loads(Workspace.open(place).store.read(key))).tokens)


def _table(summaries: list[dict[str, Any]]) -> tuple[dict[str, Array], dict[str, Any]]:
    """The plan's table from what its parts say: entries in order of kind, then pass, then shard."""
    counts: dict[str, PackCounts] = {}
    cells: dict[str, dict[str, int]] = {}
    for summary in summaries:
        for kind, values in summary["counts"].items():
            counts.setdefault(kind, PackCounts()).add(PackCounts(**values))
        for name, cell in summary["cells"].items():
            old = cells.get(name, dict.fromkeys(cell, 0))
            cells[name] = {key: old[key] + value for key, value in cell.items()}
    names = ("kind", "shard", "pass", "first", "sequences")
    columns = {
        name: np.asarray([value for summary in summaries for value in summary["entries"][name]], dtype=np.int64)
        for name in names
    }
    part = np.repeat(np.arange(len(summaries)), [len(summary["entries"]["kind"]) for summary in summaries])
    order = np.lexsort((columns["shard"], columns["pass"], columns["kind"]))
    table: dict[str, Array] = {
        "kind": columns["kind"][order].astype("u1"),
        "shard": columns["shard"][order],
        "pass": columns["pass"][order].astype("i2"),
        "first": np.concatenate(([0], np.cumsum(columns["sequences"][order]))).astype(np.int64),
        "part": part[order].astype("i4"),
        "part_first": columns["first"][order],
    }
    from dataclasses import asdict

    meta = {
        "parts": len(summaries),
        "counts": {kind: asdict(counts[kind]) for kind in sorted(counts)},
        "cells": dict(sorted(cells.items())),
    }
    return table, meta
