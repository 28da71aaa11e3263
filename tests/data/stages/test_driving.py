"""Six cameras, one clock."""

import numpy as np
import pytest

from expedition.data.records import CAMERAS, Document, Insert
from expedition.data.stages.driving import ClockLimits, DrivingClock, judge_clocks
from tests.data.stages.documents import run

TIMES = [0.0, 0.25, 0.5, 0.75]


def rig(lag_s: float = 0.0, cameras: tuple[str, ...] = CAMERAS) -> Document:
    inserts = []
    for camera in cameras:
        times = [time + (lag_s if camera == "back" else 0.0) for time in TIMES]
        inserts += [Insert("special", f"<|camera_{camera}|>"), Insert("video", data=b"", meta={"timestamps_s": times})]
    return Document("d", "drives", "driving", "d", "\ufffc" * len(inserts) + "a drive", tuple(inserts))


def test_a_sound_rig_is_kept() -> None:
    result = run(DrivingClock(), rig())
    assert result.dropped == ()
    assert result.counts == {"cameras 6": 1, "skew_ms:0:10": 1}


def test_lagging_camera_is_dropped() -> None:
    assert [item.reason for item in run(DrivingClock(), rig(0.2)).dropped] == ["cameras out of step"]


def test_missing_cameras_are_dropped_unless_allowed() -> None:
    three = rig(cameras=CAMERAS[:3])
    assert [item.reason for item in run(DrivingClock(), three).dropped] == ["cameras missing"]
    assert run(DrivingClock(limits=ClockLimits(min_cameras=3)), three).dropped == ()


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ([0.0, 0.5, 0.25], "camera clock runs backwards"),
        ([], "camera without frames"),
        ([0.0], "cameras differ in frames"),
    ],
)
def test_broken_clocks_are_named(times: list[float], reason: str) -> None:
    clocks = {camera: list(np.arange(4) / 4) for camera in CAMERAS}
    clocks["back"] = times
    assert judge_clocks(clocks).reason == reason
