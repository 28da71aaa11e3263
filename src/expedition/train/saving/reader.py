"""Tensors out of a checkpoint's files, whatever ranks wrote them: whole, or the boxes that a rank needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from expedition.errors import InputError
from expedition.train.saving.shards import Box, held, local_part
from expedition.train.saving.tensor_file import Entry, read_entries
from expedition.workspace.store import Store

THREADS = 8
SLAB_BYTES = 64 << 20
"""Most that one thread holds besides what it fills: rows of an entry are read so many bytes at a time."""


class TensorReader(Mapping[str, Tensor]):
    """The tensors of some files by name; nothing is read before it is asked for. Safe for many threads.

    Item access gives whole tensors on the CPU, new ones each time. The caller has verified the files. Raises KeyError
    for an unknown name, InputError for files that are no whole set.
    """

    def __init__(self, store: Store, folder: str, files: Sequence[str]) -> None:
        self._store, self._folder, self._files = store, folder, tuple(files)

    def __getitem__(self, name: str) -> Tensor:
        target = torch.empty(self.shape(name), dtype=self.dtype(name))
        self._fill(name, target)
        return target

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the whole tensor."""
        return self._entries[name][0][1].shape

    def dtype(self, name: str) -> torch.dtype:
        """As it is stored."""
        return self._entries[name][0][1].dtype

    def fill(self, targets: Mapping[str, Tensor], *, convert: bool = False) -> None:
        """Copy values into tensors of the same shapes, DTensors or plain, on any device; each rank reads what it holds.

        `convert` brings values to the targets' types. Raises ValueError that names the first tensor whose shape, or
        without `convert` dtype, differs.
        """
        for name, target in sorted(targets.items()):
            if tuple(target.shape) != self.shape(name):
                raise ValueError(f"{name} is {self.shape(name)} in the checkpoint, {tuple(target.shape)} here")
            if target.dtype != self.dtype(name) and not convert:
                raise ValueError(f"{name} is {self.dtype(name)} in the checkpoint, {target.dtype} here")
        _in_threads([partial(self._fill, name, target) for name, target in targets.items()])

    @torch.no_grad()
    def _fill(self, name: str, target: Tensor) -> None:
        local = local_part(target)
        for part in held(target):
            region = local[part.local]
            for file, entry in self._entries[name]:
                if (common := part.box.overlap(entry.box)) is not None:
                    self._copy(file, entry, common, region[common.within(part.box)])

    def _copy(self, file: str, entry: Entry, wanted: Box, target: Tensor) -> None:
        """Copy `wanted`, a part of `entry`, into `target`, some rows (of the first dimension) at a time."""
        if not entry.shape:
            target.copy_(self._values(file, entry, 0, 1).view(()))
            return
        first, last = wanted.start[0] - entry.box.start[0], wanted.stop[0] - entry.box.start[0]
        inner = wanted.within(entry.box)[1:]
        rows = max(1, SLAB_BYTES // max(1, prod(entry.box.shape[1:]) * entry.dtype.itemsize))
        for row in range(first, last, rows):
            end = min(last, row + rows)
            slab = self._values(file, entry, row, end).view(end - row, *entry.box.shape[1:])
            target[row - first : end - first].copy_(slab[(slice(None), *inner)])

    def _values(self, file: str, entry: Entry, row: int, end: int) -> Tensor:
        row_bytes = prod(entry.box.shape[1:]) * entry.dtype.itemsize
        data = self._store.read_range(f"{self._folder}/{file}", entry.begin + row * row_bytes, (end - row) * row_bytes)
        if len(data) != (end - row) * row_bytes:
            raise InputError(f"{file} ends inside of {entry.name}", where=self._folder)
        return torch.frombuffer(bytearray(data), dtype=entry.dtype)

    @cached_property
    def _entries(self) -> dict[str, list[tuple[str, Entry]]]:
        """(file, entry) of every tensor. A box that two files hold is taken from the first of them."""
        found: dict[str, dict[Box, tuple[str, Entry]]] = {}
        for file, entries in zip(
            self._files, _in_threads([partial(self._read_entries, f) for f in self._files]), strict=True
        ):
            for entry in entries:
                found.setdefault(entry.tensor, {}).setdefault(entry.box, (file, entry))
        for name, boxes in found.items():
            shapes = {(entry.shape, entry.dtype) for _, entry in boxes.values()}
            stored, there = sum(box.elements for box in boxes), prod(next(iter(shapes))[0])
            if len(shapes) > 1 or stored != there:
                raise InputError(f"{name}: {stored} of {there} elements are in the files", where=self._folder)
        return {name: list(found[name].values()) for name in sorted(found)}

    def _read_entries(self, file: str) -> list[Entry]:
        key = f"{self._folder}/{file}"
        return read_entries(partial(self._store.read_range, key), self._store.size(key), key)[1]


def _in_threads(work: Sequence[Callable[[], Any]]) -> list[Any]:
    if len(work) < 2:
        return [task() for task in work]
    with ThreadPoolExecutor(THREADS, "checkpoint reader") as pool:
        return list(pool.map(lambda task: task(), work))
