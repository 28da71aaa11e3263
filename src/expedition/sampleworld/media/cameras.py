"""Six cameras on the roof of a car: where each looks, and how a pixel becomes a ray over the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Width and height of a camera's picture, pixels."""

Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera; car frame: x forward, y left, z up, origin on the ground below the roof's middle."""

    name: str
    yaw_deg: float
    """Direction of view, degrees to the left of straight ahead."""
    pitch_deg: float = 18.0
    """Degrees below the horizon."""
    height_m: float = 2.2
    field_deg: float = 80.0
    """Horizontal field of view, degrees."""

    @property
    def focal_px(self) -> float:
        """Focal length, pixels."""
        return float(SIDE / 2 / np.tan(np.radians(self.field_deg) / 2))

    def rotation(self) -> Vectors:
        """3 × 3: columns are the camera's right, down and forward axes in the car's frame."""
        yaw, pitch = np.radians(self.yaw_deg), np.radians(self.pitch_deg)
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        return np.stack([right, np.cross(forward, right), forward], axis=1)

    def rays(self) -> Vectors:
        """Directions of all pixels in the car's frame, [64, 64, 3], not normalised."""
        rows, columns = np.mgrid[0:SIDE, 0:SIDE] + 0.5
        local = np.stack(
            [(columns - SIDE / 2) / self.focal_px, (rows - SIDE / 2) / self.focal_px, np.ones((SIDE, SIDE))], axis=-1
        )
        return np.asarray(local @ self.rotation().T)

    def calibration(self) -> dict[str, Any]:
        """Intrinsic matrix (pixels) and camera-to-car transform (metres), as JSON values."""
        transform = np.eye(4)
        transform[:3, :3] = self.rotation()
        transform[2, 3] = self.height_m
        focal = round(self.focal_px, 6)
        return {
            "width": SIDE,
            "height": SIDE,
            "intrinsics": [[focal, 0.0, SIDE / 2], [0.0, focal, SIDE / 2], [0.0, 0.0, 1.0]],
            "camera_to_car": [[round(float(v), 6) + 0.0 for v in row] for row in transform],
        }


RIG: tuple[Camera, ...] = (
    Camera("front", 0.0),
    Camera("front_left", 60.0),
    Camera("front_right", -60.0),
    Camera("back", 180.0),
    Camera("back_left", 120.0),
    Camera("back_right", -120.0),
)
"""The rig, in the order of the cameras' streams in a document."""


def calibration() -> dict[str, Any]:
    """The rig's calibration file."""
    return {
        "frame": "car: x forward, y left, z up, metres; camera: x right, y down, z forward",
        "cameras": {camera.name: camera.calibration() for camera in RIG},
    }
