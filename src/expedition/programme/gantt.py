"""The Gantt chart: for a terminal and as SVG, with the critical path, milestones and what has happened."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from expedition.plan.schedule import SchedulePlan
from expedition.programme.schedule import TaskTimes, day_of, times

WIDTH = 1060
LEFT = 250
ROW = 22
HEAD = 54
COLOURS = {
    "data": "#2f6db5",
    "model": "#7a4fb0",
    "infra": "#3b8f6e",
    "training": "#c0662b",
    "evaluation": "#a43d67",
    "delivery": "#6b6f76",
}


@dataclass(frozen=True, slots=True)
class Actual:
    """What has happened of a task: weeks from the start; `finish` None while it runs."""

    start: float
    finish: float | None


def terminal(plan: SchedulePlan, *, columns: int = 78, slips: dict[str, float] | None = None) -> str:
    """The chart as text: `█` critical, `▓` other tasks, `░` ongoing, `◆` milestones."""
    found = times(plan, slips)
    critical = {name for name, item in found.items() if item.critical}
    ongoing = {task.id for task in plan.tasks if task.ongoing}
    label = 30
    width = max(columns - label, 26)
    end = max(plan.weeks, max(item.early_finish for item in found.values()))

    def column(week: float) -> int:
        return min(width - 1, int(week / end * width))

    ruler = [" "] * width
    for week in range(0, int(end) + 1, 2):
        for offset, character in enumerate(f"{week}"):
            if column(week) + offset < width:
                ruler[column(week) + offset] = character
    lines = ["week".ljust(label) + "".join(ruler).rstrip()]
    for stream in plan.workstreams:
        lines.append(stream.title)
        for task in plan.tasks:
            if task.workstream != stream.id:
                continue
            row = [" "] * width
            fill = "░" if task.id in ongoing else "█" if task.id in critical else "▓"
            first, last = column(found[task.id].early_start), column(found[task.id].early_finish - 1e-6)
            for place in range(first, max(last, first) + 1):
                row[place] = fill
            lines.append(f"  {task.title[: label - 3]}".ljust(label) + "".join(row).rstrip())
    row = [" "] * width
    for milestone in plan.milestones:
        row[column(milestone.week)] = "◆"
    lines.append("milestones".ljust(label) + "".join(row).rstrip())
    return "\n".join(lines)


def svg(plan: SchedulePlan, *, slips: dict[str, float] | None = None, actual: dict[str, Actual] | None = None) -> str:
    """The chart as a self-contained SVG: planned bars, critical path outlined, actual bars below, milestones, dates."""
    found = times(plan, slips)
    critical = {name for name, item in found.items() if item.critical}
    end = max(float(plan.weeks), max(item.early_finish for item in found.values()))
    rows: list[str] = []
    y = HEAD
    for stream in plan.workstreams:
        rows.append(f'<text x="12" y="{y + 15}" class="stream">{escape(stream.title)}</text>')
        y += ROW
        for task in plan.tasks:
            if task.workstream == stream.id:
                done = (actual or {}).get(task.id)
                rows.append(
                    _bar(task.title, found[task.id], y, end, (stream.id, task.ongoing, task.id in critical), done)
                )
                y += ROW
    height = y + 40
    grid = "".join(
        f'<line x1="{_x(week, end):.1f}" y1="{HEAD - 8}" x2="{_x(week, end):.1f}" y2="{y}" class="grid"/>'
        f'<text x="{_x(week, end):.1f}" y="{HEAD - 24}" class="week">W{week}</text>'
        f'<text x="{_x(week, end):.1f}" y="{HEAD - 12}" class="day">{day_of(plan, week):%d %b}</text>'
        for week in range(0, int(end) + 1, 2)
    )
    marks = "".join(
        f'<path d="M {_x(item.week, end):.1f} {y + 4} l 6 7 l -6 7 l -6 -7 z" class="mark">'
        f"<title>{escape(item.id)}: {escape(item.title)}</title></path>"
        f'<text x="{_x(item.week, end):.1f}" y="{y + 30 + (number % 2) * 9}" class="day">{escape(item.id)}</text>'
        for number, item in enumerate(plan.milestones)
    )
    style = (
        "text{font-family:system-ui,sans-serif;fill:currentColor}.stream{font-size:12px;font-weight:600}"
        ".task{font-size:11px}.week{font-size:10px;text-anchor:middle}.day{font-size:8.5px;text-anchor:middle;opacity:.65}"
        ".grid{stroke:currentColor;opacity:.12}.mark{fill:#d33}.critical{stroke:#d33;stroke-width:1.6}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Gantt chart"><style>{style}</style>{grid}{"".join(rows)}{marks}</svg>\n'
    )


def _x(week: float, end: float) -> float:
    return LEFT + week / end * (WIDTH - LEFT - 20)


def _bar(title: str, item: TaskTimes, y: int, end: float, look: tuple[str, bool, bool], done: Actual | None) -> str:
    stream, ongoing, critical = look
    x, width = _x(item.early_start, end), _x(item.early_finish, end) - _x(item.early_start, end)
    colour = COLOURS.get(stream, "#557")
    text = (
        f'<text x="24" y="{y + 14}" class="task">{escape(title)}</text>'
        f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="11" rx="2" fill="{colour}" '
        f'opacity="{0.35 if ongoing else 0.9}"{" class=" + chr(34) + "critical" + chr(34) if critical else ""}>'
        f"<title>{escape(title)}: W{item.early_start:g} to W{item.early_finish:g}, float {item.total_float:g} weeks"
        f"</title></rect>"
    )
    if done is not None:
        finish = done.finish if done.finish is not None else end
        text += (
            f'<rect x="{_x(done.start, end):.1f}" y="{y + 16}" width="{max(_x(finish, end) - _x(done.start, end), 1.5):.1f}" '
            f'height="3" fill="currentColor" opacity=".6"><title>actual</title></rect>'
        )
    return text
