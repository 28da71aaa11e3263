"""Which blocks lie in tables of data, and where; tables that only lay a page out are left to the rules for prose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from expedition.data.extract import layout, weigh
from expedition.data.extract.tags import TAG

_TABLE, _ROW, _CELLS = TAG["table"], TAG["tr"], (TAG["td"], TAG["th"])
_CLIMB: Final = 12
"""Elements between a block and its cell or table that are looked at."""
_LONG_CELL = 600
_MEAN_CELL = 160
_LINKED = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Elements that a block of a data table lies in."""

    table: int
    row: int
    cell: int


def places(scanned: Any, numbers: Sequence[int]) -> dict[int, Place]:
    """By block its place, for the blocks of tables that hold data: two rows and two columns or more, short cells, few links."""
    tags = scanned.elements[:: layout.EL_WIDTH]
    if not (_TABLE in tags if isinstance(tags, list) else (tags == _TABLE).any()):
        return {}
    found: dict[int, Place] = {}
    for n in numbers:
        place = None if scanned.rows[n * layout.B_WIDTH + layout.B_PRE] == 1 else _place(scanned, n)
        if place is not None:
            found[n] = place
    by_table: dict[int, list[int]] = {}
    for n, place in found.items():
        by_table.setdefault(place.table, []).append(n)
    good = {table for table, inside in by_table.items() if _holds_data(scanned, inside, found)}
    return {n: place for n, place in found.items() if place.table in good}


def _place(scanned: Any, block: int) -> Place | None:
    e = int(scanned.rows[block * layout.B_WIDTH + layout.B_ELEMENT])
    row = cell = 0
    for _ in range(_CLIMB):
        tag = scanned.elements[e * layout.EL_WIDTH + layout.EL_TAG]
        if tag == _TABLE:
            return Place(e, row, cell) if row and cell else None
        if tag == _ROW and not row:
            row = e
        elif tag in _CELLS and not cell:
            cell = e
        if not e:
            return None
        e = int(scanned.elements[e * layout.EL_WIDTH + layout.EL_PARENT])
    return None


def _holds_data(scanned: Any, inside: list[int], found: dict[int, Place]) -> bool:
    cells: dict[int, int] = {}
    columns: dict[int, set[int]] = {}
    linked = size = 0
    for n in inside:
        feature = n * weigh.WIDTH
        chars = int(scanned.feature[feature + weigh.CHARS])
        place = found[n]
        cells[place.cell] = cells.get(place.cell, 0) + chars
        columns.setdefault(place.row, set()).add(place.cell)
        size += chars
        linked += chars * int(scanned.feature[feature + weigh.LINKED])
    wide = sum(len(row) >= 2 for row in columns.values())
    return (
        wide >= 2 and max(cells.values()) <= _LONG_CELL and size <= _MEAN_CELL * len(cells) and linked <= _LINKED * size
    )
