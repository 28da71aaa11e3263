"""Columns in flat little-endian files: mapped into memory in a folder, read by blocks from an object store.

One file: an 8-byte magic, the header's length (u64), a JSON header (schema, columns, meta, size in bytes), then each
column at its offset. Opening reads the header only; an element costs a page of a local file, or one block of a remote
one. A parted table is a list of such files whose rows count on.
"""

from __future__ import annotations

import json
import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError
from expedition.workspace import NotFound, Store
from expedition.workspace.hashes import canonical_json
from expedition.workspace.store import FolderStore

IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

MAGIC = b"EXPFLAT1"
ALIGN = 64
BLOCK_BYTES = 1 << 18
"""Bytes of one ranged read."""
KEPT_BLOCKS = 256
"""Blocks that one remote table keeps in memory: 64 MiB."""
OPEN_PARTS = 256
"""Parts of which the mapping is kept."""
FIX = "delete the folder it lies in; it is derived and made again"


class Blocks:
    """Ranged reads of objects, in blocks of `BLOCK_BYTES`; the least recently used of `KEPT_BLOCKS` goes first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.read_bytes = 0
        """Bytes fetched since opening."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises InputError if the object ends before."""
        first, last = offset // BLOCK_BYTES, max(offset, offset + length - 1) // BLOCK_BYTES
        data = b"".join(self._block(key, number) for number in range(first, last + 1))
        start = offset - first * BLOCK_BYTES
        if len(data) < start + length:
            raise InputError(f"the file ends before byte {offset + length}", where=key, fix=FIX)
        return data[start : start + length]

    def _block(self, key: str, number: int) -> bytes:
        with self._lock:
            found = self._kept.get((key, number))
            if found is not None:
                self._kept.move_to_end((key, number))
                return found
        data = self._store.read_range(key, number * BLOCK_BYTES, BLOCK_BYTES)
        with self._lock:
            self.read_bytes += len(data)
            self._kept[key, number] = data
            while len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return data


