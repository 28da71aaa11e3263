"""Index → packed sequence, as arithmetic: nothing is stored, nothing depends on ranks or workers.

Inside a segment the mixture says which kind an index takes and the how-manieth of that kind it is. A kind's shards are
dealt into blocks of at most `BLOCK_SHARDS`, each with every b-th shard, so that every block is a sample of the whole
version. In each pass (epoch) the blocks are permuted by key, then the shards inside a block, and the sequences of each
window of at most K consecutive permuted shards are permuted among themselves. So at any time only K shards of a kind
are being read, and a local cache of K shards a kind serves every read. Only blocks that are asked for are ever laid
out: opening costs one pass over the shards' sizes, whatever the number of sequences.

"Shard" here is an entry of the pack plan: a shard, or a further pass over it where a source is upsampled.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from expedition.data.loading.mixture import Mixture
from expedition.data.loading.permutation import (
    child_key,
    child_keys,
    derive_key,
    permute,
    permute_one,
    shuffled,
)

IntArray = npt.NDArray[np.int64]

BLOCK_SHARDS = 1024
"""Most shards of a block."""
KEPT_BLOCKS = 2048
"""Blocks of a kind whose layout is kept: at most 48 MiB (three 8-byte numbers a shard)."""
KEPT_EPOCHS = 8

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index leads: `sequence` is the number within the kind's list of packed sequences (shard by shard)."""

    kind: str
    ordinal: int
    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where many indices lead, as columns; `kind` is the number in the mixture's `kinds`."""

    kind: IntArray
    ordinal: IntArray
    epoch: IntArray
    sequence: IntArray


@dataclass(frozen=True, slots=True)
class Trace:
    """How an ordinal of a kind comes to its sequence: each step of the order, for people.

    `block` is the `block_position`-th of the pass; `window` the number of the window in it, of `window_shards` (entries,
    in order) with `window_sequences`; the `slot`-th place of the window holds its sequence number `permuted_slot`,
    which is sequence `offset` of entry `shard`.
    """

    epoch: int
    block: int
    block_position: int
    blocks: int
    window: int
    windows: int
    window_shards: tuple[int, ...]
    window_sequences: int
    slot: int
    permuted_slot: int
    shard: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Epoch:
    """One pass over a kind: blocks in order, and where each ends."""

    blocks: IntArray
    ends: IntArray
    key: int


@dataclass(frozen=True, slots=True)
class _Block:
    """Shards of a block in the order of a pass, where each ends, and the shard at which each window begins."""

    shards: IntArray
    ends: IntArray
    window_bounds: IntArray
    window_starts: IntArray


class _Kept(Generic[_Key, _Value]):
    """Values by key, least recently made out first. Safe for many threads: a value is a pure function of its key."""

    def __init__(self, make: Callable[[_Key], _Value], limit: int) -> None:
        self._make, self._limit = make, limit
        self._values: OrderedDict[_Key, _Value] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, key: _Key) -> _Value:
        found = self._values.get(key)
        if found is None:
            found = self._make(key)
            with self._lock:
                self._values[key] = found
                while len(self._values) > self._limit:
                    self._values.popitem(last=False)
        return found


