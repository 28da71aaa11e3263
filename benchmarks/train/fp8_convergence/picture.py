"""Curves as SVG: losses above, differences with their intervals below; the stress test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from benchmarks.train.fp8_convergence.arms import TITLES

COLOURS = ("#1f4e8c", "#c2571a", "#2a7d4f", "#8a3f8f", "#555555")
WIDTH, HEIGHT, LEFT, RIGHT = 940, 250, 64, 220


@dataclass(frozen=True, slots=True)
class Line:
    """A curve, with a band where `half` is given."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    half: Sequence[float | None] | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. `limits` cuts y; `marks` are dashed levels."""

    title: str
    lines: Sequence[Line]
    limits: tuple[float, float]
    marks: Sequence[float] = ()
    suffix: str = ""

    def draw(self, top: int) -> str:
        """The panel's elements, `top` pixels down."""
        low, high = self.limits
        right = max(max(line.x) for line in self.lines)

        def at(x: float, y: float) -> str:
            inside = (min(max(y, low), high) - low) / (high - low)
            return f"{LEFT + x / right * (WIDTH - LEFT - RIGHT):.1f},{top + HEIGHT - 30 - inside * (HEIGHT - 60):.1f}"

        parts = [f'<text x="{LEFT}" y="{top + 18}" class="t">{escape(self.title)}</text>']
        for level in [low + step * (high - low) / 4 for step in range(5)]:
            (x1, y1), (x2, _) = (point.split(",") for point in (at(0, level), at(right, level)))
            parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y1}" class="g"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{float(y1) + 4:.1f}" class="y">{level:.4g}{self.suffix}</text>')
        for tick in range(0, 5):
            x = right * tick / 4
            parts.append(f'<text x="{at(x, low).split(",")[0]}" y="{top + HEIGHT - 14}" class="x">{x:.0f}</text>')
        for level in self.marks:
            parts.append(f'<polyline points="{at(0, level)} {at(right, level)}" class="m"/>')
        for number, line in enumerate(self.lines):
            colour = line.colour
            if line.half is not None and all(half is not None for half in line.half):
                halves = [half or 0.0 for half in line.half]
                above = [at(x, y + h) for x, y, h in zip(line.x, line.y, halves, strict=True)]
                below = [at(x, y - h) for x, y, h in zip(line.x, line.y, halves, strict=True)]
                parts.append(f'<polygon points="{" ".join(above + below[::-1])}" fill="{colour}" opacity="0.15"/>')
            points = " ".join(at(x, y) for x, y in zip(line.x, line.y, strict=True))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
            text = f'x="{WIDTH - RIGHT + 10}" y="{top + 40 + 18 * number}" style="fill:{colour}"'
            parts.append(f"<text {text}>{escape(line.title)}</text>")
        return "\n".join(parts)


def picture(panels: Sequence[Panel], about: str) -> str:
    """Panels one below the other."""
    style = (
        "text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.y{text-anchor:end}.x{text-anchor:middle}"
        ".g{stroke:#ddd}.m{stroke:#999;stroke-dasharray:5 4;fill:none}"
    )
    height = HEIGHT * len(panels)
    drawn = "\n".join(panel.draw(HEIGHT * number) for number, panel in enumerate(panels))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    back = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return f"{head}<title>{escape(about)}</title><style>{style}</style>{back}\n{drawn}</svg>\n"


def draw_curves(results: Mapping[str, Any]) -> str:
    """Loss by step, and the relative difference to bf16 with its interval over seeds."""
    window, arms = results["window"], results["arms"]
    steps = [window * (number + 0.5) for number in range(len(next(iter(arms.values()))["curve"]))]
    colours = dict(zip(TITLES, COLOURS, strict=False))
    losses = [Line(TITLES[arm], steps, entry["curve"], colours[arm]) for arm, entry in arms.items()]
    panels = [Panel(f"Loss in nats by step, means of {window} steps and of seeds", losses, _limits(losses))]
    apart = [
        Line(
            TITLES[arm], steps, [100 * value for value in entry["difference_curve"]], colours[arm],
            [None if half is None else 100 * half for half in entry["half_width_curve"]],
        )
        for arm, entry in arms.items()
        if "difference_curve" in entry
    ]  # fmt: skip
    if apart:
        title = "Difference to bf16 of the same seed, 95 % interval over seeds; dashed: ±0.5 %"
        panels.append(Panel(title, apart, (-2.0, 2.0), marks=(-0.5, 0.5), suffix=" %"))
    return picture(panels, "FP8 against bf16")


def draw_stress(stress: Mapping[str, Any]) -> str:
    """Loss of the arms while outliers grow, and what underflows."""
    arms = list(zip(stress["arms"].values(), COLOURS, strict=False))
    lines = [Line(arm["title"], list(range(len(arm["losses"]))), arm["losses"], colour) for arm, colour in arms]
    loss = Panel("Loss in nats while the outliers grow", lines, _limits(lines))
    shares = [
        Line(
            arm["title"],
            [row["step"] for row in arm["counted"]],
            [100 * row["worst"] for row in arm["counted"]],
            colour,
        )
        for arm, colour in arms
        if arm["counted"]
    ]
    title = "Values that FP8 rounds to zero: the worst layer's share"
    return picture([loss, *([Panel(title, shares, (0.0, 100.0), suffix=" %")] if shares else [])], "Forced outliers")


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """From the smallest value to the largest of the last nine tenths of the steps."""
    late = [value for line in lines for value in line.y[len(line.y) // 10 :]]
    low, high = min(late), max(late)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)
