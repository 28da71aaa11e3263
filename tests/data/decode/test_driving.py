"""Trajectories as action tokens, camera names, and drives as documents."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode.driving import Drive, camera_of, drive_piece
from expedition.data.decode.piece import Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.trajectory import CURVATURE, SPEED, ActionCode, Quantity, actions_of
from expedition.data.records import CAMERAS
from tests.data.decode.test_media import clip

finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0, 40)), min_size=1, max_size=20))
def test_actions_go_back_to_within_half_a_bin(steps: list[tuple[float, float]]) -> None:
    code = ActionCode()
    rows = [{CURVATURE.name: curvature, SPEED.name: speed} for curvature, speed in steps]
    back = code.decode(code.encode(rows))
    for row, again in zip(rows, back, strict=True):
        for quantity in code.quantities:
            half_bin = (quantity.high - quantity.low) / 256 / 2
            assert abs(row[quantity.name] - again[quantity.name]) <= half_bin * (1 + 1e-9)
    assert code.encode(back) == code.encode(rows)


@given(finite, finite, finite)
def test_every_value_has_a_bin(low: float, width: float, value: float) -> None:
    quantity = Quantity("any", low, low + abs(width) + 1.0)
    assert 0 <= quantity.bin(value) <= 255


def test_way_points_alone_give_speed_and_curvature() -> None:
    radius, speed, step = 50.0, 10.0, 0.1
    points = []
    for number in range(60):
        angle = speed * number * step / radius
        points.append([number * step, radius * math.sin(angle), radius * (1 - math.cos(angle))])
    actions, code = actions_of({"trajectory": points})
    steps = code.decode(actions)
    assert len(steps) == 11
    assert all(abs(row[SPEED.name] - speed) < 0.3 for row in steps)
    assert all(abs(row[CURVATURE.name] - 1 / radius) < 0.003 for row in steps[1:])


def test_stated_bins_are_kept_with_their_ranges() -> None:
    value = {
        "points": [{"t_s": 0.25, "x_m": 1, "y_m": 0}],
        "action_bins": {"bins": 256, "order": ["speed_m_per_s"], "ranges": {"speed_m_per_s": [0, 15]}},
        "actions": [136, 0, 255],
    }
    actions, code = actions_of(value)
    assert actions == [136, 0, 255]
    assert code.described()["ranges"] == {"speed_m_per_s": [0.0, 15.0]}
    assert code.step_s == 0.25


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"points": "x"},
        {"points": [{"x": 1}]},
        {"points": [[0, 0, 0], [1, "a", 2]]},
        {"points": [[0, 0, 0], [1, math.inf, 2]]},
        {"actions": [300], "action_bins": {"bins": 256, "order": [], "ranges": {}}},
        {"actions": [3], "action_bins": {"bins": 64, "order": [], "ranges": {}}},
    ],
)
def test_a_broken_trajectory_is_refused(value: object) -> None:
    with pytest.raises(Refused):
        actions_of(value)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("front", "front"),
        ("CAM_FRONT_LEFT", "front_left"),
        ("cam-left", "front_left"),
        ("camera_rear", "back"),
        ("scene12_back_right", "back_right"),
        ("FRONT.CENTER", "front"),
        ("holiday", None),
        ("clip_000018", None),
    ],
)
def test_camera_names_are_understood(name: str, camera: str | None) -> None:
    assert camera_of(name) == camera


def drive(folder: Path, cameras: tuple[str, ...], trajectory: object | None) -> Drive:
    data = clip(0.5)
    for camera in cameras:
        (folder / f"{camera}.mp4").write_bytes(data)
    path = folder / "trajectory.json"
    if trajectory is not None:
        path.write_text(json.dumps(trajectory))
    clips = {camera: folder / f"{camera}.mp4" for camera in cameras}
    return Drive("d", clips, None, path if trajectory is not None else None, {"description": "a bend"})


STRAIGHT = [[0.5 * n, 4.0 * n, 0.0] for n in range(4)]


def test_a_whole_drive_is_six_cameras_words_and_actions(tmp_path: Path) -> None:
    piece = drive_piece(drive(tmp_path, CAMERAS, STRAIGHT), DecodeRules())
    names = [insert.name or insert.kind for insert in piece.inserts]
    assert names[:4] == ["<|camera_front|>", "video", "<|camera_front_left|>", "video"]
    assert piece.text == "\ufffc" * 12 + " a bend" + "\ufffc" * 6
    assert all(name.startswith("<|action_") for name in names[12:])
    assert piece.kind == "driving"
    assert piece.repairs == ()


def test_a_rig_without_a_trajectory_is_video_with_text(tmp_path: Path) -> None:
    piece = drive_piece(drive(tmp_path, ("front", "front_left", "front_right"), None), DecodeRules())
    assert piece.kind == "video-text"
    assert {repair.reason for repair in piece.repairs} == {Reason.NO_ACTIONS, Reason.MISSING_CAMERAS}


def test_an_unreadable_camera_refuses_the_drive_by_its_file(tmp_path: Path) -> None:
    broken = drive(tmp_path, CAMERAS, STRAIGHT)
    path = tmp_path / "back.mp4"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Refused) as refused:
        drive_piece(broken, DecodeRules())
    assert (refused.value.reason, refused.value.inner) == (Reason.TRUNCATED, "back.mp4")
