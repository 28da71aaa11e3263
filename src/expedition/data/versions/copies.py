"""The copies that a build leaves out, on disk: tables by block of files, so that each reader takes its own rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.engine.tables import read_table, write_table
from expedition.data.stages.dedup import Duplicate
from expedition.data.stages.dedup.resolve import REASONS, Dropped
from expedition.data.versions.prints import Prints

COPIES = "copies.arrow"
COPIES_SCHEMA = pa.schema([("number", pa.int64()), ("id", pa.string()), ("reason", pa.string()), ("of", pa.string())])
"""One row a document to drop, sorted by number; `of` is the id of the copy that stays."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Ids of the copies in one file of documents: a container that is read where it is asked, not where it is made."""

    table: Path
    start: int
    end: int

    def __contains__(self, document: object) -> bool:
        return document in _ids(self)

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Copies:
    """All copies of a build."""

    prints: Prints
    tables: tuple[Path, ...]
    """A table a block of `width` files."""
    width: int
    by_reason: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(self.by_reason.values())

    def removed(self, documents: Path) -> Removed:
        """What is removed from this file of documents."""
        file = self.prints.place_of(documents)
        table = self.tables[file // self.width]
        first, last = self.prints.bounds(file, file + 1)
        start, end = np.searchsorted(read_table(table).column("number").to_numpy(), [first, last]).tolist()
        return Removed(table, start, end)

    def __iter__(self) -> Iterator[Duplicate]:
        for table in self.tables:
            for batch in read_table(table).to_batches():
                yield from _duplicates(pa.Table.from_batches([batch]))


def duplicates_of(rows: Removed) -> list[Duplicate]:
    """The copies in one file of documents."""
    return _duplicates(read_table(rows.table).slice(rows.start, len(rows)))


def write_copies(path: Path, dropped: Dropped, prints: Prints) -> dict[str, int]:
    """Write a table of copies; returns their number by reason."""
    keepers, places = np.unique(dropped.of, return_inverse=True)
    names = pa.array(prints.ids(keepers), pa.string())
    table = pa.table(
        {
            "number": dropped.numbers,
            "id": pa.array(prints.ids(dropped.numbers), pa.string()),
            "reason": pa.array(REASONS).take(pa.array(dropped.reasons)),
            "of": names.take(pa.array(places.astype(np.int64))),
        },
        schema=COPIES_SCHEMA,
    )
    write_table(path, table, batch_rows=1 << 16)
    return {word: int((dropped.reasons == code).sum()) for code, word in enumerate(REASONS)}


@lru_cache(maxsize=4)
def _ids(rows: Removed) -> frozenset[str]:
    return frozenset(read_table(rows.table).column("id").slice(rows.start, len(rows)).to_pylist())


def _duplicates(table: pa.Table) -> list[Duplicate]:
    columns = (table.column(name).to_pylist() for name in ("id", "reason", "of"))
    return [Duplicate(*row) for row in zip(*columns, strict=True)]
