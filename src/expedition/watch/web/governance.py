"""The page of data governance: what is in the data, what is planned, what was found and left out, and who allowed it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from nicegui import ui

from expedition.data.quality.panels import PANELS, Column, Holdings, Panel
from expedition.data.quality.panels.funnel import CHANGED, UNLISTED
from expedition.data.quality.panels.languages import GROUPS, group_title
from expedition.data.quality.panels.records import changed_examples, dropped_examples, kept_examples
from expedition.data.quality.panels.safety import ALL
from expedition.data.quality.panels.subtitles import MEASURES
from expedition.watch.web import charts
from expedition.watch.web.figure import Card, Chart, Table, card, of_version
from expedition.watch.web.frame import Frame, duration
from expedition.watch.web.records import Records

if TYPE_CHECKING:
    from expedition.watch.web.feed import Reading

_NOTHING = Holdings("1970-01-01T00:00:00Z", (), None, (), (), (), (), (), None)
ALL_LANGUAGES = "all groups"
TILES = 8
"""Figures in the line on top."""


def draw(frame: Frame) -> None:
    """Draw the page into the frame's grid."""
    records = Records(frame)
    _now(frame)
    _amounts(frame, records)
    _languages(frame, records)
    _safety(frame)
    _subtitles(frame)
    _funnel(frame, records)
    _decisions(frame)
    _lookup(records)


def _empty(name: str) -> Panel:
    """A panel without rows: its title, columns and words."""
    return PANELS[name](_NOTHING)


def _card(name: str, width: int) -> Card:
    panel = _empty(name)
    return card(panel.title, panel.about, width, panel=name)


def _follow(frame: Frame, name: str, figure: Chart | Table, on: Card) -> None:
    """Show a panel's rows of the version that is looked at; those of a panel without versions whole."""

    def update(reading: Reading, version: str | None) -> None:
        figure.show(of_version(reading.panels[name], version))
        on.link_to(version)

    frame.on_update(update)


def _now(frame: Frame) -> None:
    with ui.element("div").classes("tiles w12"):
        labels = []
        for _ in range(TILES):
            with ui.element("div").classes("tile"):
                labels.append((ui.label("").classes("value"), ui.label("").classes("name")))
    with _card("builds", 12) as on:
        builds = ui.element("div").classes("builds")
        empty = ui.label(_empty("builds").empty).classes("empty")

    def update(reading: Reading, version: str | None) -> None:
        for (value, name), texts in zip(labels, tiles(reading, version), strict=True):
            value.set_text(texts[0])
            name.set_text(texts[1])
        rows = reading.panels["builds"].rows
        empty.set_visibility(not rows)
        builds.clear()
        with builds:
            for row in rows:
                _build(row)
        on.link_to(None)

    frame.on_update(update)


def _build(row: Mapping[str, Any]) -> None:
    share = row["done"] / row["total"] if row["total"] else None
    with ui.element("div").classes("build"):
        ui.label(str(row["state"])).classes(f"chip {'good' if row['state'] == 'running' else 'warn'}")
        ui.label(f"{row['version']}: {row['phase']} {row['done']} / {row['total']}").classes("strong")
        if share is not None:
            ui.linear_progress(share, show_value=False, size="8px").props('aria-label="share of this step done"')
        rate = "unknown" if row["records_per_s"] is None else f"{row['records_per_s']:,.0f} records/s"
        facts = f"{row['records_in'] or 0:,} records in, {row['records_out'] or 0:,} out, {rate}, "
        facts += f"about {duration(row['remaining_s'])} left, " if row["remaining_s"] is not None else ""
        ui.label(f"{facts}reported {duration(row['age_s'])} ago").classes("about")
        for text in (row["refused"], row["advice"]):
            if text:
                ui.label(str(text)).classes("about")


