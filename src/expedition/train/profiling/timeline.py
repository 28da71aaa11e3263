"""A stretch of time divided among what went on in it, each moment counted once: pure arithmetic on intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Half-open: from `start` up to `end`."""

    start: float
    end: float
    label: str


def divide(start: float, end: float, levels: Sequence[Sequence[Interval]], rest: str) -> dict[str, float]:
    """Time by label between `start` and `end`: a moment belongs to the first level that has an interval there, within a
    level to the interval that began first; to `rest` where no level has one. The values add up to `end - start`."""
    found: dict[str, float] = {}
    free = [(start, end)]
    for level in levels:
        free = list(_fill(free, _disjoint(level), found))
    found[rest] = found.get(rest, 0.0) + sum(last - first for first, last in free)
    return found


def covered(start: float, end: float, intervals: Iterable[Interval]) -> dict[str, float]:
    """Time by label in which at least one interval of that label is there, whatever else is: labels overlap."""
    by_label: dict[str, list[Interval]] = {}
    for interval in intervals:
        by_label.setdefault(interval.label, []).append(interval)
    return {
        label: sum(max(0.0, min(one.end, end) - max(one.start, start)) for one in _disjoint(some))
        for label, some in by_label.items()
    }


def _disjoint(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """In order, each cut to where the ones before it have ended."""
    reached = float("-inf")
    for one in sorted(intervals, key=lambda interval: interval.start):
        if one.end > reached:
            yield Interval(max(one.start, reached), one.end, one.label)
            reached = one.end


def _fill(
    free: Iterable[tuple[float, float]], level: Iterable[Interval], found: dict[str, float]
) -> Iterator[tuple[float, float]]:
    """Add what a level takes of the free stretches to `found`; the stretches that stay free."""
    taking = iter(level)
    one = next(taking, None)
    for first, last in free:
        at = first
        while one is not None and one.start < last:
            if one.end <= at:
                one = next(taking, None)
                continue
            begin = max(one.start, at)
            if begin > at:
                yield at, begin
            at = min(one.end, last)
            found[one.label] = found.get(one.label, 0.0) + (at - begin)
            if one.end > last:
                break
            one = next(taking, None)
        if at < last:
            yield at, last
