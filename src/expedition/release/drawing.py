"""Figures of the technical report as SVG text: a line over steps, and scores with intervals beside chance."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 320, 64, 40, 28
STYLE = "font-family:sans-serif;font-size:12px;fill:#222"
POINTS = 400
"""A longer curve is drawn from the means of so many parts."""

Floats = npt.NDArray[np.float64]


def curve(title: str, x: Floats, y: Floats, x_name: str, y_name: str) -> str:
    """One line; values that are not finite are left out."""
    kept = np.isfinite(y)
    x, y = _thinned(x[kept]), _thinned(y[kept])
    low, high = _range(y)
    right = float(x[-1]) if len(x) else 1.0
    left = float(x[0]) if len(x) else 0.0
    across = WIDTH - LEFT - 16
    horizontal = LEFT + (x - left) / max(right - left, 1e-12) * across
    vertical = _height(y, low, high)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(horizontal, vertical, strict=True))
    body = [f'<polyline points="{points}" fill="none" stroke="#0b5fa5" stroke-width="1.5"/>']
    body += _grid(low, high)
    for value in np.linspace(left, right, 5):
        place = LEFT + (value - left) / max(right - left, 1e-12) * across
        body.append(f'<text x="{place:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{value:,.0f}</text>')
    body.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    return _svg(f"{title} ({y_name})", body)


def scores(title: str, tasks: Sequence[dict[str, Any]]) -> str:
    """A bar with its interval for each accuracy; a dash marks chance."""
    body = _grid(0.0, 1.0)
    step = (WIDTH - LEFT - 16) / max(len(tasks), 1)
    for number, task in enumerate(tasks):
        middle = LEFT + step * (number + 0.5)
        bar, zero, low, high, chance = (
            float(_height(np.asarray(value, dtype=np.float64), 0.0, 1.0))
            for value in (task["value"], 0.0, task["ci_low"], task["ci_high"], task["chance"])
        )
        wide = step * 0.3
        body += [
            f'<rect x="{middle - wide:.1f}" y="{bar:.1f}" width="{2 * wide:.1f}" height="{zero - bar:.1f}" fill="#8ab6d8"/>',
            f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{high:.1f}" y2="{low:.1f}" stroke="#222"/>',
            f'<line x1="{middle - wide * 1.3:.1f}" x2="{middle + wide * 1.3:.1f}" y1="{chance:.1f}" y2="{chance:.1f}" '
            'stroke="#b33" stroke-dasharray="4 3" stroke-width="2"/>',
            f'<text x="{middle:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{escape(str(task["name"]))}</text>',
        ]
    return _svg(title, body)


def _thinned(values: Floats) -> Floats:
    if len(values) <= POINTS:
        return values
    return np.asarray([part.mean() for part in np.array_split(values, POINTS)])


def _range(y: Floats) -> tuple[float, float]:
    if not len(y):
        return 0.0, 1.0
    low, high = min(0.0, float(y.min())), float(y.max())
    return low, high if high > low else low + 1.0


def _height(y: Floats, low: float, high: float) -> Floats:
    return np.asarray(HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP))


def _grid(low: float, high: float) -> list[str]:
    lines = []
    for value in np.linspace(low, high, 5):
        y = float(_height(np.asarray(value), low, high))
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    return lines


def _svg(title: str, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{STYLE}" role="img">'
    name = escape(title)
    return "\n".join([head, f"<title>{name}</title>", f'<text x="{LEFT}" y="16">{name}</text>', *body, "</svg>"]) + "\n"
