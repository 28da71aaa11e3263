"""External merge: sorted segments on disk into sorted chunks, in memory that a setting bounds whatever the skew.

Rows come in the order (key, segment, row in segment), so a merge is the stable sort of the segments one after the
other. If all rows fit they are sorted at once. If not, each segment gives one batch at a time; every round emits the
rows below the smallest last key of those batches, then the rows of that key segment by segment, so that a key of any
number of rows streams through. More segments than `fan_in` are merged in several passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expedition.data.engine.runs import BATCH_BYTES, Segment, write_segment

MAX_FAN_IN = 256
"""Segments that one merge reads at once, at most: a bound on open files."""


def sort_by(table: pa.Table, key: str) -> pa.Table:
    """`table` stably sorted by the column `key`: equal keys keep their order."""
    order = pc.sort_indices(table, sort_keys=[(key, "ascending")])
    return table.take(order)


def fan_in(memory_bytes: int) -> int:
    """Segments merged at once so that their batches take at most a quarter of the memory."""
    return max(2, min(MAX_FAN_IN, memory_bytes // (4 * BATCH_BYTES)))


def sorted_chunks(segments: Sequence[Segment], key: str, memory_bytes: int, scratch: Path) -> Iterator[pa.Table]:
    """Merge sorted segments into sorted tables. Keys are integers or strings, never null.

    A key's rows are in one chunk, unless they alone exceed a quarter of `memory_bytes`: then they come in several
    chunks, one after the other. Bounds: rows held at once, copies of a sort included, stay below `memory_bytes` plus
    one row a segment. `scratch` takes the files of the passes between, each removed as soon as it is merged.
    """
    if sum(segment.size_bytes for segment in segments) <= memory_bytes // 3:
        whole = _whole(segments, memory_bytes // 3)
        if whole is not None:
            if whole.num_rows:
                yield sort_by(whole, key)
            return
    width = fan_in(memory_bytes)
    level, made = list(segments), 0
    while len(level) > width:
        merged = []
        for start in range(0, len(level), width):
            group = level[start : start + width]
            path = scratch / f".merge-{made:06d}"
            made += 1
            schema = next(group[0].batches()).schema
            merged.append(write_segment(path, schema, _streamed(group, key, memory_bytes)))
            _remove(group, scratch)
        level = merged
    yield from _streamed(level, key, memory_bytes)
    _remove(level, scratch)


def groups(chunk: pa.Table, key: str) -> Iterator[pa.Table]:
    """The runs of equal keys of a sorted table, as slices that share its memory."""
    column = numpy_of(chunk.column(key))
    if not len(column):
        return
    edges = np.flatnonzero(column[1:] != column[:-1]) + 1
    for start, end in zip([0, *edges.tolist()], [*edges.tolist(), len(column)], strict=True):
        yield chunk.slice(start, end - start)


def whole_or_split(chunks: Iterator[pa.Table], key: str) -> Iterator[pa.Table | Iterator[pa.Table]]:
    """Sorted chunks as tables of whole groups and, for a key that is spread over chunks, an iterator of its pieces.

    An iterator must be used up before the next item is asked for.
    """
    held = next(chunks, None)
    while held is not None:
        following = next(chunks, None)
        column = held.column(key)
        if following is None or column[-1] != following.column(key)[0]:
            yield held
            held = following
            continue
        values = numpy_of(column)
        start = int(np.searchsorted(values, values[-1], side="left"))
        if start:
            yield held.slice(0, start)
        rest: list[pa.Table | None] = [following]
        yield _pieces(held.slice(start), chunks, key, rest)
        held = rest[0]


def in_pieces(chunks: Iterator[pa.Table], key: str, rows: int) -> Iterator[pa.Table | Iterator[pa.Table]]:
    """`whole_or_split` with tables and pieces of at most `rows` rows: a bound on what a reducer makes of one."""
    for item in whole_or_split(chunks, key):
        if not isinstance(item, pa.Table):
            yield (part for piece in item for part in _cut(piece, rows))
            continue
        column = numpy_of(item.column(key))
        starts = np.concatenate(([0], np.flatnonzero(column[1:] != column[:-1]) + 1, [len(column)]))
        place = 0
        while place < len(starts) - 1:
            start = int(starts[place])
            end = int(np.searchsorted(starts, start + rows, side="right")) - 1
            if end > place:
                yield item.slice(start, int(starts[end]) - start)
                place = end
            else:
                place += 1
                yield _cut(item.slice(start, int(starts[place]) - start), rows)


def spooled(pieces: Iterator[pa.Table], path: Path) -> Iterator[pa.RecordBatch]:
    """Write the pieces of a key aside while they pass by, so that `reread(path)` gives them again: two passes over a
    group of any size. Remove the file afterwards."""
    writer = None
    with pa.OSFile(str(path), "wb") as sink:
        for piece in pieces:
            writer = writer or pa.ipc.new_stream(sink, piece.schema)
            writer.write_table(piece)
            yield from piece.combine_chunks().to_batches()
        if writer is not None:
            writer.close()


def reread(path: Path) -> Iterator[pa.RecordBatch]:
    """What `spooled` wrote, a batch at a time."""
    with pa.OSFile(str(path), "rb") as source:
        yield from pa.ipc.open_stream(source)


def numpy_of(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """A column as one NumPy array; strings become objects."""
    values: np.ndarray[Any, Any] = column.to_numpy()
    return values


def _cut(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)


def _pieces(first: pa.Table, chunks: Iterator[pa.Table], key: str, rest: list[pa.Table | None]) -> Iterator[pa.Table]:
    """The pieces of one key that starts in `first` and goes on in `rest[0]`; leaves there what follows it."""
    value = numpy_of(first.column(key))[-1]
    yield first
    while (following := rest[0]) is not None:
        end = int(np.searchsorted(numpy_of(following.column(key)), value, side="right"))
        if end:
            yield following.slice(0, end)
        if end < following.num_rows:
            rest[0] = following.slice(end)
            return
        rest[0] = next(chunks, None)


def _whole(segments: Sequence[Segment], most_bytes: int) -> pa.Table | None:
    """All rows, or None as soon as they prove to be more than `most_bytes`."""
    batches, held = [], 0
    for segment in segments:
        for batch in segment.batches():
            held += batch.nbytes
            if held > most_bytes:
                return None
            batches.append(batch)
    return pa.Table.from_batches(batches) if batches else pa.table({})


class _Cursor:
    """A place in a segment: the batch that is read and the first row of it that is not taken."""

    def __init__(self, segment: Segment, key: str) -> None:
        self._batches, self._key = segment.batches(), key
        self.batch: pa.RecordBatch | None = None
        self.keys: np.ndarray[Any, Any] = np.empty(0)
        self.start = 0

    def fill(self) -> bool:
        """Have a row at hand, reading the next batch if need be; False at the end."""
        while self.start >= len(self.keys):
            self.batch = next(self._batches, None)
            if self.batch is None:
                return False
            self.keys = self.batch.column(self._key).to_numpy(zero_copy_only=False)
            self.start = 0
        return True

    def take(self, pivot: Any, side: str) -> pa.Table | None:
        """The rows at hand below the pivot (`left`) or up to it (`right`)."""
        assert self.batch is not None
        end = int(np.searchsorted(self.keys, pivot, side=side))  # type: ignore[call-overload]
        start, self.start = self.start, max(end, self.start)
        if end <= start:
            return None
        rows = pa.Table.from_batches([self.batch.slice(start, end - start)])
        # A slice keeps its whole batch alive: a small one is copied out.
        return rows if 2 * (end - start) >= len(self.keys) else rows.take(pa.array(range(end - start)))


def _streamed(segments: Sequence[Segment], key: str, memory_bytes: int) -> Iterator[pa.Table]:
    """Chunks of at most a quarter of the memory (or one piece), cut between keys where that is possible."""
    most = memory_bytes // 4
    held: list[pa.Table] = []
    sizes: list[int] = []
    whole = 0
    for rows, same in _rising([_Cursor(segment, key) for segment in segments], key):
        if not same:
            whole = len(held)
        if whole and sum(sizes) + rows.nbytes > most:
            yield pa.concat_tables(held[:whole]).combine_chunks()
            del held[:whole], sizes[:whole]
            whole = 0
        if held and sum(sizes) + rows.nbytes > most:
            yield pa.concat_tables(held).combine_chunks()
            held.clear()
            sizes.clear()
        held.append(rows)
        sizes.append(rows.nbytes)
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _rising(cursors: list[_Cursor], key: str) -> Iterator[tuple[pa.Table, bool]]:
    """Sorted pieces; True marks one that goes on with the last key of the piece before it."""
    while True:
        cursors = [cursor for cursor in cursors if cursor.fill()]
        if not cursors:
            return
        pivot = min(cursor.keys[-1] for cursor in cursors)
        below = [rows for cursor in cursors if (rows := cursor.take(pivot, "left")) is not None]
        if below:
            yield sort_by(pa.concat_tables(below), key), False
        first = True
        for cursor in cursors:
            while cursor.fill() and cursor.keys[cursor.start] == pivot:
                rows = cursor.take(pivot, "right")
                assert rows is not None
                yield rows, not first
                first = False


def _remove(segments: Sequence[Segment], scratch: Path) -> None:
    for segment in segments:
        if segment.path.parent == scratch and segment.path.name.startswith(".merge-"):
            segment.path.unlink(missing_ok=True)
