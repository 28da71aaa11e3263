"""Panels → ECharts options: pure. Amounts start at zero, every axis says its unit, and what is unknown is a gap.

Names from data stand in options as text; tooltips are drawn as text (`richText`), so no name is ever markup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from expedition.data.quality.panels.languages import GROUPS, group_title
from expedition.data.quality.panels.safety import ALL
from expedition.data.quality.panels.subtitles import cell_label

Options = dict[str, Any]
Row = Mapping[str, Any]

PALETTE: Final = ("#3b82c4", "#d9822b", "#2a9d76", "#a35fb5", "#c84b4b", "#3aa6b9", "#8c8a3a", "#7a6ee0", "#b0708a")
GREY: Final = "#8b929c"
LOST: Final = "#c84b4b"
GROUP_COLOURS: Final = dict(zip(GROUPS, (PALETTE[0], PALETTE[1], PALETTE[2], GREY), strict=True))
FONT: Final = "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
INK: Final = "#101820"
"""Colour of text on the card: the style sheet puts the theme's own in its place. Tooltips keep theirs."""
LINE: Final = "rgba(128,136,148,0.28)"
MOST_SERIES: Final = 8
"""Sources drawn apart; the others are one more, and the data has them all."""
MOST_SLICES: Final = 14
OTHERS: Final = "others"


def planned_against_achieved(rows: Sequence[Row]) -> Options:
    """Two bars a kind, in percent."""
    names = [str(row["kind"]) for row in rows]
    options = _bars(names, "share of expanded tokens, %", horizontal=True)
    options["series"] = [
        _bar("planned", [_percent(row["planned_share"]) for row in rows], GREY),
        _bar("achieved", [_percent(row["achieved_share"]) for row in rows], PALETTE[0]),
    ]
    return options


def sources_by_version(rows: Sequence[Row], *, shares: bool) -> Options:
    """A column a version, stacked by source."""
    field = "share" if shares else "expanded_tokens"
    versions = list(dict.fromkeys(str(row["version"]) for row in rows))
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        sums[str(row["source"])][str(row["version"])] += row[field] or 0
    ranked = sorted(sums, key=lambda name: (-sum(sums[name].values()), name))
    apart = ranked[:MOST_SERIES] if len(ranked) > MOST_SERIES + 1 else ranked
    series = [(name, sums[name]) for name in apart]
    if len(apart) < len(ranked):
        rest = {version: sum(sums[name][version] for name in ranked[len(apart) :]) for version in versions}
        series.append((f"{len(ranked) - len(apart)} {OTHERS}", rest))
    options = _bars(versions, "share of the version, %" if shares else "expanded tokens", horizontal=False)
    options["yAxis"] |= {"max": 100} if shares else {}
    options["series"] = [
        _bar(
            name,
            [_percent(by[version]) if shares else by[version] for version in versions],
            PALETTE[n % len(PALETTE)] if n < len(apart) else GREY,
            stack="all",
        )
        for n, (name, by) in enumerate(series)
    ]
    return options


def language_groups(rows: Sequence[Row]) -> Options:
    """A pie of large languages, dialects, minority languages and the undetermined."""
    sums = {group: sum(row["expanded_tokens"] for row in rows if row["group"] == group) for group in GROUPS}
    counts = {group: sum(row["group"] == group for row in rows) for group in GROUPS}
    slices = [
        {"name": f"{group_title(group)} ({counts[group]})", "value": tokens, "group": group,
         "itemStyle": {"color": GROUP_COLOURS[group]}}
        for group, tokens in sums.items()
        if counts[group]
    ]  # fmt: skip
    return _pie("languages", slices)


def languages_of(rows: Sequence[Row], group: str) -> Options:
    """A pie of the languages of one group, of the group's own tokens."""
    mine = [row for row in rows if row["group"] == group]
    slices = [
        {"name": str(row["language"]), "value": row["expanded_tokens"], "language": row["language"],
         "itemStyle": {"color": PALETTE[n % len(PALETTE)]}}
        for n, row in enumerate(mine[:MOST_SLICES])
    ]  # fmt: skip
    if len(mine) > MOST_SLICES:
        rest = sum(row["expanded_tokens"] for row in mine[MOST_SLICES:])
        slices.append({"name": f"{len(mine) - MOST_SLICES} {OTHERS}", "value": rest, "itemStyle": {"color": GREY}})
    return _pie(group_title(group), slices)


def rates_over_time(rows: Sequence[Row], source: str = ALL) -> Options:
    """Two lines over versions in build order, in percent; a gap where a build had no such stage."""
    mine = [row for row in rows if row["source"] == source]
    names = [_dated(row) for row in mine]
    options = _bars(names, "share of documents, %", horizontal=False)
    options["series"] = [
        {
            "name": name,
            "type": "line",
            "data": [_percent(row[field]) for row in mine],
            "symbol": symbol,
            "symbolSize": 9,
            "connectNulls": False,
            "lineStyle": {"width": 2},
            "itemStyle": {"color": colour},
        }
        for name, field, colour, symbol in (
            ("personal data", "pii_rate", PALETTE[3], "circle"),
            ("toxicity", "toxicity_rate", PALETTE[4], "diamond"),
        )
    ]
    return options


def findings_by_type(rows: Sequence[Row]) -> Options:
    """Occurrences per 1,000 documents, a bar a type."""
    named = [f"{row['finding']} · {row['stage']}" for row in rows]
    options = _bars(named, "per 1,000 documents", horizontal=True)
    options["legend"] = {"show": False}
    options["grid"]["top"] = 8
    options["series"] = [_bar("per 1,000 documents", [row["per_1000_documents"] for row in rows], PALETTE[3])]
    return options