def tiles(reading: Reading, version: str | None) -> list[tuple[str, str]]:
    """The line of figures on top: `TILES` times a figure and what it is. Pure."""
    by = {name: of_version(panel, version) if version else () for name, panel in reading.panels.items()}
    groups = {group: sum(row["group"] == group for row in by["languages"]) for group in GROUPS}
    rates = next((row for row in by["safety"] if row["source"] == ALL), {})
    # The first row is what was read.
    into = next((row["documents_in"] for row in by["funnel"]), None)
    lost = sum(row["dropped"] for row in by["funnel"])
    ends = [row["expiry"] for row in reading.panels["approvals"].rows]
    status = [row["status"] for row in reading.panels["issues"].rows]
    return [
        (f"{sum(row['documents'] for row in by['sources']):,}" if version else "none", "documents"),
        (_short(sum(row["expanded_tokens"] for row in by["sources"])) if version else "none", "expanded tokens"),
        (
            str(sum(groups.values()) - groups["unknown"]),
            f"languages, of them {groups['dialect']} dialects and {groups['minority']} minority",
        ),
        (_percent(rates.get("pii_rate")), "of documents acted on for personal data"),
        (_percent(rates.get("toxicity_rate")), "of documents acted on for toxicity"),
        (_percent(lost / into if into else None), "of what was read dropped"),
        (str(ends.count("expired") + ends.count("soon")), f"approvals end soon or have ended, of {len(ends)}"),
        (str(sum(text in ("open", "planned") for text in status)), f"issues not mended, of {len(status)}"),
    ]


def _amounts(frame: Frame, records: Records) -> None:
    with _card("mix", 6) as on:
        mix = Chart(charts.planned_against_achieved, on_empty("mix"), height=lambda n: charts.chart_height(n, 240, 40))
    _follow(frame, "mix", mix, on)
    panel = _empty("sources")
    unit = {"share": False}
    about = "Expanded tokens of every source in every version. The data has them by kind and language too."
    with card("Tokens by source and version", about, 6, panel="cells"):
        pick = ui.toggle({False: "tokens", True: "share"}, value=False).props("dense no-caps flat")
        chart = Chart(
            lambda rows: charts.sources_by_version(rows, shares=unit["share"]), panel.empty, height=lambda n: 340
        )

    def by_version(reading: Reading, version: str | None) -> None:
        again = unit["share"] != bool(pick.value)
        unit["share"] = bool(pick.value)
        chart.show(reading.panels["sources"].rows, again=again)

    pick.on_value_change(lambda: by_version(frame.reading, frame.version))
    frame.on_update(by_version)

    async def open_source(row: Mapping[str, Any]) -> None:
        find = partial(kept_examples, frame.ws, str(frame.version), source=row["source"], kind=row["kind"])
        await records.examples(f"In {frame.version}: {row['source']} ({row['kind']})", find)

    with _card("sources", 12) as table_on:
        columns = [column for column in panel.columns if column.name != "version"]
        table = Table(columns, panel.empty, opens="records", on_open=open_source)
    _follow(frame, "sources", table, table_on)


def on_empty(name: str) -> str:
    """What to say where a panel has no rows."""
    return _empty(name).empty


def _languages(frame: Frame, records: Records) -> None:
    panel = _empty("languages")
    state = {"group": ALL_LANGUAGES}
    titles = {ALL_LANGUAGES: ALL_LANGUAGES, **{group: group_title(group) for group in GROUPS}}

    def options(rows: Any) -> charts.Options:
        group = state["group"]
        return charts.language_groups(rows) if group == ALL_LANGUAGES else charts.languages_of(rows, group)

    def click(event: Any) -> None:
        if isinstance(event.data, dict) and event.data.get("group"):
            pick.set_value(event.data["group"])

    with _card("languages", 6) as on:
        pick = ui.select(titles, value=ALL_LANGUAGES, label="group").props("dense outlined options-dense")
        pie = Chart(options, panel.empty, height=lambda n: 330, click=click)

    async def open_language(row: Mapping[str, Any]) -> None:
        find = partial(kept_examples, frame.ws, str(frame.version), language=row["language"])
        await records.examples(f"In {frame.version}: language {row['language']}", find)

    columns = [column for column in panel.columns if column.name != "version"]
    with card("Languages, one by one", "Those of the group that is chosen.", 6):
        table = Table(columns, panel.empty, opens="records", on_open=open_language)

    def update(reading: Reading, version: str | None) -> None:
        again, state["group"] = state["group"] != pick.value, str(pick.value)
        rows = of_version(reading.panels["languages"], version)
        pie.show(rows, again=again)
        table.show(tuple(row for row in rows if state["group"] in (ALL_LANGUAGES, row["group"])))
        on.link_to(version)

    pick.on_value_change(lambda: update(frame.reading, frame.version))
    frame.on_update(update)


