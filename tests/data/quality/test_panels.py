"""Panels: their sums are the manifest's, CSV and JSON agree, nothing old is fresh, and reports hold no mark-up of data."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.compliance import Entry
from expedition.data.quality.panels import PANELS, Column, Panel, Reader, csv_text, json_value, language_class, panels
from expedition.data.quality.panels.decisions import expiry
from expedition.data.quality.panels.freshness import state_of
from expedition.data.quality.panels.funnel import UNLISTED
from expedition.data.quality.panels.holdings import Holdings, VersionHeld
from expedition.data.quality.panels.languages import GROUPS
from expedition.data.quality.panels.reader import _age_order
from expedition.data.quality.panels.report import literal, report_text, report_value
from expedition.data.quality.panels.safety import ALL, acted_on
from expedition.data.quality.panels.subtitles import cell_label
from tests.governed import HOSTILE_SOURCE, Governed

NOTHING = Holdings("2026-11-24T18:00:00Z", (), None, (), (), (), (), (), None)


def version(name: str, built_at: str | None = None, **report: Any) -> VersionHeld:
    manifest = {"version": name, "kinds": {}, "sources": [], "documents": 0, "tokens": 0}
    return VersionHeld(name, built_at, manifest, report, ())


@pytest.fixture(scope="module")
def held(governed: Governed) -> Holdings:
    return Reader(governed.ws, governed.programme.data).read()


@pytest.fixture(scope="module")
def by_name(held: Holdings) -> dict[str, Panel]:
    return {panel.name: panel for panel in panels(held)}


def total(panel: Panel, name: str) -> float:
    return sum(row[name] or 0 for row in panel.rows)


def test_every_panel_is_there_before_anything_is() -> None:
    for name, query in PANELS.items():
        panel = query(NOTHING)
        assert panel.name == name and panel.title and panel.about
        assert panel.rows or panel.empty, name
        assert report_text(NOTHING).count(f"## {panel.title}") == (name != "cells")


def test_every_row_has_the_columns_of_its_panel(by_name: dict[str, Panel]) -> None:
    for panel in by_name.values():
        names = [column.name for column in panel.columns]
        assert len(set(names)) == len(names)
        assert all(list(row) == names for row in panel.rows), panel.name


def test_panels_add_up_to_the_manifest(by_name: dict[str, Panel], held: Holdings) -> None:
    manifest = held.versions[0].manifest
    expanded = sum(cell["expanded_tokens"] for cell in manifest["kinds"].values())
    for name in ("mix", "sources", "languages", "cells"):
        assert total(by_name[name], "documents") == manifest["documents"], name
        assert total(by_name[name], "expanded_tokens") == expanded > 0, name
    assert total(by_name["sources"], "tokens") == total(by_name["cells"], "tokens") == manifest["tokens"]
    for name, column in (("mix", "achieved_share"), ("sources", "share"), ("languages", "share")):
        assert total(by_name[name], column) == pytest.approx(1, abs=1e-4), name
    assert total(by_name["sources"], "planned_share") == pytest.approx(1, abs=1e-4)


def test_funnel_and_reasons_tell_the_same(by_name: dict[str, Panel], held: Holdings) -> None:
    funnel = {row["stage"]: row for row in by_name["funnel"].rows}
    order = list(funnel)
    assert order[0] == "decode" and order.index("repair") < order.index("pii") < order.index("dedup")
    for stage, row in funnel.items():
        assert row["documents_in"] == row["kept"] + row["dropped"]
        mine = [r for r in by_name["reasons"].rows if r["stage"] == stage and r["outcome"] == "dropped"]
        assert sum(r["documents"] for r in mine) == row["dropped"], stage
    assert funnel["dedup"]["dropped"] == 1 and funnel["decode"]["dropped"] == 1
    assert sum(held.versions[0].report["dropped"].values()) == sum(
        row["dropped"] for stage, row in funnel.items() if stage != "decode"
    )


def test_unreadable_parts_that_are_not_listed_are_counted() -> None:
    made = version(
        "v1",
        sources=[{"name": "a", "decoded": 10, "unreadable": 5}],
        unreadable_count=5,
        unreadable=[{"source": "a", "reason": "empty"}, {"source": "a", "reason": "empty"}],
    )
    held = replace(NOTHING, versions=(made,))
    rows = PANELS["reasons"](held).rows
    assert {row["reason"]: row["documents"] for row in rows} == {"empty": 2, UNLISTED: 3}
    assert PANELS["funnel"](held).rows[0]["dropped"] == 5


def test_personal_data_is_seen_over_time(by_name: dict[str, Panel]) -> None:
    whole = next(row for row in by_name["safety"].rows if row["source"] == ALL)
    parts = [row for row in by_name["safety"].rows if row["source"] != ALL]
    assert whole["built_at"] and whole["pii_acted_on"] == sum(row["pii_acted_on"] for row in parts)
    assert whole["pii_rate"] == pytest.approx(whole["pii_acted_on"] / whole["pii_seen"], abs=1e-6)
    letters = next(row for row in parts if row["source"] == HOSTILE_SOURCE)
    assert letters["pii_acted_on"] == letters["pii_seen"] == 6 and letters["pii_rate"] == 1
    code = next(row for row in parts if row["source"] == "code")
    assert code["toxicity_rate"] is None, "a stage that did not run has no rate, not the rate 0"
    emails = next(row for row in by_name["findings"].rows if row["finding"] == "EMAIL_ADDRESS")
    assert emails["stage"] == "pii" and emails["count"] == 6


def test_document_changed_for_two_reasons_is_one() -> None:
    row = {"stage": "pii", "in": 10, "dropped": {"x": 1}, "changed": {"a": 9, "b": 9}}
    assert acted_on([row], "pii") == (10, 10)
    assert acted_on([{**row, "changed": {"a": 2}}, {**row, "dropped": {}, "changed": {}}], "pii") == (20, 3)
    assert acted_on([row], "toxicity") is None


def test_approvals_say_when_they_end(by_name: dict[str, Panel]) -> None:
    rows = by_name["approvals"].rows
    assert rows[0]["expiry"] == "soon" and 8 < rows[0]["expires_in_days"] <= 9, "what ends first stands first"
    assert {row["state"] for row in rows} == {"approved"}
    assert [expiry(days) for days in (None, 400, 3, 0, -2)] == ["none", "later", "soon", "expired", "expired"]


def test_approval_that_has_ended_is_expired(held: Holdings) -> None:
    later = replace(held, as_of="2036-01-01T00:00:00.000000Z")
    row = PANELS["approvals"](later).rows[0]
    assert (row["state"], row["expiry"]) == ("expired", "expired") and row["expires_in_days"] < -3000


def test_source_without_a_decision_is_undecided(held: Holdings) -> None:
    none: tuple[Entry, ...] = ()
    states = {row["source"]: row["state"] for row in PANELS["approvals"](replace(held, entries=none)).rows}
    assert set(states.values()) == {"undecided"} and "pages" in states


def test_damaged_ledger_is_named(held: Holdings) -> None:
    assert (
        "LEDGER DAMAGED: entry 3 was changed"
        in PANELS["approvals"](replace(held, ledger_problems=("entry 3 was changed",))).about
    )


@pytest.mark.parametrize(
    ("age_s", "limit_s", "state"),
    [(10, 300, "fresh"), (300, 300, "fresh"), (301, 300, "stale"), (None, 300, "unknown"), (9e9, None, "no limit")],
)
def test_nothing_old_is_fresh(age_s: float | None, limit_s: float | None, state: str) -> None:
    assert state_of(age_s, limit_s) == state


def test_freshness_follows_the_build_while_one_runs() -> None:
    old = version("v1", "2026-11-20T18:00:00Z")
    rows = PANELS["freshness"](replace(NOTHING, versions=(old,))).rows
    assert (rows[0]["state"], rows[0]["age_s"]) == ("stale", 4 * 86_400)
    running = {"version": "v2", "state": "running", "updated": "2026-11-24T17:54:00Z", "done": 1, "total": 4}
    rows = PANELS["freshness"](replace(NOTHING, versions=(old,), builds=(running,))).rows
    assert [row["state"] for row in rows[:2]] == ["no limit", "stale"] and rows[1]["age_s"] == 360
    fresh = {**running, "updated": "2026-11-24T17:59:00Z"}
    assert PANELS["freshness"](replace(NOTHING, builds=(fresh,))).rows[1]["state"] == "fresh"


def test_versions_stand_in_the_order_in_which_they_were_built() -> None:
    times = {"v0.10": "2026-03-01T00:00:00Z", "v0.2": "2026-02-01T00:00:00Z", "v0.1": None, "v0.0": None}
    made = sorted((version(name, at) for name, at in times.items()), key=_age_order)
    assert [item.version for item in made] == ["v0.0", "v0.1", "v0.2", "v0.10"]
    untimed = sorted((version(name) for name in ("v0.10", "v0.9", "2026", "alpha")), key=_age_order)
    assert [item.version for item in untimed].index("v0.9") < [item.version for item in untimed].index("v0.10")


def test_version_that_is_seen_before_its_event_gets_its_time(governed: Governed, tmp_path: Path) -> None:
    """The manifest is written first, and a reading may fall between it and the event."""
    own = governed.copy(tmp_path / "own")
    shutil.rmtree(own.folder / "events")
    reader = Reader(own.ws)
    assert [item.built_at for item in reader.read().versions] == [None]
    event = own.ws.events("data").append("data.build.finished", version="v0.1")
    assert [item.built_at for item in reader.read().versions] == [event.time]


@pytest.mark.parametrize(
    ("code", "group"),
    [("en", "large"), ("zh-Hant", "large"), ("zh-Hans-CN", "large"), ("yue", "dialect"), ("yue-Hant", "dialect"),
     ("zh-yue", "dialect"), ("wuu", "dialect"), ("nan-Latn", "dialect"), ("gsw", "dialect"), ("arz", "dialect"),
     ("zh-x-wuhan", "dialect"), ("bo", "minority"), ("ug-Arab", "minority"), ("cy", "minority"), ("und", "unknown"),
     ("", "unknown"), (None, "unknown"), ("pt_BR", "large")],
)  # fmt: skip
def test_dialects_and_minority_languages_are_named(code: str | None, group: str) -> None:
    assert language_class(code) == group


@given(st.text(max_size=20))
def test_every_code_has_a_group(code: str) -> None:
    assert language_class(code) in GROUPS


def test_csv_and_json_of_a_panel_say_the_same(by_name: dict[str, Panel]) -> None:
    for panel in by_name.values():
        value = json_value(panel, "2026-11-24T18:00:00Z")
        names = [column["name"] for column in value["columns"]]
        head, *body = csv.reader(io.StringIO(csv_text(panel)))
        assert head == names
        assert body == [[text_of(row[name]) for name in names] for row in value["rows"]], panel.name
        assert json.loads(json.dumps(value, allow_nan=False)) == value


def text_of(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@")) else text


@given(st.text(max_size=30))
def test_csv_cell_is_no_formula_and_no_row(text: str) -> None:
    panel = Panel("p", "P", "", (Column("a", "text"), Column("b", "documents")), ({"a": text, "b": -3},))
    rows = list(csv.reader(io.StringIO(csv_text(panel), newline="")))
    assert len(rows) == 2 and rows[1][1] == "-3", "a number stays a number"
    assert rows[1][0].removeprefix("'") == text.removeprefix("'")
    assert not rows[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.text(max_size=60))
def test_text_in_a_report_is_no_markup(text: str) -> None:
    shown = literal(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]|~$]|[<>]|&(?!amp;|lt;|gt;)", shown)


def test_report_has_the_numbers_of_the_panels(governed: Governed, tmp_path: Path) -> None:
    from expedition.data import judge

    own = governed.copy(tmp_path / "own")
    found = judge(own.ws, plan=own.programme.data)
    written = own.ws.read_json("reports/data-quality.json")
    assert written["version"] == "v0.1" and set(found["panels"]) == set(PANELS) == set(written["panels"])
    held = Reader(own.ws, own.programme.data).read(written["panels"]["mix"]["as_of"])
    again = report_value(held)
    # What was judged is in the report that is being written, and on the pages from then on.
    assert {name: panel["rows"] for name, panel in again.items()} == {
        name: panel["rows"] for name, panel in written["panels"].items()
    }
    page = own.ws.store.read("reports/data-quality.md").decode()
    assert page == report_text(held)
    assert "<" not in page and "&lt;img src=x" in page
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in page.splitlines() if line.startswith("|")]
    assert widths and all(width > 2 for width in widths)


def test_build_under_way_is_shown_with_what_to_do() -> None:
    stopped = {"version": "v2", "state": "stopped", "phase": "prepare", "done": 3, "total": 9, "rejects": {"empty": 2},
               "updated": "2026-11-24T17:00:00Z", "advice": "run the same command again"}  # fmt: skip
    row = PANELS["builds"](replace(NOTHING, builds=(stopped,))).rows[0]
    assert (row["state"], row["refused"], row["age_s"]) == ("stopped", "empty: 2", 3600)
    assert row["remaining_s"] is None and "again" in row["advice"]


def test_histogram_cells_are_in_order_and_open_outside() -> None:
    counts = {
        "alignment_s:10:inf": 1,
        "alignment_s:-inf:-10": 2,
        "alignment_s:-0.25:0.25": 7,
        "other": 9,
        "cue_s:0.25:0.5": 4,
    }
    totals = [{"stage": "video_align", "in": 10, "dropped": {}, "changed": {}, "counts": counts}]
    every = PANELS["subtitles"](replace(NOTHING, versions=(version("v1", totals=totals),))).rows
    rows = [row for row in every if row["measure"] == "clips"]
    assert [(row["from_s"], row["to_s"], row["count"]) for row in rows] == [
        (None, -10, 2),
        (-0.25, 0.25, 7),
        (10, None, 1),
    ]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert [cell_label(row["from_s"], row["to_s"]) for row in rows] == ["< -10", "-0.25 to 0.25", "≥ 10"]
    assert [(row["measure"], row["count"], row["share"]) for row in every if row not in rows] == [("cues", 4, 1)]


def test_detectors_list_every_figure() -> None:
    judged = {"version": "v1", "truth": {"pii": {"recall": 0.5, "found": 3}, "leak": None},
              "labelled": {"languages": {"by": {"en": 1.0}, "note": "x"}}}  # fmt: skip
    rows = PANELS["detectors"](replace(NOTHING, judged=judged)).rows
    assert [(row["detector"], row["figure"], row["value"]) for row in rows] == [
        ("pii", "found", 3), ("pii", "recall", 0.5), ("languages", "by.en", 1.0)]  # fmt: skip
