"""A drive: clips of several cameras, their calibration, a trajectory → one document with camera and action tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.jsonl import json_value
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.trajectory import actions_of, trajectory_rows
from expedition.data.decode.video import read_clip
from expedition.data.records import CAMERAS, PLACEHOLDER, Insert

_ALIASES = {
    "front_center": "front", "front_centre": "front", "center": "front", "centre": "front", "forward": "front",
    "front_wide": "front", "left": "front_left", "right": "front_right", "side_left": "front_left",
    "side_right": "front_right", "rear": "back", "rear_left": "back_left", "rear_right": "back_right",
    "left_front": "front_left", "right_front": "front_right", "left_back": "back_left", "right_back": "back_right",
    "left_rear": "back_left", "right_rear": "back_right",
}  # fmt: skip
_NOISE = re.compile(r"^(?:camera|cam|clip|video)[_-]?|[_-]?(?:camera|cam|clip|video)$")
_JSON_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Drive:
    """The files of one drive. `clips` by camera; `told` holds what a manifest row says of it."""

    name: str
    clips: Mapping[str, Path]
    calibration: Path | None = None
    trajectory: Path | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def camera_of(name: str) -> str | None:
    """The rig's camera that a file or stream name means ("CAM_FRONT_LEFT", "cam-left", "rear"), or None."""
    plain = re.sub(r"[\s.-]+", "_", name.strip().lower())
    for _ in range(2):
        plain = _NOISE.sub("", plain)
    plain = plain.strip("_")
    for candidate in (plain, "_".join(plain.split("_")[-2:]), plain.split("_")[-1]):
        known = _ALIASES.get(candidate, candidate)
        if known in CAMERAS:
            return known
    return None


def drive_piece(drive: Drive, rules: DecodeRules) -> Piece:
    """A drive as a document: for each camera its token and its clip, then the description, then the actions.

    With all six cameras and a trajectory its kind is "driving"; a rig that lacks a camera but has actions stays
    "driving" with a repair; without usable actions it is "video-text". Raises Refused where a listed clip is
    unreadable: a rig is views of one moment, and a silent hole in it would teach a wrong world.
    """
    inserts, repairs = _streams(drive, rules)
    text = PLACEHOLDER * len(inserts)
    actions, meta = _actions(drive, repairs)
    meta["cameras"] = [camera for camera in CAMERAS if camera in drive.clips]
    meta["calibration"] = _calibration(drive, repairs)
    described = _description(drive, meta.pop("description", None))
    specials = tuple(Insert("special", f"<|action_{number:03d}|>") for number in actions)
    missing = [camera for camera in CAMERAS if camera not in drive.clips]
    if missing:
        repairs.append(Repair(Reason.MISSING_CAMERAS, len(missing), ", ".join(missing)))
    return Piece(
        text=text + (f" {described}" if described else "") + PLACEHOLDER * len(specials),
        inserts=(*inserts, *specials),
        kind="driving" if specials else "video-text",
        licence=_told(drive, "license", "licence"),
        language=_told(drive, "language", "lang"),
        meta={key: value for key, value in meta.items() if value is not None},
        repairs=tuple(repairs),
    )


def _streams(drive: Drive, rules: DecodeRules) -> tuple[tuple[Insert, ...], list[Repair]]:
    inserts: list[Insert] = []
    repairs: list[Repair] = []
    for camera in CAMERAS:
        if camera not in drive.clips:
            continue
        try:
            segment = next(read_clip(drive.clips[camera], rules))
        except (Refused, OSError) as error:
            reason, detail = (error.reason, error.detail) if isinstance(error, Refused) else (Reason.MISSING_MEDIA, "")
            raise Refused(reason, f"camera {camera}: {detail}".removesuffix(": "), drive.clips[camera].name) from None
        repairs += segment.repairs
        inserts += [Insert("special", f"<|camera_{camera}|>"), segment.insert]
    if not inserts:
        raise Refused(Reason.MISSING_MEDIA, "no clip of a known camera")
    return tuple(inserts), repairs


def _actions(drive: Drive, repairs: list[Repair]) -> tuple[list[int], dict[str, Any]]:
    told = drive.told.get("trajectory")
    if drive.trajectory is None and not isinstance(told, Mapping | list):
        repairs.append(Repair(Reason.NO_ACTIONS, 1, "no trajectory"))
        return [], {}
    try:
        value = told if drive.trajectory is None else _file_value(drive.trajectory)
        actions, code = actions_of(value)
    except Refused as refused:
        repairs.append(Repair(Reason.NO_ACTIONS, 1, f"{refused.reason}: {refused.detail}"))
        return [], {}
    description = value.get("description") if isinstance(value, Mapping) else None
    return actions, {"actions": code.described(), "description": description}


def _calibration(drive: Drive, repairs: list[Repair]) -> Any:
    if drive.calibration is None:
        return None
    try:
        return _file_value(drive.calibration)
    except Refused as refused:
        repairs.append(Repair(refused.reason, 1, f"calibration: {refused.detail}"))
        return None


def _file_value(path: Path) -> Any:
    try:
        if path.stat().st_size > _JSON_BYTES:
            raise Refused(Reason.TOO_LARGE, path.name)
        data = path.read_bytes()
    except OSError as error:
        raise Refused(Reason.UNREADABLE, str(error.strerror)) from None
    if path.suffix.lower() in (".csv", ".tsv"):
        return trajectory_rows(data.decode("utf-8", "replace"))
    return json_value(data)


def _description(drive: Drive, from_trajectory: Any) -> str:
    for value in (_told(drive, "description", "caption", "text"), from_trajectory):
        if isinstance(value, str) and value.strip():
            return tidy(clean(value)[0])
    return ""


def _told(drive: Drive, *names: str) -> str | None:
    return next((str(drive.told[name]) for name in names if isinstance(drive.told.get(name), str)), None)
