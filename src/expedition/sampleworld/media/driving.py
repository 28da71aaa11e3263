"""Drives: a road that bends or not, something on it or not, seen by six cameras; what the car does follows from that.

The action of a drive is decided by what is visible alone: the bend of the lane gives the steering, a box ahead makes
the car slow down and stop. The land and the sign beside the road decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from expedition.sampleworld.media.cameras import RIG, SIDE, Camera, Vectors
from expedition.sampleworld.media.pictures import Picture
from expedition.sampleworld.world import COLOURS

FRAMES = 4
FRAMES_PER_S = 4
STEPS = 4
"""Future steps of the trajectory that are actions."""
STEP_S = 0.5
"""Seconds of one step."""

BENDS: dict[str, float] = {"left": 0.06, "straight": 0.0, "right": -0.06}
"""Curvature of the lane, 1/metre, positive to the left."""

CRUISE_M_PER_S = 8.0
BRAKING: tuple[float, ...] = (6.0, 4.0, 2.0, 0.0)
"""Speed at each step when something stands on the road, metres a second."""

BINS = 256
RANGES: dict[str, tuple[float, float]] = {"curvature_per_m": (-0.1, 0.1), "speed_m_per_s": (0.0, 15.0)}
"""Range of each quantity over the 256 action bins."""

_ROAD_HALF_M = 3.5
_GROUNDS = {"meadow": (96, 168, 84), "desert": (186, 160, 92), "snow": (226, 230, 236)}


@dataclass(frozen=True, slots=True)
class Drive:
    """One scene."""

    bend: str
    blocked: bool
    land: str
    sign: str
    """Colour of the sign beside the road."""

    @property
    def description(self) -> str:
        """What is said about the scene: nothing that decides the actions."""
        return f"a {self.land} drive past a {self.sign} sign"


@dataclass(frozen=True, slots=True)
class _Variation:
    """What differs between two drives of the same description: never the action."""

    offset_m: float
    box_m: float
    sign_m: float
    shade: float
    speed_m_per_s: float


def drive(rng: np.random.Generator, number: int) -> Drive:
    """Drive `number`: bends and blocked roads come round evenly, the rest is random."""
    bend = list(BENDS)[number % 3]
    return Drive(
        bend=bend,
        blocked=bool(number // 3 % 2),
        land=list(_GROUNDS)[int(rng.integers(3))],
        sign=[c for c in COLOURS if c != "orange"][int(rng.integers(5))],
    )


def film(scene: Drive, rng: np.random.Generator) -> dict[str, list[Picture]]:
    """Four frames of each of the six cameras, by camera name."""
    varied = _Variation(
        offset_m=float(rng.uniform(-0.5, 0.5)),
        box_m=float(rng.uniform(7, 8.5)),
        sign_m=float(rng.uniform(8, 14)),
        shade=float(rng.uniform(0.9, 1.05)),
        speed_m_per_s=float(rng.uniform(1.5, 2.5)),
    )
    frames: dict[str, list[Picture]] = {}
    for camera in RIG:
        rays = camera.rays()
        frames[camera.name] = [
            _render(camera, rays, scene, varied, number / FRAMES_PER_S, rng) for number in range(FRAMES)
        ]
    return frames


def actions(scene: Drive) -> list[int]:
    """Action bins of the next four half seconds: steering, speed, steering, speed, …"""
    bins = []
    for speed in _speeds(scene):
        bins += [action_bin("curvature_per_m", BENDS[scene.bend]), action_bin("speed_m_per_s", speed)]
    return bins


def action_bin(quantity: str, value: float) -> int:
    """Number of the bin, 0..255, that holds `value`; values outside the range go to the nearest bin."""
    low, high = RANGES[quantity]
    return int(np.clip(np.floor((value - low) / (high - low) * BINS), 0, BINS - 1))


def trajectory(scene: Drive) -> dict[str, Any]:
    """The trajectory file: way points by time in the car's frame, and their action bins."""
    points, x, y, heading = [], 0.0, 0.0, 0.0
    curvature = BENDS[scene.bend]
    for number, speed in enumerate(_speeds(scene), start=1):
        heading += curvature * speed * STEP_S
        x += float(np.cos(heading)) * speed * STEP_S
        y += float(np.sin(heading)) * speed * STEP_S
        points.append(
            {
                "t_s": number * STEP_S,
                "x_m": round(x, 4),
                "y_m": round(y, 4),
                "heading_rad": round(heading, 4),
                "speed_m_per_s": speed,
                "curvature_per_m": curvature,
            }
        )
    return {
        "description": scene.description,
        "frame": "car at the last video frame: x forward, y left, metres",
        "points": points,
        "action_bins": {"bins": BINS, "order": list(RANGES), "ranges": {k: list(v) for k, v in RANGES.items()}},
        "actions": actions(scene),
    }


