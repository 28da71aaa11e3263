"""Files of tensors: safetensors whose entries are whole tensors or boxes of them; where each lies, to the byte.

A whole tensor is stored under its name. A box is stored as `name[0:128,64:128]`, and the file's metadata says which
tensor it is cut from, how large that is and where the box begins. Any reader of safetensors reads both.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from expedition.errors import InputError
from expedition.train.saving.shards import Box
from expedition.workspace.hashes import canonical_json

PIECES = "pieces"
"""Key of the file's metadata: JSON {entry: {tensor, shape, start}} of the entries that are boxes."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How the library says why the system refused a write."""
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of a global tensor and its values on the CPU."""

    tensor: str
    shape: tuple[int, ...]
    """Of the global tensor."""
    box: Box
    values: Tensor

    @property
    def entry(self) -> str:
        """Name in the file."""
        if self.box == Box.whole(self.shape):
            return self.tensor
        spans = ",".join(f"{start}:{stop}" for start, stop in zip(self.box.start, self.box.stop, strict=True))
        return f"{self.tensor}[{spans}]"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a box of a global tensor lies in a file: bytes [begin, end) from the file's start, row-major."""

    name: str
    tensor: str
    shape: tuple[int, ...]
    box: Box
    dtype: torch.dtype
    begin: int
    end: int


def write_pieces(path: Path, pieces: Sequence[Piece]) -> None:
    """Write a file. Equal pieces give equal bytes; whole tensors give the bytes of plain `save_file`. Raises OSError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    boxes = {
        piece.entry: {"tensor": piece.tensor, "shape": piece.shape, "start": piece.box.start}
        for piece in pieces
        if piece.entry != piece.tensor
    }
    tensors = {piece.entry: piece.values for piece in sorted(pieces, key=lambda piece: piece.entry)}
    try:
        save_file(tensors, path, metadata={PIECES: canonical_json(boxes).decode()} if boxes else None)
    except SafetensorError as error:
        if (refused := _OS_ERROR.search(str(error))) is None:
            raise
        number = int(refused[1])
        raise OSError(number, os.strerror(number), str(path)) from error


def read_entries(read: Callable[[int, int], bytes], size: int, where: str) -> tuple[int, list[Entry]]:
    """(bytes of the header, entries in the order of their bytes) of a file of `size` bytes.

    `read(start, length)` gives its bytes. Raises InputError where it is no such file: every offset is checked.
    """
    try:
        (length,) = struct.unpack("<Q", read(0, 8))
        if not 0 < length <= min(MAX_HEADER_BYTES, size - 8):
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(read(8, length))
        pieces = json.loads(header.pop("__metadata__", {}).get(PIECES, "{}"))
        entries = [_entry(name, raw, pieces.get(name), 8 + length) for name, raw in header.items()]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"not a readable safetensors file: {error}", where=where) from error
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    ends = [8 + length, *(entry.end for entry in entries)]
    if ends[:-1] != [entry.begin for entry in entries] or ends[-1] != size:
        raise InputError("the tensors of this safetensors file do not fill it", where=where)
    return 8 + length, entries


def _entry(name: str, raw: dict[str, object], piece: dict[str, object] | None, body: int) -> Entry:
    shape, dtype = _sizes(raw["shape"]), DTYPES[str(raw["dtype"])]
    begin, end = _sizes(raw["data_offsets"])
    if end - begin != prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {end - begin} bytes for {shape}")
    if piece is None:
        return Entry(name, name, shape, Box.whole(shape), dtype, body + begin, body + end)
    start, whole = _sizes(piece["start"]), _sizes(piece["shape"])
    box = Box(start, tuple(first + size for first, size in zip(start, shape, strict=True)))
    if box.overlap(Box.whole(whole)) != box:
        raise ValueError(f"{name} lies outside of {whole}")
    return Entry(name, str(piece["tensor"]), whole, box, dtype, body + begin, body + end)


def _sizes(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(isinstance(size, int) and size >= 0 for size in value):
        raise ValueError(f"{value!r} is no list of sizes")
    return tuple(value)
