"""Index → packed sequence, as arithmetic: nothing is stored, nothing depends on ranks or workers.

Inside a segment: the mixture says which kind an index takes and the how-manieth of that kind it is; the kind's shards
are permuted by key, and the sequences of each window of K consecutive permuted shards are permuted among themselves. So
at any time only K shards of a kind are being read, and a local cache of K shards a kind serves every read. After a
whole pass over a kind its next pass (epoch) has new keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from expedition.data.loading.mixture import Mixture
from expedition.data.loading.permutation import derive_key, permute, permute_one

IntArray = npt.NDArray[np.int64]

_KEPT_EPOCHS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index leads: `sequence` is the number within the kind's list of packed sequences (shard by shard)."""

    kind: str
    ordinal: int
    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class _Epoch:
    """One pass over a kind: permuted shards, and for each window the ordinal of its first sequence."""

    shards: IntArray
    shard_ends: IntArray
    window_starts: IntArray


class KindOrder:
    """Order of one kind's sequences. `sizes[i]` is the number of sequences in the kind's i-th shard."""

    def __init__(self, sizes: Sequence[int], window_shards: int, key: int) -> None:
        if window_shards < 1:
            raise ValueError(f"window_shards is {window_shards}; it must be at least 1")
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self._firsts = np.concatenate(([0], np.cumsum(self._sizes)))[:-1]
        self._window_shards = window_shards
        self._key = key
        self._epochs: dict[int, _Epoch] = {}
        self.sequences = int(self._sizes.sum())
        if self.sequences < 1:
            raise ValueError("a kind needs at least one sequence")

    def locate(self, ordinal: int) -> tuple[int, int]:
        """(epoch, sequence) of the `ordinal`-th use of this kind. Bijective within an epoch."""
        epoch_number, rest = divmod(ordinal, self.sequences)
        epoch = self._epoch(epoch_number)
        window = int(np.searchsorted(epoch.window_starts, rest, side="right")) - 1
        first = int(epoch.window_starts[window])
        last_shard = min((window + 1) * self._window_shards, len(epoch.shards))
        size = int(epoch.shard_ends[last_shard - 1]) - first
        inside = permute_one(rest - first, size, _window_key(self._key, epoch_number, window))
        position = int(np.searchsorted(epoch.shard_ends, first + inside, side="right"))
        shard = int(epoch.shards[position])
        offset = first + inside - (int(epoch.shard_ends[position]) - int(self._sizes[shard]))
        return epoch_number, int(self._firsts[shard]) + offset

    def _epoch(self, number: int) -> _Epoch:
        found = self._epochs.get(number)
        if found is None:
            count = len(self._sizes)
            shards = permute(np.arange(count), count, derive_key(self._key, "shards", number))
            ends = np.cumsum(self._sizes[shards])
            starts = np.concatenate(([0], ends))[:-1][:: self._window_shards]
            found = _Epoch(shards, ends, starts)
            while len(self._epochs) >= _KEPT_EPOCHS:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[number] = found
        return found


@lru_cache(maxsize=4096)
def _window_key(key: int, epoch: int, window: int) -> int:
    return derive_key(key, "window", epoch, window)


class SegmentOrder:
    """Order inside one segment. `sizes` gives each kind's sequences by shard; kinds with none may not be in the mix."""

    def __init__(self, mixture: Mixture, sizes: Mapping[str, Sequence[int]], window_shards: int, seed: int) -> None:
        self.mixture = mixture
        self._orders = [KindOrder(sizes[kind], window_shards, derive_key(seed, "kind", kind)) for kind in mixture.kinds]

    def locate(self, index: int) -> Place:
        """What the `index`-th sequence of the segment (≥ 0) is. Pure."""
        kind_numbers, ordinals = self.mixture.place(index)
        kind, ordinal = int(kind_numbers), int(ordinals)
        epoch, sequence = self._orders[kind].locate(ordinal)
        return Place(self.mixture.kinds[kind], ordinal, epoch, sequence)

    def epochs(self, sequences: int) -> dict[str, float]:
        """How many passes over each kind the first `sequences` of the segment make."""
        counts = np.zeros(len(self.mixture.kinds), dtype=np.int64)
        if sequences > 0:
            period = self.mixture.period
            whole, rest = divmod(sequences, period)
            counts += whole * np.asarray(self.mixture.parts, dtype=np.int64)
            kinds, _ = self.mixture.place(np.arange(rest))
            counts += np.bincount(kinds, minlength=len(counts))
        return {
            kind: float(count) / order.sequences
            for kind, count, order in zip(self.mixture.kinds, counts, self._orders, strict=True)
        }