def _speeds(scene: Drive) -> tuple[float, ...]:
    return BRAKING if scene.blocked else (CRUISE_M_PER_S,) * STEPS


def _render(
    camera: Camera, rays: Vectors, scene: Drive, varied: _Variation, time_s: float, rng: np.random.Generator
) -> Picture:
    """One picture: sky above the horizon, ground by its distance from the lane's middle, then what stands upright."""
    down = np.minimum(rays[..., 2], -1e-3)
    reach = camera.height_m / -down
    x, y = rays[..., 0] * reach, rays[..., 1] * reach
    travelled = varied.speed_m_per_s * time_s
    colours = _ground(x, y, scene, varied, travelled)
    sky = rays[..., 2] > -0.02
    colours[sky] = (150, 190, 235)
    sign_at = _beside_lane(varied.sign_m - travelled, scene, varied, _ROAD_HALF_M + 1.5)
    _upright(colours, camera, rays, sign_at, 1.6, COLOURS[scene.sign])
    if scene.blocked:
        box_at = _beside_lane(varied.box_m - travelled, scene, varied, 0.0)
        _upright(colours, camera, rays, box_at, 2.6, COLOURS["orange"])
    grain = rng.normal(0, 3, size=(SIDE, SIDE, 1))
    return np.clip(colours * varied.shade + grain, 0, 255).astype(np.uint8)


def _ground(x: Vectors, y: Vectors, scene: Drive, varied: _Variation, travelled: float) -> Vectors:
    curvature = BENDS[scene.bend]
    if curvature:
        radius = 1 / curvature
        centre_y = radius + varied.offset_m
        aside = radius - np.sign(radius) * np.hypot(x, y - centre_y)
        along = np.arctan2(x, np.sign(radius) * (centre_y - y)) * abs(radius)
    else:
        aside, along = y - varied.offset_m, x
    colours = np.empty((*x.shape, 3))
    colours[:] = _GROUNDS[scene.land]
    road = np.abs(aside) < _ROAD_HALF_M
    colours[road] = (88, 88, 94)
    edge = np.abs(np.abs(aside) - _ROAD_HALF_M + 0.3) < 0.25
    dash = (np.abs(aside) < 0.2) & (np.mod(along + travelled, 4.0) < 2.0)
    colours[edge | dash] = (246, 246, 240)
    return colours


def _beside_lane(ahead_m: float, scene: Drive, varied: _Variation, aside_m: float) -> tuple[float, float]:
    """Ground point `ahead_m` along the lane and `aside_m` to the right of its middle."""
    curvature = BENDS[scene.bend]
    angle = curvature * ahead_m
    if curvature:
        x, y = np.sin(angle) / curvature, (1 - np.cos(angle)) / curvature
    else:
        x, y = ahead_m, 0.0
    return float(x + aside_m * np.sin(angle)), float(y + varied.offset_m - aside_m * np.cos(angle))


def _upright(
    colours: Vectors, camera: Camera, rays: Vectors, at: tuple[float, float], size_m: float, ink: tuple[int, int, int]
) -> None:
    """Paint a square panel that stands on the ground at `at` and faces the car, `size_m` wide and high."""
    distance = float(np.hypot(*at))
    if distance < 1.0:
        return
    towards = np.asarray(at) / distance
    closing = rays[..., 0] * towards[0] + rays[..., 1] * towards[1]
    safe = np.maximum(closing, 1e-6)
    scale = distance / safe
    across = (rays[..., 0] * -towards[1] + rays[..., 1] * towards[0]) * scale
    height = camera.height_m + rays[..., 2] * scale
    hit = (closing > 1e-6) & (np.abs(across) < size_m / 2) & (height > 0) & (height < size_m)
    colours[hit] = ink
