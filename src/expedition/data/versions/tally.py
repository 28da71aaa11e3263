"""What each stage did, by source and kind: in, out, dropped by reason, changed, counted; sums of sums stay sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Cell:
    """One stage's work on one source's documents of one kind."""

    into: int = 0
    out: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: Mapping[str, Any]) -> None:
        """Add a cell in the form of `Tally.rows`."""
        self.into += other["in"]
        self.out += other["out"]
        for name, mine in (("dropped", self.dropped), ("changed", self.changed), ("counts", self.counts)):
            mine.update(other[name])

    def row(self) -> dict[str, Any]:
        """The cell as JSON values."""
        tables = {"dropped": self.dropped, "changed": self.changed, "counts": self.counts}
        return {"in": self.into, "out": self.out} | {
            name: dict(sorted(table.items())) for name, table in tables.items()
        }


class Tally:
    """Cells by (stage, source, kind), in the order in which stages first appear."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str], Cell] = {}

    def cell(self, stage: str, source: str, kind: str) -> Cell:
        """The cell to write to."""
        return self._cells.setdefault((stage, source, kind), Cell())

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add the rows of another tally."""
        for row in rows:
            self.cell(row["stage"], row["source"], row["kind"]).add(row)

    def rows(self) -> list[dict[str, Any]]:
        """{stage, source, kind, in, out, dropped, changed, counts}, sorted by source and kind, stages in order."""
        order = {stage: place for place, stage in enumerate(dict.fromkeys(key[0] for key in self._cells))}
        keys = sorted(self._cells, key=lambda key: (key[1], key[2], order[key[0]]))
        return [{"stage": k[0], "source": k[1], "kind": k[2], **self._cells[k].row()} for k in keys]

    def totals(self) -> list[dict[str, Any]]:
        """{stage, in, out, dropped, changed, counts} over all sources and kinds, in the order of stages."""
        sums: dict[str, Cell] = {}
        for (stage, _, _), cell in self._cells.items():
            sums.setdefault(stage, Cell()).add(cell.row())
        return [{"stage": stage, **cell.row()} for stage, cell in sums.items()]
