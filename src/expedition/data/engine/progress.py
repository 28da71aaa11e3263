"""From an engine's steps to what a person wants to know: how far, how fast, what was refused, how long still."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expedition.data.engine.quarantine import Quarantined
from expedition.data.engine.shard import Progress

_WINDOW_S = 120.0
_SAMPLES = 512


@dataclass(frozen=True, slots=True)
class PhaseState:
    """How far one phase is. Rates count only what this process did; None is unknown."""

    phase: str
    step: str = ""
    """Name of the engine call under way: a phase may have several."""
    done: int = 0
    total: int = 0
    records_in: int = 0
    records_out: int = 0
    read_bytes: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Records refused, by reason."""
    quarantined: tuple[Quarantined, ...] = ()
    wall_s: float = 0.0
    records_per_s: float | None = None
    read_bytes_per_s: float | None = None
    remaining_s: float | None = None
    """Estimate for the step under way, by the weights of its tasks and the rate of the last two minutes."""

    def row(self) -> dict[str, Any]:
        """The state as JSON values."""
        names = [name for name in self.__slots__ if name not in ("rejects", "quarantined")]
        return {
            **{name: getattr(self, name) for name in names},
            "rejects": dict(sorted(self.rejects.items(), key=lambda item: (-item[1], item[0]))),
            "quarantined": [{"key": item.key, "reason": item.reason} for item in self.quarantined],
        }


class Meter:
    """Adds up the steps of one phase."""

    def __init__(self, phase: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._phase, self._clock = phase, clock
        self._started = self._at = clock()
        self._last: Progress | None = None
        self._sums: Counter[str] = Counter()
        self._fresh: Counter[str] = Counter()
        self._rejects: Counter[str] = Counter()
        self._quarantined: list[Quarantined] = []
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._fresh_weight = 0
        self._weight_done = 0

    def add(self, step: Progress) -> None:
        """Count one step."""
        if self._last is None or step.step != self._last.step or step.total != self._last.total:
            self._samples.clear()
            self._fresh_weight = self._weight_done = 0
            self._samples.append((self._at, 0))
        self._last, self._at = step, self._clock()
        numbers = {name: step.counts.get(name, 0) for name in ("records_in", "records_out", "read_bytes")}
        self._sums.update(numbers)
        self._rejects.update(step.counts.get("rejects", {}))
        if step.quarantined is not None:
            self._quarantined.append(Quarantined(step.key, step.quarantined))
        if step.fresh:
            self._fresh.update(numbers)
            self._fresh_weight += step.weight_done - self._weight_done
            self._samples.append((self._at, self._fresh_weight))
        self._weight_done = step.weight_done

    def state(self) -> PhaseState:
        """Where the phase stands now."""
        now, last = self._clock(), self._last
        wall_s = now - self._started
        known = wall_s > 0 and self._fresh.total() > 0
        return PhaseState(
            phase=self._phase,
            step="" if last is None else last.step,
            done=0 if last is None else last.done,
            total=0 if last is None else last.total,
            records_in=self._sums["records_in"],
            records_out=self._sums["records_out"],
            read_bytes=self._sums["read_bytes"],
            rejects=dict(self._rejects),
            quarantined=tuple(self._quarantined),
            wall_s=round(wall_s, 3),
            records_per_s=self._fresh["records_in"] / wall_s if known else None,
            read_bytes_per_s=self._fresh["read_bytes"] / wall_s if known else None,
            remaining_s=self._remaining_s(now),
        )

    def _remaining_s(self, now: float) -> float | None:
        last = self._last
        if last is None:
            return None
        left = last.weight_total - last.weight_done
        if left <= 0:
            return 0.0
        while len(self._samples) > 2 and self._samples[0][0] < now - _WINDOW_S:
            self._samples.popleft()
        first_s, first_weight = self._samples[0]
        done, seconds = self._fresh_weight - first_weight, now - first_s
        return left * seconds / done if done > 0 and seconds > 0 else None
