"""A car's way as action tokens: steering and speed in 256 bins over stated ranges, and back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from expedition.data.decode.piece import Refused
from expedition.data.decode.reasons import Reason

BINS: Final = 256
_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "t": ("t_s", "t", "time", "time_s", "timestamp", "timestamp_s", "seconds"),
    "x": ("x_m", "x", "px", "pos_x", "position_x"),
    "y": ("y_m", "y", "py", "pos_y", "position_y"),
    "heading": ("heading_rad", "heading", "yaw", "yaw_rad", "theta"),
    "speed": ("speed_m_per_s", "speed", "v", "velocity", "speed_mps"),
    "curvature": ("curvature_per_m", "curvature", "kappa"),
}
_MAX_POINTS = 100_000


@dataclass(frozen=True, slots=True)
class Quantity:
    """One action dimension: name with unit, and the range that its 256 bins cover."""

    name: str
    low: float
    high: float

    def bin(self, value: float) -> int:
        """Number of the bin that holds `value`; values outside the range go to the nearest bin."""
        place = math.floor((value - self.low) / (self.high - self.low) * BINS)
        return min(max(place, 0), BINS - 1)

    def value(self, number: int) -> float:
        """Middle of bin `number`: within half a bin of every value of the range that the bin holds."""
        return self.low + (number + 0.5) / BINS * (self.high - self.low)


CURVATURE: Final = Quantity("curvature_per_m", -0.2, 0.2)
SPEED: Final = Quantity("speed_m_per_s", 0.0, 40.0)


@dataclass(frozen=True, slots=True)
class ActionCode:
    """How a trajectory becomes numbers: the quantities of one step, in order, and the seconds of a step."""

    quantities: tuple[Quantity, ...] = (CURVATURE, SPEED)
    step_s: float = 0.5
    max_steps: int = 64

    def encode(self, steps: Sequence[Mapping[str, float]]) -> list[int]:
        """Bins of each step's quantities, step after step."""
        return [quantity.bin(step[quantity.name]) for step in steps for quantity in self.quantities]

    def decode(self, bins: Sequence[int]) -> list[dict[str, float]]:
        """Quantities of each step from their bins; the bins of an unfinished last step are left out."""
        width = len(self.quantities)
        return [
            {quantity.name: quantity.value(bins[at + i]) for i, quantity in enumerate(self.quantities)}
            for at in range(0, len(bins) - width + 1, width)
        ]

    def described(self) -> dict[str, Any]:
        """The code as JSON, for a document's meta."""
        return {
            "bins": BINS,
            "step_s": self.step_s,
            "order": [quantity.name for quantity in self.quantities],
            "ranges": {quantity.name: [quantity.low, quantity.high] for quantity in self.quantities},
        }


def actions_of(value: Any, code: ActionCode | None = None) -> tuple[list[int], ActionCode]:
    """Action bins of a trajectory file's JSON value, and the code they are in.

    A file that brings its own bins with stated ranges keeps them; else speed and curvature are taken, or derived
    from the way points, at the code's step. Raises Refused(MISSING_FIELD | WRONG_TYPE | CORRUPT).
    """
    code = code or ActionCode()
    if isinstance(value, Mapping) and isinstance(value.get("action_bins"), Mapping) and "actions" in value:
        return _stated(value, code)
    points = _points(value)
    if len(points) < 2 and not (points and {"speed", "curvature"} <= points[0].keys()):
        raise Refused(Reason.MISSING_FIELD, f"{len(points)} way points")
    steps = _steps(points, code)
    if any(not math.isfinite(number) for step in steps for number in step.values()):
        raise Refused(Reason.CORRUPT, "a way point is not finite")
    return code.encode(steps), code


