"""What steps have read, by kind and source, and how far that is from the planned mix: arithmetic, no data is read.

The mix plans shares of sequences. Within a segment every prefix holds each kind's share to within one sequence
(`mixture.py`), so a stretch that begins inside a segment is within two of it, and several stretches within the sum of
their bounds. `error_sequences` is the largest distance that was found, `bound_sequences` what it may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.segments import segment_of

if TYPE_CHECKING:
    from expedition.data.loading.loader import Loader
    from expedition.data.loading.packs import PackPlan

EXACT_SEQUENCES = 1 << 20
"""Up to so many sequences each one is looked at. Beyond, tokens are the sequences of a kind times its mean in the pack
plan, and a source has its share of them there: exact for whole passes."""


@dataclass
class _Sums:
    sequences: Counter[str] = field(default_factory=Counter)
    planned: dict[str, float] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    bound: int = 0


def account(loader: Loader, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """Sequences and tokens of the global batches of the steps first … end - 1 of each stretch, by kind and by source.

    Tokens are packed ones, media expanded, padding left out. Substitutes for sequences that did not decode count as
    what they stand for.
    """
    ranges = [part for first, end in stretches for part in _within_segments(loader, first, end)]
    exact = sum(end - first for _, first, end in ranges) <= EXACT_SEQUENCES
    sums = _Sums()
    for number, first, end in ranges:
        _, order = loader.open_segment(number)
        begin = loader.segments[number].first_index
        sums.bound += 1 if first == begin else 2
        counts = _prefix(order.mixture.parts, order.mixture.place, end - begin)
        counts = counts - _prefix(order.mixture.parts, order.mixture.place, first - begin)
        for kind, count in zip(order.mixture.kinds, counts.tolist(), strict=True):
            sums.sequences[kind] += count
            share = float(order.mixture.share(kind)) * (end - first)
            sums.planned[kind] = sums.planned.get(kind, 0.0) + share
        (_look if exact else _estimate)(loader, number, first, end, sums)
    return _document(sums, exact)


def _within_segments(loader: Loader, first_step: int, end_step: int) -> Iterator[tuple[int, int, int]]:
    """(segment, first index, end index) of a stretch of steps, cut where segments begin."""
    first, end = loader.plan.sequences_before(first_step), loader.plan.sequences_before(end_step)
    while first < end:
        number = segment_of(loader.segments, first)
        following = loader.segments[number + 1].first_index if number + 1 < len(loader.segments) else end
        yield number, first, min(end, following)
        first = min(end, following)


def _prefix(parts: tuple[int, ...], place: Any, count: int) -> npt.NDArray[np.int64]:
    """How often each kind is among the first `count` indices of a segment."""
    whole, rest = divmod(count, sum(parts))
    kinds, _ = place(np.arange(rest))
    return whole * np.asarray(parts, dtype=np.int64) + np.bincount(kinds, minlength=len(parts))


def _look(loader: Loader, number: int, first: int, end: int, sums: _Sums) -> None:
    version, order = loader.open_segment(number)
    places = order.locate_many(np.arange(first, end) - loader.segments[number].first_index)
    starts = np.asarray([version.pack.first(kind) for kind in order.mixture.kinds], dtype=np.int64)
    sequences = starts[places.kind] + places.sequence
    tokens = version.pack.costs(sequences)[0]
    for place, kind in enumerate(order.mixture.kinds):
        sums.tokens[kind] += int(tokens[places.kind == place].sum())
    for sequence, times in zip(*(column.tolist() for column in np.unique(sequences, return_counts=True)), strict=True):
        for piece in version.pack.members(sequence):
            sums.sources[version.index.source(piece.document)] += times * piece.tokens


def _estimate(loader: Loader, number: int, first: int, end: int, sums: _Sums) -> None:
    version, order = loader.open_segment(number)
    for kind in order.mixture.kinds:
        tokens = round(float(order.mixture.share(kind)) * (end - first) * _mean_tokens(version.pack, kind))
        sums.tokens[kind] += tokens
        cells = {
            name: cell["packed_tokens"] for name, cell in version.pack.cells.items() if name.startswith(f"{kind}/")
        }
        for name, packed in cells.items():
            sums.sources[name.split("/")[1]] += round(tokens * packed / max(1, sum(cells.values())))


def _mean_tokens(pack: PackPlan, kind: str) -> float:
    return pack.counts[kind].packed_tokens / max(1, pack.count(kind))


def _document(sums: _Sums, exact: bool) -> dict[str, Any]:
    total = max(1, sums.tokens.total())
    by_kind = {
        kind: {
            "sequences": sums.sequences[kind],
            "planned_sequences": planned,
            "tokens": sums.tokens[kind],
            "share": sums.tokens[kind] / total,
        }
        for kind, planned in sorted(sums.planned.items())
    }
    errors = [abs(cell["sequences"] - cell["planned_sequences"]) for cell in by_kind.values()]
    return {
        "tokens": sums.tokens.total(),
        "by_kind": by_kind,
        "by_source": {
            name: {"tokens": tokens, "share": tokens / total} for name, tokens in sorted(sums.sources.items())
        },
        "tokens_are": "counted" if exact else "estimated from the pack plan",
        "error_sequences": max(errors, default=0.0),
        "bound_sequences": sums.bound,
    }
