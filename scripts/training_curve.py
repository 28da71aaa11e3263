"""Draw a run's loss by modality with its attempts marked: scripts/training_curve.py WORKSPACE RUN FILE.svg

Every attempt's rows are drawn, also those that a later attempt did again (thin), so that a resumed run can be checked by
eye: where a line is done twice, the two lie on each other. Figures are means over `--window` steps of the steps that have
the modality.
"""

from __future__ import annotations

import argparse
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.watch.segments import attempts, read_metrics
from expedition.workspace import Workspace

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 420, 56, 150, 30, 44
COLOURS = ("#222222", "#0b5fa5", "#b3541e", "#2e7d32", "#8e24aa", "#c0392b", "#00838f", "#827717", "#5d4037", "#455a64")
Floats = npt.NDArray[np.float64]


def series(columns: dict[str, npt.NDArray[Any]], name: str, window: int) -> tuple[Floats, Floats]:
    """(steps, means): each over `window` of the steps that have the value."""
    values = np.asarray(columns.get(name, []), dtype=np.float64)
    steps = np.asarray(columns["step"], dtype=np.float64)[: len(values)]
    kept = np.isfinite(values)
    steps, values = steps[kept], values[kept]
    parts = max(1, len(values) // window)
    if not len(values):
        return steps, values
    split = zip(np.array_split(steps, parts), np.array_split(values, parts), strict=True)
    means = [(float(a.mean()), float(b.mean())) for a, b in split]
    return np.asarray([mean[0] for mean in means]), np.asarray([mean[1] for mean in means])


def draw(ws: Workspace, run: str, window: int) -> str:
    """The picture as SVG text."""
    final = read_metrics(ws, run)
    names = ["loss", *sorted(name for name in final if name.startswith("loss/"))]
    every = [read_metrics(ws, run, attempt=attempt.number) for attempt in attempts(ws, run)]
    last = max(float(columns["step"].max()) for columns in every if len(columns["step"]))
    top = max(float(np.nanmax(columns[name])) for columns in every for name in names if name in columns)

    def x(step: Any) -> Any:
        return LEFT + step / max(last, 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: Any) -> Any:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)

    body = []
    for value in np.linspace(0, top, 6):
        body.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        body.append(f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    for value in np.linspace(0, last, 7):
        body.append(f'<text x="{x(value):.1f}" y="{HEIGHT - 24}" text-anchor="middle">{value:.0f}</text>')
    body.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">step</text>')
    for number, columns in enumerate(every, start=1):
        first = float(columns["step"].min())
        body.append(
            f'<line x1="{x(first):.1f}" x2="{x(first):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#888" '
            f'stroke-dasharray="4 3"/><text x="{x(first) + 3:.1f}" y="{TOP + 10}">attempt {number}</text>'
        )
        for colour, name in zip(COLOURS, names, strict=False):
            steps, values = series(columns, name, window)
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x(steps), y(values), strict=True))
            width = 2.4 if name == "loss" else 1.2
            body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    for row, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
        at = TOP + 12 + 18 * row
        body.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{at - 9}" width="14" height="4" fill="{colour}"/>')
        label = "all" if name == "loss" else name.removeprefix("loss/")
        body.append(f'<text x="{WIDTH - RIGHT + 32}" y="{at - 3}">{escape(label)}</text>')
    title = f"Run {run}: loss by modality, nats a token"
    style = "font-family:sans-serif;font-size:12px;fill:#222;background:#fff"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{style}" role="img">'
    return (
        "\n".join([head, f"<title>{title}</title>", f'<text x="{LEFT}" y="16">{title}</text>', *body, "</svg>"]) + "\n"
    )


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("run")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--window", type=int, default=3)
    options = parser.parse_args()
    options.picture.write_text(draw(Workspace.open(options.workspace), options.run, options.window))


if __name__ == "__main__":
    main()
