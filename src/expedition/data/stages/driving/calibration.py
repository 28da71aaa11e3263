"""Whether a rig's calibration can be true: focal lengths, principal points, rotations, where cameras sit and look.

Known forms, all of them found in public driving sets: a list or mapping of cameras with `intrinsics` (a 3 × 3 matrix,
[fx, fy, cx, cy], or fields fx, fy, cx, cy) and `extrinsics` (a 4 × 4 or 3 × 4 matrix; or a rotation as 3 × 3 matrix or
quaternion w, x, y, z, with a translation). What is not there is not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationLimits:
    """Bounds of plausible calibration."""

    focal_widths: tuple[float, float] = (0.2, 20.0)
    """Focal length over picture width: 0.2 is a field of 136°, 20 one of 3°."""
    max_focal_ratio: float = 1.3
    """fx over fy or the reverse: pixels are nearly square."""
    max_centre_offset: float = 0.35
    """Of the principal point from the picture's middle, parts of a side."""
    max_distance_m: float = 15.0
    """Of a camera from the rig's origin: trucks are long."""
    rotation_tolerance: float = 0.02
    """Largest entry of R Rᵀ - I."""


_FIELDS = {
    "intrinsics": ("intrinsics", "intrinsic", "camera_intrinsic", "camera_matrix", "K", "k", "cam_intrinsic"),
    "extrinsics": (
        "extrinsics",
        "extrinsic",
        "sensor2ego",
        "cam2ego",
        "camera_to_vehicle",
        "camera_to_car",
        "camera_to_ego",
        "T_vehicle_camera",
        "pose",
    ),
    "rotation": ("rotation", "R", "quaternion"),
    "translation": ("translation", "t", "position", "translation_m", "position_m"),
    "width": ("width", "width_px", "image_width"),
    "height": ("height", "height_px", "image_height"),
}


def calibration_fault(value: Any, limits: CalibrationLimits | None = None) -> str | None:
    """Why a calibration cannot be true, or None; pure. None too for a value that describes no camera."""
    bounds = limits or CalibrationLimits()
    places: list[Matrix] = []
    for name, camera in cameras_of(value):
        fault = _intrinsics_fault(camera, bounds) or _pose_fault(camera, bounds, places)
        if fault:
            return f"{fault} ({name})"
    return None


def cameras_of(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The cameras of a calibration: name and what is told of it."""
    if isinstance(value, Mapping):
        inner = next((value[key] for key in ("cameras", "sensors", "calibration", "rig") if key in value), value)
        if inner is not value:
            yield from cameras_of(inner)
        elif any(name in value for names in (_FIELDS["intrinsics"], _FIELDS["extrinsics"]) for name in names):
            yield str(value.get("camera", value.get("name", "camera"))), value
        else:
            yield from ((str(name), each) for name, each in value.items() if isinstance(each, Mapping))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            if isinstance(each, Mapping):
                yield str(each.get("camera", each.get("name", place))), each


def _intrinsics_fault(camera: Mapping[str, Any], bounds: CalibrationLimits) -> str | None:
    told = _told(camera, "intrinsics")
    focal = _focal(told) if told is not None else _focal(camera) if "fx" in camera else None
    if told is None and focal is None:
        return None
    if focal is None:
        return "intrinsics are no camera matrix"
    fx, fy, cx, cy = focal
    if not all(map(math.isfinite, focal)) or fx <= 0 or fy <= 0:
        return "focal length is not positive"
    if max(fx / fy, fy / fx) > bounds.max_focal_ratio:
        return "pixels are not square"
    inside = told if isinstance(told, Mapping) else {}
    width, height = (_number(_told(camera, name)) or _number(inside.get(name)) for name in ("width", "height"))
    if width and height:
        if not bounds.focal_widths[0] <= fx / width <= bounds.focal_widths[1]:
            return "focal length does not fit the picture"
        if abs(cx / width - 0.5) > bounds.max_centre_offset or abs(cy / height - 0.5) > bounds.max_centre_offset:
            return "principal point is far from the picture's middle"
    elif cx < 0 or cy < 0:
        return "principal point lies outside the picture"
    return None


def _pose_fault(camera: Mapping[str, Any], bounds: CalibrationLimits, places: list[Matrix]) -> str | None:
    rotation, translation = _pose(camera)
    if isinstance(rotation, str):
        return rotation
    if rotation is not None:
        if (
            not np.isfinite(rotation).all()
            or np.abs(rotation @ rotation.T - np.eye(3)).max() > bounds.rotation_tolerance
        ):
            return "rotation is no rotation"
        if np.linalg.det(rotation) < 0:
            return "rotation mirrors"
    if translation is not None:
        if not np.isfinite(translation).all() or float(np.linalg.norm(translation)) > bounds.max_distance_m:
            return "camera is far from its vehicle"
        if rotation is not None:
            pose = np.concatenate([rotation.ravel(), translation])
            if any(np.abs(pose - other).max() < 1e-9 for other in places):
                return "two cameras share one pose"
            places.append(pose)
    return None


def _pose(camera: Mapping[str, Any]) -> tuple[Matrix | str | None, Matrix | None]:
    told = _told(camera, "extrinsics")
    matrix = _matrix(told)
    if matrix is not None and matrix.shape in ((4, 4), (3, 4)):
        return matrix[:3, :3], matrix[:3, 3]
    parts = told if isinstance(told, Mapping) else camera
    if told is not None and not isinstance(told, Mapping):
        return "extrinsics are no pose", None
    rotation, translation = _matrix(_told(parts, "rotation")), _matrix(_told(parts, "translation"))
    if rotation is not None and rotation.shape == (4,):
        rotation = _of_quaternion(rotation)
    if rotation is not None and rotation.shape != (3, 3):
        rotation = None
    return rotation, translation if translation is not None and translation.shape == (3,) else None


def _of_quaternion(value: Matrix) -> Matrix:
    """Rotation of a quaternion w, x, y, z; not a rotation where its norm is not 1."""
    w, x, y, z = value.tolist()
    return np.array(
        [
            [w * w + x * x - y * y - z * z, 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), w * w - x * x + y * y - z * z, 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), w * w - x * x - y * y + z * z],
        ]
    )


def _focal(told: Any) -> tuple[float, float, float, float] | None:
    if isinstance(told, Mapping):
        found = [_number(told.get(name)) for name in ("fx", "fy", "cx", "cy")]
        if found[0] is not None and found[1] is None:
            found[1] = found[0]
        if all(value is not None for value in found):
            return tuple(float(value) for value in found if value is not None)  # type: ignore[return-value]
        told = next((told[name] for name in ("matrix", "K", "data") if name in told), None)
    matrix = _matrix(told)
    if matrix is None:
        return None
    if matrix.size == 9:
        rows = matrix.reshape(3, 3)
        return float(rows[0, 0]), float(rows[1, 1]), float(rows[0, 2]), float(rows[1, 2])
    if matrix.shape == (4,):
        return tuple(matrix.tolist())
    return None


def _matrix(value: Any) -> Matrix | None:
    if not isinstance(value, list):
        return None
    try:
        found = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0 < found.size <= 16 else None


def _told(camera: Mapping[str, Any], what: str) -> Any:
    return next((camera[name] for name in _FIELDS[what] if name in camera), None)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
