"""driving: six cameras checked against one clock.

Why a room: a rig whose cameras drift teaches a model a world that never was.
Verbs (all that other rooms may call):
    judge_clocks(timestamps, limits) -> Clocks      pure; skew between cameras, order within one
    DrivingClock(kinds, limits)         the stage
Seams: none.
Imports: data.stages.stage.  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing.
Invariants: a camera that lags is found [test_lagging_camera_is_dropped].
Read in this order:
    clock.py        timestamps of cameras against each other
    driving.py      the stage
Try: pytest tests/data/stages/test_driving.py
"""

from expedition.data.stages.driving.clock import ClockLimits, Clocks, judge_clocks
from expedition.data.stages.driving.driving import DrivingClock

__all__ = ["ClockLimits", "Clocks", "DrivingClock", "judge_clocks"]
