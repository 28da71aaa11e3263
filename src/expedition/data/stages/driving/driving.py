"""The stage: drives whose cameras are missing, out of step or wrongly calibrated are dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.driving.actions import ActionLimits, action_fault
from expedition.data.stages.driving.calibration import CalibrationLimits, calibration_fault
from expedition.data.stages.driving.clock import ClockLimits, judge_clocks
from expedition.data.stages.stage import StageResult

_PREFIX = "<|camera_"
_ACTION = re.compile(r"<\|action_(\d{3})\|>")


@dataclass(frozen=True, slots=True)
class DrivingClock:
    """Compares the clocks of a rig's cameras, and judges calibration and actions for what cannot be true.

    Each video insert belongs to the camera token before it; their `timestamps_s` are compared frame by frame.
    Calibration (meta `calibration`) is read in the forms of public driving sets: camera matrices and poses as matrices or
    quaternions. Actions are decoded by the code in meta `actions`. Meta `clock_skew_s` is written; counts hold the
    number of cameras and the histogram of skews, cells `skew_ms:low:high`.

    Reasons:
    camera without frames, cameras missing, cameras differ in frames: the rig is not whole.
    camera clock runs backwards, camera stands still: times do not rise, or a gap is longer than 4 usual ones.
    cameras out of step: frames of one moment lie further apart than half a frame.
    calibration: …: focal length, square pixels, principal point, rotation, distance from the vehicle, two cameras in one
    pose; the camera is named.
    actions end within a step, actions lie outside their range, actions no car can drive: by the thresholds below.

    Thresholds:
    max_skew_s: 0.05 s; half a frame at 10 Hz. Rigs with a hardware trigger keep 0.001 s (nuScenes, arXiv:1903.11027).
    max_gap_ratio: 4; a logger that loses three frames in a row.
    focal_widths: 0.2 to 20 picture widths, a field of 136° to 3°; fisheyes need a model that a matrix does not hold.
    max_focal_ratio, max_centre_offset: 1.3 and 0.35; pixels are square, sensors are centred.
    max_acceleration_m_per_s2: 12; tyres on a dry road give 10.
    max_clipped_share: 0.5 of one quantity in its last bins: km/h taken for m/s.

    Keeps: rigs without calibration or actions (nothing is concluded), cars that stand, jumps in a tenth of the steps.
    """

    kinds: frozenset[str] = frozenset({"driving"})
    limits: ClockLimits = ClockLimits()
    calibration: CalibrationLimits = CalibrationLimits()
    actions: ActionLimits = ActionLimits()
    name: str = "driving_clock"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        timestamps: dict[str, list[float]] = {}
        bins: list[int] = []
        camera = ""
        for insert in row.inserts:
            if insert.kind == "special" and insert.name.startswith(_PREFIX):
                camera = insert.name.removeprefix(_PREFIX).removesuffix("|>")
            elif insert.kind == "special" and (found := _ACTION.fullmatch(insert.name)):
                bins.append(int(found[1]))
            elif insert.kind == "video":
                timestamps[camera] = [float(value) for value in insert.meta.get("timestamps_s", ())]
        clocks = judge_clocks(timestamps, self.limits)
        counts = {f"cameras {clocks.cameras}": 1}
        fault = calibration_fault(row.meta.get("calibration"), self.calibration)
        reason = clocks.reason or (f"calibration: {fault}" if fault else None)
        reason = reason or action_fault(bins, row.meta.get("actions"), self.actions)
        if reason:
            return Outcome(drop=reason, counts=counts)
        low = min(int(clocks.skew_s * 1000 // 10) * 10, 100)
        return Outcome(
            meta={"clock_skew_s": round(clocks.skew_s, 4)}, counts={**counts, f"skew_ms:{low}:{low + 10}": 1}
        )