def trajectory_rows(text: str) -> list[dict[str, str]]:
    """Rows of a trajectory in CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def _stated(value: Mapping[str, Any], code: ActionCode) -> tuple[list[int], ActionCode]:
    actions, stated = value["actions"], value["action_bins"]
    ranges, order = stated.get("ranges", {}), stated.get("order", [])
    if stated.get("bins") != BINS or not isinstance(actions, list) or not isinstance(order, list):
        raise Refused(Reason.WRONG_TYPE, f"{stated.get('bins')} action bins, {BINS} tokens")
    if not all(isinstance(number, int) and 0 <= number < BINS for number in actions):
        raise Refused(Reason.WRONG_TYPE, "an action is no bin number")
    try:
        quantities = tuple(Quantity(str(name), float(ranges[name][0]), float(ranges[name][1])) for name in order)
    except (KeyError, TypeError, ValueError, IndexError):
        raise Refused(Reason.MISSING_FIELD, "action bins without ranges") from None
    points = value.get("points")
    times = [row.get("t_s") for row in points if isinstance(row, Mapping)] if isinstance(points, list) else []
    step = times[0] if times and isinstance(times[0], int | float) and times[0] > 0 else code.step_s
    return list(actions), ActionCode(quantities, float(step), code.max_steps)


def _points(value: Any) -> list[dict[str, float]]:
    rows = value
    if isinstance(value, Mapping):
        rows = next(
            (value[key] for key in ("points", "trajectory", "waypoints", "poses", "states") if key in value), None
        )
    if not isinstance(rows, list):
        raise Refused(Reason.MISSING_FIELD, "no list of way points")
    return [_point(row, number) for number, row in enumerate(rows[:_MAX_POINTS])]


def _point(row: Any, number: int) -> dict[str, float]:
    if isinstance(row, list | tuple) and 2 <= len(row) <= 6:
        named = dict(zip(("t", "x", "y", "heading") if len(row) > 2 else ("x", "y"), row, strict=False))
    elif isinstance(row, Mapping):
        named = {key: next((row[name] for name in names if name in row), None) for key, names in _NAMES.items()}
    else:
        raise Refused(Reason.WRONG_TYPE, f"way point {number}")
    try:
        point = {key: float(item) for key, item in named.items() if item is not None}
    except (TypeError, ValueError):
        raise Refused(Reason.WRONG_TYPE, f"way point {number} is not a number") from None
    if not {"x", "y"} <= point.keys() and not {"speed", "curvature"} <= point.keys():
        raise Refused(Reason.MISSING_FIELD, f"way point {number} has neither a place nor speed and curvature")
    return point


def _steps(points: list[dict[str, float]], code: ActionCode) -> list[dict[str, float]]:
    """Curvature and speed at the code's step; dense way points are thinned."""
    timed = [{**point, "t": point.get("t", number * code.step_s)} for number, point in enumerate(points)]
    timed.sort(key=lambda point: point["t"])
    chosen, due = [], -math.inf
    for point in timed:
        if point["t"] + 1e-6 >= due:
            chosen.append(point)
            due = point["t"] + code.step_s
    steps = []
    for number, point in enumerate(chosen[: code.max_steps + 1]):
        if {"speed", "curvature"} <= point.keys():
            steps.append({SPEED.name: point["speed"], CURVATURE.name: point["curvature"]})
        elif number:
            steps.append(_between(chosen, number))
    return steps[: code.max_steps]


def _between(points: list[dict[str, float]], number: int) -> dict[str, float]:
    before, point = points[number - 1], points[number]
    distance = math.hypot(point["x"] - before["x"], point["y"] - before["y"])
    seconds = max(point["t"] - before["t"], 1e-3)
    turned = _heading(points, number) - _heading(points, number - 1)
    turned = (turned + math.pi) % (2 * math.pi) - math.pi
    curvature = point.get("curvature", turned / distance if distance > 0.05 else 0.0)
    return {SPEED.name: point.get("speed", distance / seconds), CURVATURE.name: curvature}


def _heading(points: list[dict[str, float]], number: int) -> float:
    if "heading" in points[number]:
        return points[number]["heading"]
    first, second = points[max(number - 1, 0)], points[max(number, 1)]
    return math.atan2(second["y"] - first["y"], second["x"] - first["x"])
