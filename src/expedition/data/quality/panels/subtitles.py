"""Histograms of subtitle minus speech or picture time, from the cells that stages count."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

from expedition.data.quality.panels.amounts import VERSION, share
from expedition.data.quality.panels.holdings import Holdings
from expedition.data.quality.panels.panel import Column, Panel

MEASURES: Final = {"alignment_s": "clips", "cue_s": "cues"}
"""Name of the cells in a stage's counts → what they count: clips by their whole shift, cues each by its own."""
CELL: Final = re.compile(rf"(?P<name>{'|'.join(MEASURES)}):(?P<low>[-+.e\d]+|-inf):(?P<high>[-+.e\d]+|inf)")
"""A cell in a stage's counts: measure, seconds from, to."""


def subtitles(held: Holdings) -> Panel:
    """Clips and cues by version and difference. An outer cell is open: its bound is unknown (None)."""
    rows = []
    for version in held.versions:
        sums: Counter[tuple[str, float, float]] = Counter()
        for row in version.report.get("totals") or ():
            for key, count in row["counts"].items():
                found = CELL.fullmatch(key)
                if found:
                    sums[MEASURES[found["name"]], float(found["low"]), float(found["high"])] += int(count)
        totals: Counter[str] = Counter()
        for (measure, _, _), count in sums.items():
            totals[measure] += count
        rows += [
            {
                "version": version.version,
                "measure": measure,
                "from_s": low if math.isfinite(low) else None,
                "to_s": high if math.isfinite(high) else None,
                "count": count,
                "share": share(count, totals[measure]),
            }
            for (measure, low, high), count in sorted(sums.items())
        ]
    return Panel(
        "subtitles",
        "Subtitle time minus speech or picture time",
        "Clips by the shift of their subtitles, and cues each by its own distance to the voice, from (included) to (left "
        "out); negative: the subtitle comes early. Cells have different widths; an outer cell has no bound. Cells with "
        "nothing in them are left out.",
        (
            VERSION,
            Column("measure", "text", "what is counted: clips or cues"),
            Column("from_s", "s"),
            Column("to_s", "s"),
            Column("count", "clips or cues"),
            Column("share", "share", "of all that the version measured so"),
        ),
        tuple(rows),
        "No finished build has measured subtitles: a source of video-text and the stage video_align do.",
    )


def cell_label(low: float | None, high: float | None) -> str:
    """A cell's name for people."""
    if low is None:
        return "any" if high is None else f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g} to {high:g}"