def _safety(frame: Frame) -> None:
    state = {"source": ALL}
    with _card("safety", 6):
        pick = ui.select([ALL], value=ALL, label="source").props("dense outlined options-dense")
        lines = Chart(lambda rows: charts.rates_over_time(rows, state["source"]), on_empty("safety"))

    def update(reading: Reading, version: str | None) -> None:
        rows = reading.panels["safety"].rows
        names = list(dict.fromkeys([ALL, *(row["source"] for row in rows)]))
        if names != pick.options:
            pick.set_options(names, value=pick.value if pick.value in names else ALL)
        again, state["source"] = state["source"] != pick.value, str(pick.value)
        lines.show(rows, again=again)

    pick.on_value_change(lambda: update(frame.reading, frame.version))
    frame.on_update(update)
    with _card("findings", 6) as on:
        found = Chart(charts.findings_by_type, on_empty("findings"), height=charts.chart_height)
    _follow(frame, "findings", found, on)


def _subtitles(frame: Frame) -> None:
    with _card("subtitles", 12) as on:
        pick = ui.toggle(list(MEASURES.values()), value="clips").props("dense no-caps flat")
        cells = Chart(charts.difference_histogram, on_empty("subtitles"), height=lambda n: 280)

    def update(reading: Reading, version: str | None) -> None:
        rows = of_version(reading.panels["subtitles"], version)
        there = list(dict.fromkeys(row["measure"] for row in rows))
        pick.set_visibility(len(there) > 1)
        chosen = pick.value if pick.value in there or not there else there[0]
        cells.show(tuple(row for row in rows if row["measure"] == chosen))
        on.link_to(version)

    pick.on_value_change(lambda: update(frame.reading, frame.version))
    frame.on_update(update)


def _funnel(frame: Frame, records: Records) -> None:
    every = "all stages"
    panel = _empty("reasons")

    def click(event: Any) -> None:
        if event.name in pick.options:
            pick.set_value(event.name)

    with _card("funnel", 6) as on:
        bars = Chart(charts.stage_funnel, on_empty("funnel"), height=charts.chart_height, click=click)
    _follow(frame, "funnel", bars, on)

    async def open_reason(row: Mapping[str, Any]) -> None:
        version, stage, source = str(frame.version), row["stage"], row["source"]
        if row["outcome"] == CHANGED:
            find = partial(changed_examples, frame.ws, version, stage, source)
        else:
            reason = None if row["reason"] == UNLISTED else row["reason"]
            find = partial(dropped_examples, frame.ws, version, stage, reason, source)
        await records.examples(f"{version}, {stage}: {row['reason']} ({source})", find)

    columns: list[Column] = [column for column in panel.columns if column.name != "version"]
    with _card("reasons", 6) as reasons_on:
        pick = ui.select([every], value=every, label="stage").props("dense outlined options-dense id=stage")
        table = Table(columns, panel.empty, opens="records", on_open=open_reason)

    def update(reading: Reading, version: str | None) -> None:
        rows = of_version(reading.panels["reasons"], version)
        names = [every, *dict.fromkeys(row["stage"] for row in of_version(reading.panels["funnel"], version))]
        if names != pick.options:
            pick.set_options(names, value=pick.value if pick.value in names else every)
        table.show(tuple(row for row in rows if pick.value in (every, row["stage"])))
        reasons_on.link_to(version)

    pick.on_value_change(lambda: update(frame.reading, frame.version))
    frame.on_update(update)


def _decisions(frame: Frame) -> None:
    for name, width in (("approvals", 12), ("issues", 6), ("detectors", 6), ("freshness", 12)):
        with _card(name, width) as on:
            table = Table(_empty(name).columns, on_empty(name))
        frame.on_update(partial(_whole, name, table, on))


def _whole(name: str, table: Table, on: Card, reading: Reading, version: str | None) -> None:
    table.show(reading.panels[name].rows)
    on.link_to(None)


def _lookup(records: Records) -> None:
    about = "Its way through every stage, and its text. The id has 32 hexadecimal digits."
    with card("One document", about, 12), ui.element("div").classes("lookup"):
        given = ui.input("document id").props("dense outlined clearable id=document")

        async def look() -> None:
            if given.value and given.value.strip():
                await records.document(given.value.strip())

        given.on("keydown.enter", look)
        ui.button("trace", on_click=look).props("flat no-caps")


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.2f} %"


def _short(amount: float) -> str:
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if amount >= size:
            return f"{amount / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{amount:,.0f}"
