"""Six cameras, one clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode import ActionCode
from expedition.data.records import CAMERAS, Document, Insert
from expedition.data.stages.driving import ClockLimits, DrivingClock, action_fault, calibration_fault, judge_clocks
from expedition.data.stages.driving.actions import code_of
from expedition.data.tokenizer.specials import action
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


def camera(yaw: float, pitch: float = 0.1, **told: object) -> dict[str, object]:
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = (1.5, 0.2, 1.6)
    matrix = [[800.0, 0.0, 640.0], [0.0, 805.0, 360.0], [0.0, 0.0, 1.0]]
    return {"width": 1280, "height": 720, "intrinsics": matrix, "extrinsics": pose.tolist(), **told}


YAWS = dict(zip(CAMERAS, (0.0, 1.0, -1.0, 3.1, 2.1, -2.1), strict=True))


@given(st.floats(-0.3, 0.3), st.floats(0, 0.5))
def test_true_calibrations_are_believed(turn: float, pitch: float) -> None:
    rig_ = {name: camera(yaw + turn, pitch) for name, yaw in YAWS.items()}
    assert calibration_fault({"cameras": rig_}) is None
    assert calibration_fault([{"name": name, **told} for name, told in rig_.items()]) is None


def test_quaternions_and_fields_are_read() -> None:
    told = {
        "translation": [1.0, 0.0, 1.5],
        "rotation": [0.5, -0.5, 0.5, -0.5],
        "camera_intrinsic": [900, 900, 800, 450],
    }
    assert calibration_fault({"CAM_FRONT": told}) is None
    assert (
        calibration_fault({"CAM_FRONT": {**told, "rotation": [0.5, 0.5, 0.1, 0.0]}})
        == "rotation is no rotation (CAM_FRONT)"
    )


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"intrinsics": [[-800, 0, 640], [0, 800, 360], [0, 0, 1]]}, "focal length is not positive"),
        ({"intrinsics": [[800, 0, 640], [0, 400, 360], [0, 0, 1]]}, "pixels are not square"),
        ({"intrinsics": [[90000, 0, 640], [0, 90000, 360], [0, 0, 1]]}, "focal length does not fit the picture"),
        ({"intrinsics": [[800, 0, 20], [0, 800, 360], [0, 0, 1]]}, "principal point is far from the picture's middle"),
        ({"intrinsics": "calib.bin"}, "intrinsics are no camera matrix"),
        ({"extrinsics": (2 * np.eye(4)).tolist()}, "rotation is no rotation"),
        ({"extrinsics": np.diag([1.0, 1.0, -1.0, 1.0]).tolist()}, "rotation mirrors"),
        ({"extrinsics": [[1, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}, "camera is far from its vehicle"),
    ],
)
def test_impossible_calibrations_are_named(wrong: dict[str, object], fault: str) -> None:
    assert calibration_fault({"cameras": {"front": camera(0.0, **wrong)}}) == f"{fault} (front)"


def test_two_cameras_in_one_pose_are_named() -> None:
    assert calibration_fault({"front": camera(0.0), "back": camera(0.0)}) == "two cameras share one pose (back)"


@given(st.recursive(st.none() | st.floats() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["cameras", "front", "K", "intrinsics", "extrinsics", "rotation"]), inner)))  # fmt: skip
def test_any_calibration_is_judged(value: object) -> None:
    fault = calibration_fault(value)
    assert fault is None or isinstance(fault, str)


def actions(speeds: list[float], curvatures: list[float]) -> list[int]:
    steps = [{"speed_m_per_s": v, "curvature_per_m": k} for v, k in zip(speeds, curvatures, strict=True)]
    return ActionCode().encode(steps)


def test_actions_that_no_car_can_drive_are_named() -> None:
    told = ActionCode().described()
    assert action_fault(actions([10.0, 11.0, 12.0, 12.0], [0.01] * 4), told) is None
    assert action_fault(actions([0.0] * 8, [0.0] * 8), told) is None
    assert action_fault(actions([2.0, 30.0, 1.0, 33.0], [0.0] * 4), told) == "actions no car can drive"
    assert action_fault(actions([30.0] * 4, [0.15] * 4), told) == "actions no car can drive"
    assert action_fault(actions([90.0] * 4, [0.0] * 4), told) == "actions lie outside their range"
    assert action_fault(actions([3.0], [0.0])[:1], told) == "actions end within a step"
    assert action_fault([1, 2, 3], None) is None


@given(
    st.lists(
        st.tuples(st.floats(0, 40, exclude_max=True), st.floats(-0.2, 0.2, exclude_max=True)), min_size=1, max_size=30
    )
)
def test_actions_go_to_tokens_and_back_within_half_a_bin(steps: list[tuple[float, float]]) -> None:
    code = code_of(ActionCode().described())
    assert code is not None
    bins = actions([v for v, _ in steps], [k for _, k in steps])
    assert {f"<|action_{number:03d}|>" for number in bins} <= {action(number) for number in range(256)}
    for (speed, curvature), back in zip(steps, code.decode(bins), strict=True):
        assert abs(back["speed_m_per_s"] - speed) <= 40 / 512 + 1e-9
        assert abs(back["curvature_per_m"] - curvature) <= 0.4 / 512 + 1e-9


def test_a_drive_with_an_impossible_calibration_is_dropped() -> None:
    sound = rig()
    meta = {"calibration": {"front": camera(0.0, intrinsics=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]])}}
    told = Document(**{**{name: getattr(sound, name) for name in Document.__slots__}, "meta": meta})
    assert [item.reason for item in run(DrivingClock(), told).dropped] == [
        "calibration: focal length is not positive (front)"
    ]


def test_a_camera_that_stands_still_is_named() -> None:
    clocks = {name: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] for name in CAMERAS}
    clocks["back"] = [0.0, 0.1, 0.2, 0.3, 0.9, 1.0]
    assert judge_clocks(clocks).reason == "camera stands still"