class Flat:
    """One file opened: `meta`, `rows` of each column, and `read(name, start, stop)`."""

    def __init__(self, key: str, header: Mapping[str, Any], data: Callable[[int, int], Any]) -> None:
        self.key = key
        self.meta: dict[str, Any] = header["meta"]
        self._columns = {name: (np.dtype(kind), offset, rows) for name, kind, offset, rows in header["columns"]}
        self._data = data

    def rows(self, name: str) -> int:
        """Length of a column."""
        return int(self._columns[name][2])

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Rows start..stop of a column (the whole by default); a view of the mapped file where there is one."""
        kind, offset, rows = self._columns[name]
        stop = rows if stop is None else stop
        if not 0 <= start <= stop <= rows:
            raise IndexError(f"rows {start}..{stop} of {name} in {self.key}, which has {rows}")
        length = (stop - start) * kind.itemsize
        return np.frombuffer(self._data(offset + start * kind.itemsize, length), dtype=kind)


def encode(columns: Mapping[str, Array], meta: Mapping[str, Any], schema: str) -> bytes:
    """The bytes of a file: equal columns and meta give equal bytes."""
    little = {name: np.ascontiguousarray(values, values.dtype.newbyteorder("<")) for name, values in columns.items()}
    # The header holds the offsets, which depend on its length: it is padded to a size known beforehand.
    room = ALIGN * (2 + (len(canonical_json(dict(meta))) + 120 * len(columns) + 200) // ALIGN)
    listed, offset = [], room
    for name, values in little.items():
        listed.append([name, values.dtype.str, offset, len(values)])
        offset += -(-values.nbytes // ALIGN) * ALIGN
    header = canonical_json({"schema": schema, "columns": listed, "meta": dict(meta), "size": offset})
    if 16 + len(header) > room:
        raise ValueError(f"the header of {len(header)} bytes does not fit {room}")
    pieces = [MAGIC, len(header).to_bytes(8, "little"), header, bytes(room - 16 - len(header))]
    for values in little.values():
        pieces += [values.tobytes(), bytes(-values.nbytes % ALIGN)]
    return b"".join(pieces)


def open_flat(store: Store, key: str, schema: str, blocks: Blocks | None = None) -> Flat:
    """Open the file at `key`: mapped in a folder; from an object store by `blocks`, or read whole without them.

    Raises NotFound, or InputError for a file of another form or length.
    """
    if isinstance(store, FolderStore):
        with store.local(key).open("rb") as file:
            try:
                mapped: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise InputError("the file is empty", where=key, fix=FIX) from error
        whole = memoryview(mapped)
        return _opened(key, schema, len(whole), lambda offset, length: whole[offset : offset + length])
    if blocks is None:
        whole = memoryview(store.read(key))
        return _opened(key, schema, len(whole), lambda offset, length: whole[offset : offset + length])
    return _opened(key, schema, store.size(key), lambda offset, length: blocks.read(key, offset, length))


def _opened(key: str, schema: str, size: int, data: Callable[[int, int], Any]) -> Flat:
    try:
        start = bytes(data(0, 16))
        length = int.from_bytes(start[8:], "little")
        if start[:8] != MAGIC or 16 + length > size:
            raise ValueError("it is no table of columns")
        header = json.loads(bytes(data(16, length)))
        if header["schema"] != schema or header["size"] != size:
            raise ValueError(f"it is {header['schema']} of {size} bytes, not {schema} of {header['size']}")
        return Flat(key, header, data)
    except NotFound:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the file is damaged: {error}", where=key, fix=FIX) from error


class Parted:
    """A table in parts: part p holds rows firsts[p]..firsts[p+1] of every column that counts by row."""

    def __init__(self, firsts: IntArray, open_part: Callable[[int], Flat]) -> None:
        self.firsts = firsts
        self._open_part = open_part
        self._parts: OrderedDict[int, Flat] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self.firsts[-1])

    @property
    def parts(self) -> int:
        """How many files there are."""
        return len(self.firsts) - 1

    def part(self, number: int) -> Flat:
        """The `number`-th file, opened."""
        found = self._parts.get(number)
        if found is None:
            found = self._open_part(number)
            with self._lock:
                self._parts[number] = found
                while len(self._parts) > OPEN_PARTS:
                    self._parts.popitem(last=False)
        return found

    def find(self, row: int) -> tuple[Flat, int]:
        """The file that holds `row`, and the row's number in it. Raises IndexError."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        part = int(self.firsts.searchsorted(row, "right")) - 1
        return self.part(part), row - int(self.firsts[part])

    def at(self, name: str, row: int) -> int:
        """One element."""
        flat, local = self.find(row)
        return int(flat.read(name, local, local + 1)[0])

    def take(self, name: str, rows: npt.ArrayLike) -> IntArray:
        """Elements at `rows` (any order), as int64."""
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and not (int(wanted.min()) >= 0 and int(wanted.max()) < len(self)):
            raise IndexError(f"rows {int(wanted.min())}..{int(wanted.max())} of {len(self)}")
        part = self.firsts.searchsorted(wanted, "right") - 1
        out = np.empty(wanted.shape, dtype=np.int64)
        for number in np.unique(part).tolist():
            chosen = part == number
            local = wanted[chosen] - int(self.firsts[number])
            low = int(local.min())
            out[chosen] = self.part(number).read(name, low, int(local.max()) + 1)[local - low]
        return out

    def column(self, name: str) -> Column:
        """The column as something that is indexed by row."""
        return Column(self, name)


class Column:
    """One column of a parted table: `column[row]`, `column[rows]` (an array); `numpy.asarray(column)` reads it all."""

    def __init__(self, table: Parted, name: str) -> None:
        self._table, self._name = table, name

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, int | np.integer):
            return self._table.at(self._name, int(row))
        return self._table.take(self._name, row)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        parts = [self._table.part(number).read(self._name) for number in range(self._table.parts)]
        whole = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        return whole.astype(np.int64 if dtype is None else dtype)
