"""The stage: drives whose cameras are missing or out of step are dropped."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.driving.clock import ClockLimits, judge_clocks
from expedition.data.stages.stage import StageResult

_PREFIX = "<|camera_"


@dataclass(frozen=True, slots=True)
class DrivingClock:
    """Stage: each video insert belongs to the camera token before it; their `timestamps_s` are compared.

    Meta `clock_skew_s` is written; counts hold the skew histogram in milliseconds.
    """

    kinds: frozenset[str] = frozenset({"driving"})
    limits: ClockLimits = ClockLimits()
    name: str = "driving_clock"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        timestamps: dict[str, list[float]] = {}
        camera = ""
        for insert in row.inserts:
            if insert.kind == "special" and insert.name.startswith(_PREFIX):
                camera = insert.name.removeprefix(_PREFIX).removesuffix("|>")
            elif insert.kind == "video":
                timestamps[camera] = [float(value) for value in insert.meta.get("timestamps_s", ())]
        clocks = judge_clocks(timestamps, self.limits)
        if clocks.reason:
            return Outcome(drop=clocks.reason, counts={f"cameras {clocks.cameras}": 1})
        low = min(int(clocks.skew_s * 1000 // 10) * 10, 100)
        return Outcome(
            meta={"clock_skew_s": round(clocks.skew_s, 4)},
            counts={f"cameras {clocks.cameras}": 1, f"skew_ms:{low}:{low + 10}": 1},
        )