def difference_histogram(rows: Sequence[Row]) -> Options:
    """Clips or cues by cell in order. Cells that nothing fell into are drawn as empty, so that the axis has no hole."""
    cells: list[tuple[str, int]] = []
    last: float | None = None
    for row in rows:
        if cells and last is not None and row["from_s"] is not None and row["from_s"] > last:
            cells.append((cell_label(last, row["from_s"]), 0))
        cells.append((cell_label(row["from_s"], row["to_s"]), row["count"]))
        last = row["to_s"]
    options = _bars([label for label, _ in cells], str(rows[0]["measure"]), horizontal=False)
    options["xAxis"] |= {
        "name": "subtitle minus speech or picture, s",
        "nameLocation": "middle",
        "nameGap": 28,
        "nameTextStyle": {"color": INK},
    }
    options["grid"] |= {"top": 36, "bottom": 40}
    options["legend"] = {"show": False}
    options["series"] = [_bar(str(rows[0]["measure"]), [count for _, count in cells], PALETTE[5]) | {"label": _ON_TOP}]
    return options


def stage_funnel(rows: Sequence[Row]) -> Options:
    """A bar a stage: documents that it kept and that it dropped, in the order of stages."""
    options = _bars([str(row["stage"]) for row in rows], "documents", horizontal=True)
    options["series"] = [
        _bar("kept", [row["kept"] for row in rows], PALETTE[2], stack="all"),
        _bar("dropped", [row["dropped"] for row in rows], LOST, stack="all")
        | {"label": {"show": True, "position": "right", "color": INK, ":formatter": _IF_ANY_DROPPED}},
    ]
    options["grid"]["right"] = 92
    return options


def _bars(names: list[str], unit: str, *, horizontal: bool) -> Options:
    """Axes for bars over `names`; amounts from zero."""
    category: Options = {
        "type": "category",
        "data": names,
        "axisTick": {"show": False},
        "axisLine": {"lineStyle": {"color": LINE}},
        "axisLabel": {
            "interval": 0,
            "hideOverlap": not horizontal,
            "width": 150,
            "overflow": "truncate",
            "color": INK,
        },
    }
    amount: Options = {
        "type": "value",
        "min": 0,
        "name": unit,
        "nameLocation": "end" if not horizontal else "middle",
        "nameGap": 12 if not horizontal else 26,
        "nameTextStyle": {"color": INK, **({} if horizontal else {"align": "left"})},
        "splitLine": {"lineStyle": {"color": LINE}},
        "axisLabel": {"hideOverlap": True, "color": INK, ":formatter": _SHORT_NUMBER},
    }
    if horizontal:
        category["inverse"] = True
    return {
        **_base(),
        "tooltip": {**_TOOLTIP, "trigger": "axis", "axisPointer": {"type": "shadow"}},
        "grid": {
            "left": 16,
            "right": 22,
            "top": 36 if horizontal else 62,
            "bottom": 30 if horizontal else 8,
            "containLabel": True,
        },
        "xAxis": amount if horizontal else category,
        "yAxis": category if horizontal else amount,
    }


def _bar(name: str, values: list[Any], colour: str, stack: str | None = None) -> Options:
    made: Options = {
        "name": name,
        "type": "bar",
        "data": values,
        "itemStyle": {"color": colour},
        "barMaxWidth": 34,
        "cursor": "pointer",
    }
    return made if stack is None else {**made, "stack": stack}


def _pie(name: str, slices: list[Options]) -> Options:
    return {
        **_base(),
        "tooltip": {**_TOOLTIP, "trigger": "item"},
        "legend": {"show": False},
        "series": [
            {
                "name": name,
                "type": "pie",
                "radius": ["36%", "64%"],
                "center": ["50%", "52%"],
                "data": slices,
                "minAngle": 0,
                "label": {"formatter": "{b}\n{d} %", "overflow": "break", "width": 92, "color": INK},
                "labelLine": {"length": 8, "length2": 8},
                "avoidLabelOverlap": True,
            }
        ],
    }


_SHORT_NUMBER: Final = (
    "v => Math.abs(v) >= 1e12 ? v / 1e12 + ' T' : Math.abs(v) >= 1e9 ? v / 1e9 + ' G' : "
    "Math.abs(v) >= 1e6 ? v / 1e6 + ' M' : Math.abs(v) >= 1e4 ? v / 1e3 + ' k' : String(v)"
)
_IF_ANY_DROPPED: Final = "p => p.value ? p.value.toLocaleString('en') + ' dropped' : ''"
_ON_TOP: Final = {
    "show": True,
    "position": "top",
    "color": INK,
    ":formatter": "p => p.value ? p.value.toLocaleString('en') : ''",
}
_TOOLTIP: Final = {
    "renderMode": "richText",
    "confine": True,
    ":valueFormatter": "v => v == null ? 'unknown' : Number(v).toLocaleString('en', {maximumFractionDigits: 4})",
}


def _base() -> Options:
    return {
        "animation": False,
        "aria": {"enabled": True},
        "color": list(PALETTE),
        "textStyle": {"fontFamily": FONT},
        "legend": {
            "top": 0,
            "left": 0,
            "itemWidth": 12,
            "itemHeight": 12,
            "itemGap": 16,
            "textStyle": {"color": INK},
            "pageTextStyle": {"color": INK},
            "pageIconColor": GREY,
            "type": "scroll",
        },
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 4)


def _dated(row: Row) -> str:
    return f"{row['version']}\n{row['built_at'][:10]}" if row["built_at"] else str(row["version"])


def chart_height(panel_rows: int, least: int = 220, a_row: int = 26) -> int:
    """Height in pixels of a chart with a bar a row."""
    return max(least, 80 + a_row * panel_rows)
