"""Members of tar shards by global number: the level below batches, usable alone.

A number leads to a shard, an offset and a length, and one `pread` gives the bytes: no tar library, no parsing, no
dictionary a sample. Shards are plain WebDataset tars; those of a dataset version need no scan, its index knows them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from expedition.data.loading.cache import FETCHERS, ShardReader
from expedition.data.loading.index import open_index
from expedition.data.loading.order import KindOrder
from expedition.data.loading.permutation import derive_key
from expedition.errors import InputError
from expedition.workspace import Workspace, layout
from expedition.workspace.store import FolderStore

Ints = npt.NDArray[np.int64]
Data = TypeVar("Data", bytes, memoryview)

BLOCK = 512
CHUNK = 256
"""Samples whose places are looked up together."""
SAMPLES_AHEAD = 4096
"""Shards that so many later samples read are brought into the cache."""
_REGULAR = (b"0", b"\0", b"7")


@dataclass(frozen=True, slots=True)
class TarMembers:
    """Payloads of one tar, in order."""

    offsets: Ints
    lengths: Ints


class ShardSamples:
    """Payloads by number, 0 … len - 1, shard by shard. Safe for many threads; order is the caller's.

    `keys` are the shards, `shard` [n] the number of each sample's, `offset` and `length` [n] where its bytes lie.
    """

    def __init__(self, reader: ShardReader, keys: Sequence[str], shard: Ints, offset: Ints, length: Ints) -> None:
        self._reader = reader
        self.keys = tuple(keys)
        self._shard, self._offset, self._length = shard, offset, length
        self.sizes = np.bincount(shard, minlength=len(keys)).tolist()

    @classmethod
    def of_tars(cls, folder: Path, suffix: str = "", names: Iterable[str] | None = None) -> Self:
        """Members of the tars in `folder` (those called `names`; None: all, sorted) whose name ends with `suffix`.

        Scans the headers once. Raises InputError for a file that is no tar or is cut off.
        """
        keys = sorted(path.name for path in folder.glob("*.tar")) if names is None else list(names)
        if not keys:
            raise InputError("no .tar file here", where=str(folder), fix="give a folder of WebDataset shards")
        found = [scan_tar(folder / key, suffix) for key in keys]
        shard = np.repeat(np.arange(len(keys)), [len(members.offsets) for members in found])
        offsets = np.concatenate([members.offsets for members in found])
        lengths = np.concatenate([members.lengths for members in found])
        return cls(ShardReader(FolderStore(folder)), keys, shard, offsets, lengths)

    @classmethod
    def of_version(
        cls,
        ws: Workspace,
        version: str,
        member: Literal["tokens", "json"] = "tokens",
        *,
        dataset: str = layout.DATASET,
        reader: ShardReader | None = None,
    ) -> Self:
        """One payload a document of a dataset version, from its index; document numbers are those of the index.

        Asks no ledger: for training data use `Loader`. Raises InputError for a damaged index.
        """
        index = open_index(ws, version, dataset)
        folder = layout.dataset(version, dataset)
        offset, length = (np.asarray(index.columns[f"{member}_{part}"], np.int64) for part in ("offset", "bytes"))
        keys = [f"{folder}/{name}" for name in index.shards]
        shard = np.repeat(np.arange(len(keys)), np.diff(index.shard_firsts))
        return cls(reader or ShardReader(ws.store), keys, shard, offset, length)

    def __len__(self) -> int:
        return len(self._offset)

    def __getitem__(self, number: int) -> bytes:
        """The bytes of one sample. Raises IndexError, or InputError if the shard ends before."""
        shard = self.keys[int(self._shard[number])]
        return self._reader.read(shard, int(self._offset[number]), int(self._length[number]))

    def read(self, numbers: npt.ArrayLike) -> Iterator[bytes]:
        """The bytes of many samples, in the order asked for. Raises InputError if a shard ends before.

        From an object store the shards of the next samples come into the cache in the background.
        """
        return self._each(self._reader.read_each, np.asarray(numbers, dtype=np.int64))

    def views(self, numbers: npt.ArrayLike) -> Iterator[memoryview]:
        """`read` without a copy: views into the mapped shards, which decoders take as they are."""
        return self._each(self._reader.view_each, np.asarray(numbers, dtype=np.int64))

    def _each(self, read: Callable[..., Iterator[Data]], wanted: Ints) -> Iterator[Data]:
        if self._reader.tier is None:
            yield from self._chunks(read, wanted, lambda _: None)
            return
        shards, first_use = np.unique(self._shard[wanted], return_index=True)
        coming = deque((int(first_use[row]), self.keys[int(shards[row])]) for row in np.argsort(first_use))
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch-ahead") as executor:

            def look_ahead(position: int) -> None:
                while coming and coming[0][0] <= position + SAMPLES_AHEAD:
                    executor.submit(self._reader.fetch_ahead, coming.popleft()[1])

            try:
                yield from self._chunks(read, wanted, look_ahead)
            finally:
                executor.shutdown(wait=True, cancel_futures=True)

    def _chunks(
        self, read: Callable[..., Iterator[Data]], wanted: Ints, look_ahead: Callable[[int], None]
    ) -> Iterator[Data]:
        for start in range(0, len(wanted), CHUNK):
            look_ahead(start)
            part = wanted[start : start + CHUNK]
            yield from read(
                self.keys, self._shard[part].tolist(), self._offset[part].tolist(), self._length[part].tolist()
            )

    def order(self, seed: int, *, epoch: int = 0, window_shards: int = 16) -> Ints:
        """All numbers in block-shuffled order: shards permuted, then samples within windows of `window_shards`.

        At any time reads are in one window's shards. Pure; every number once an epoch.
        """
        filled = [size for size in self.sizes if size]
        order = KindOrder.of_sizes(filled, window_shards, derive_key(seed, "samples"))
        _, numbers = order.locate_many(np.arange(epoch * len(self), (epoch + 1) * len(self)))
        return np.asarray(numbers, dtype=np.int64)


def scan_tar(path: Path, suffix: str = "") -> TarMembers:
    """Offset and length of every regular member whose name ends with `suffix`, from the headers alone.

    Sizes in octal or base 256; members that only describe others (pax, GNU long names) are passed over. Raises
    InputError for anything that is no tar, or ends within a member.
    """
    wanted = suffix.encode()
    offsets, lengths = [], []
    with path.open("rb") as file:
        end, position = os.fstat(file.fileno()).st_size, 0
        while position + BLOCK <= end:
            header = os.pread(file.fileno(), BLOCK, position)
            if header[:1] == b"\0":
                break
            size = _size(header, path, position)
            start = position + BLOCK
            position = start + -(-size // BLOCK) * BLOCK
            if start + size > end:
                raise InputError(f"cut off: a member ends at {start + size}, the file at {end}", where=str(path))
            if header[156:157] in _REGULAR and header[:100].rstrip(b"\0").endswith(wanted):
                offsets.append(start)
                lengths.append(size)
    return TarMembers(np.asarray(offsets, dtype=np.int64), np.asarray(lengths, dtype=np.int64))


def _size(header: bytes, path: Path, position: int) -> int:
    raw = header[124:136]
    try:
        if header[257:262] != b"ustar":
            raise ValueError("no ustar header")
        return int.from_bytes(raw[1:], "big") if raw[0] & 0x80 else int(raw.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise InputError(f"no tar header at byte {position}: {error}", where=str(path)) from error
