"""driving: six cameras checked against one clock, calibration and actions against what can be.

Why a room: a rig whose cameras drift teaches a model a world that never was.
Verbs (all that other rooms may call):
    judge_clocks(timestamps, limits) -> Clocks      pure; skew between cameras, order within one
    calibration_fault(value, limits) -> str | None  pure; what cannot be true of a calibration
    action_fault(bins, code, limits) -> str | None  pure; what no car can drive
    DrivingClock(kinds, limits)         the stage
Seams: none.
Imports: data.stages.stage, data.decode (trajectory).  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing.
Invariants: a camera that lags is found [test_lagging_camera_is_dropped]; a true calibration is never accused
[test_true_calibrations_are_believed].
Read in this order:
    clock.py        timestamps of cameras against each other
    calibration.py  intrinsics and poses
    actions.py      what the action bins say
    driving.py      the stage
Try: pytest tests/data/stages/test_driving.py
"""

from expedition.data.stages.driving.actions import ActionLimits, action_fault
from expedition.data.stages.driving.calibration import CalibrationLimits, calibration_fault
from expedition.data.stages.driving.clock import ClockLimits, Clocks, judge_clocks
from expedition.data.stages.driving.driving import DrivingClock

__all__ = [
    "ActionLimits",
    "CalibrationLimits",
    "ClockLimits",
    "Clocks",
    "DrivingClock",
    "action_fault",
    "calibration_fault",
    "judge_clocks",
]