class KindOrder:
    """Order of one kind's sequences. `firsts[i]`..`firsts[i+1]` are the sequences of its i-th shard [shards + 1].

    `firsts` may be a memory map and is kept as it is. Raises ValueError without a sequence or with a window below 1.
    """

    def __init__(self, firsts: npt.ArrayLike, window_shards: int, key: int) -> None:
        if window_shards < 1:
            raise ValueError(f"window_shards is {window_shards}; it must be at least 1")
        self._firsts = np.asarray(firsts, dtype=np.int64)
        self._shards = len(self._firsts) - 1
        self.sequences = int(self._firsts[-1] - self._firsts[0]) if self._shards > 0 else 0
        """Sequences of one pass."""
        if self.sequences < 1:
            raise ValueError("a kind needs at least one sequence")
        self._blocks = -(-self._shards // BLOCK_SHARDS)
        self._block_sizes = _strided_sums(np.diff(self._firsts), self._blocks)
        self._window_shards = window_shards
        self._key = key
        self._epoch: _Kept[int, _Epoch] = _Kept(self._make_epoch, KEPT_EPOCHS)
        self._block: _Kept[tuple[int, int], _Block] = _Kept(self._make_block, KEPT_BLOCKS)

    @classmethod
    def of_sizes(cls, sizes: Sequence[int], window_shards: int, key: int) -> KindOrder:
        """`sizes[i]` is the number of sequences in the i-th shard."""
        return cls(np.concatenate(([0], np.cumsum(np.asarray(sizes, dtype=np.int64)))), window_shards, key)

    def locate(self, ordinal: int) -> tuple[int, int]:
        """(epoch, sequence) of the `ordinal`-th use (≥ 0) of this kind. Bijective within an epoch."""
        number, rest = divmod(ordinal, self.sequences)
        epoch = self._epoch(number)
        if self._blocks > 1:
            position = int(epoch.ends.searchsorted(rest, "right"))
            block_number = int(epoch.blocks[position])
            rest -= int(epoch.ends[position]) - int(self._block_sizes[block_number])
        else:
            block_number = 0
        block = self._block((number, block_number))
        starts = block.window_starts
        window = int(starts.searchsorted(rest, "right")) - 1
        first = int(starts[window])
        key = child_key(child_key(epoch.key, block_number + 1), window + 1)
        inside = first + permute_one(rest - first, int(starts[window + 1]) - first, key)
        member = int(block.ends.searchsorted(inside, "right"))
        shard = int(block.shards[member])
        offset = inside - (int(block.ends[member - 1]) if member else 0)
        return number, int(self._firsts[shard]) - int(self._firsts[0]) + offset

    def locate_many(self, ordinals: npt.ArrayLike) -> tuple[IntArray, IntArray]:
        """`locate` of many ordinals (any order): epochs and sequences, in their order."""
        number, rest = np.divmod(np.asarray(ordinals, dtype=np.int64), self.sequences)
        block_number, rest, epoch_keys = self._blocks_of(number, rest)
        code = number * self._blocks + block_number
        by_block = np.argsort(code, kind="stable")
        cuts = np.flatnonzero(np.diff(code[by_block])) + 1
        groups = [group for group in np.split(by_block, cuts) if len(group)]
        layouts = [self._block((int(number[group[0]]), int(block_number[group[0]]))) for group in groups]
        window, first, size = (np.empty(len(rest), dtype=np.int64) for _ in range(3))
        for group, block in zip(groups, layouts, strict=True):
            here = block.window_starts.searchsorted(rest[group], "right") - 1
            window[group], first[group] = here, block.window_starts[here]
            size[group] = block.window_starts[here + 1] - block.window_starts[here]
        keys = child_keys(child_keys(epoch_keys, block_number + 1), window + 1)
        inside = first + permute(rest - first, size, keys)
        sequence = np.empty(len(rest), dtype=np.int64)
        for group, block in zip(groups, layouts, strict=True):
            member = block.ends.searchsorted(inside[group], "right")
            before = np.where(member > 0, block.ends[member - 1], 0)
            sequence[group] = self._firsts[block.shards[member]] + inside[group] - before
        return number, sequence - self._firsts[0]

    def trace(self, ordinal: int) -> Trace:
        """The steps by which `locate` comes to its answer."""
        number, rest = divmod(ordinal, self.sequences)
        epoch = self._epoch(number)
        position = int(epoch.ends.searchsorted(rest, "right"))
        block_number = int(epoch.blocks[position])
        rest -= int(epoch.ends[position]) - int(self._block_sizes[block_number])
        block = self._block((number, block_number))
        window = int(block.window_starts.searchsorted(rest, "right")) - 1
        first, size = int(block.window_starts[window]), int(np.diff(block.window_starts)[window])
        key = child_key(child_key(epoch.key, block_number + 1), window + 1)
        permuted = permute_one(rest - first, size, key)
        member = int(block.ends.searchsorted(first + permuted, "right"))
        members = block.shards[int(block.window_bounds[window]) : int(block.window_bounds[window + 1])]
        return Trace(
            epoch=number,
            block=block_number,
            block_position=position,
            blocks=self._blocks,
            window=window,
            windows=len(block.window_bounds) - 1,
            window_shards=tuple(members.tolist()),
            window_sequences=size,
            slot=rest - first,
            permuted_slot=permuted,
            shard=int(block.shards[member]),
            offset=first + permuted - (int(block.ends[member - 1]) if member else 0),
        )

    def _blocks_of(self, number: IntArray, rest: IntArray) -> tuple[IntArray, IntArray, npt.NDArray[np.uint64]]:
        """Block of each ordinal, its place inside the block, and the key of its epoch."""
        block_number, inside = np.zeros_like(rest), rest.copy()
        keys = np.empty(len(rest), dtype=np.uint64)
        for value in np.unique(number).tolist():
            epoch, chosen = self._epoch(value), number == value
            position = epoch.ends.searchsorted(rest[chosen], "right")
            block_number[chosen] = epoch.blocks[position]
            inside[chosen] -= epoch.ends[position] - self._block_sizes[epoch.blocks[position]]
            keys[chosen] = epoch.key
        return block_number, inside, keys

    def _make_epoch(self, number: int) -> _Epoch:
        key = child_key(self._key, number)
        blocks = shuffled(self._blocks, child_key(key, 0))
        return _Epoch(blocks, np.cumsum(self._block_sizes[blocks]), key)

    def _make_block(self, place: tuple[int, int]) -> _Block:
        number, block = place
        members = np.arange(block, self._shards, self._blocks)
        key = child_key(child_key(self._epoch(number).key, block + 1), 0)
        shards = members[shuffled(len(members), key)]
        ends = np.cumsum(self._firsts[shards + 1] - self._firsts[shards])
        windows = -(-len(shards) // self._window_shards)
        bounds = np.arange(windows + 1) * len(shards) // windows
        return _Block(shards, ends, bounds, np.concatenate(([0], ends))[bounds])


class SegmentOrder:
    """Order inside one segment. `firsts` gives each kind's shard table (see `KindOrder`) for every kind of the mix."""

    def __init__(self, mixture: Mixture, firsts: Mapping[str, npt.ArrayLike], window_shards: int, seed: int) -> None:
        self.mixture = mixture
        self._orders = [
            KindOrder(firsts[kind], window_shards, derive_key(seed, "kind", kind)) for kind in mixture.kinds
        ]

    def locate(self, index: int) -> Place:
        """What the `index`-th sequence of the segment (≥ 0) is. Pure."""
        kind, ordinal = self.mixture.place_one(index)
        epoch, sequence = self._orders[kind].locate(ordinal)
        return Place(self.mixture.kinds[kind], ordinal, epoch, sequence)

    def locate_many(self, indices: npt.ArrayLike) -> Places:
        """`locate` of many indices at once (any order, repeats allowed)."""
        kinds, ordinals = self.mixture.place(np.atleast_1d(np.asarray(indices, dtype=np.int64)))
        epochs, sequences = np.empty_like(ordinals), np.empty_like(ordinals)
        for kind, order in enumerate(self._orders):
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                epochs[chosen], sequences[chosen] = order.locate_many(ordinals[chosen])
        return Places(kinds, ordinals, epochs, sequences)

    def trace(self, index: int) -> Trace:
        """How the `index`-th sequence of the segment is found."""
        kind, ordinal = self.mixture.place_one(index)
        return self._orders[kind].trace(ordinal)

    def counts(self, sequences: int) -> dict[str, int]:
        """How many of the first `sequences` of the segment are of each kind."""
        whole, rest = divmod(max(0, sequences), self.mixture.period)
        counts = whole * np.asarray(self.mixture.parts, dtype=np.int64)
        kinds, _ = self.mixture.place(np.arange(rest))
        counts += np.bincount(kinds, minlength=len(counts))
        return dict(zip(self.mixture.kinds, counts.tolist(), strict=True))

    def epochs(self, sequences: int) -> dict[str, float]:
        """How many passes over each kind the first `sequences` of the segment make."""
        counts = self.counts(sequences)
        return {
            kind: counts[kind] / order.sequences for kind, order in zip(self.mixture.kinds, self._orders, strict=True)
        }


def _strided_sums(sizes: IntArray, blocks: int) -> IntArray:
    """Sum of every `blocks`-th size, from each of the first `blocks` on."""
    whole = len(sizes) // blocks * blocks
    sums = sizes[:whole].reshape(-1, blocks).sum(axis=0)
    sums[: len(sizes) - whole] += sizes[whole:]
    return np.asarray(sums, dtype=np.int64)
