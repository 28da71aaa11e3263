"""The live site in a real browser: all charts, drill down, data to take away, a phone, and news without a reload."""

from __future__ import annotations

import contextlib
import csv
import http.client
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from expedition.data.compliance import Statement, append
from expedition.data.engine import Limits, Progress
from expedition.data.quality.panels import PANELS
from expedition.data.under_way import UnderWay
from expedition.data.versions import add_issue
from expedition.workspace import layout
from tests.governed import HOSTILE, HOSTILE_SOURCE, Governed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHARTS = ("mix", "cells", "languages", "safety", "findings", "funnel")
REFRESH_S = 0.5
WAIT_MS = 20_000

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (make browser)")


@contextlib.contextmanager
def serving(place: Path) -> Iterator[str]:
    """The site of a workspace, in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "expedition", "watch", "--workspace", str(place), "--port", "0", "--json"]
    process = subprocess.Popen([*command, "--refresh-s", str(REFRESH_S)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.fixture(scope="module")
def own(governed: Governed, tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A workspace whose programme, an issue and a reason of which hold mark-up."""
    own = governed.copy(tmp_path_factory.mktemp("live") / "ws")
    add_issue(own.ws, HOSTILE, "v0.1", severity="high")
    key = f"{layout.dataset('v0.1')}/report.json"
    report = own.ws.read_json(key)
    cell = next(row for row in report["stages"] if row["stage"] == "pii" and row["source"] == "notes")
    cell["changed"] = {HOSTILE: 2}
    cells = {"alignment_s:-0.25:0.25": 5, "alignment_s:1:2": 1, "cue_s:0.25:0.5": 3}
    report["totals"].append({"stage": HOSTILE, "in": 9, "out": 9, "dropped": {}, "changed": {}, "counts": cells})
    own.ws.write_json(key, {k: v for k, v in report.items() if k != "schema"}, schema=report["schema"])
    # What a build that was killed half-way leaves.
    under_way = UnderWay(own.ws, "v0.9", Limits())
    with contextlib.suppress(KeyboardInterrupt), under_way.phase("prepare") as limits:
        assert limits.report is not None
        limits.report(
            Progress(done=3, total=8, key="k", step="prepare", counts={"records_in": 70, "rejects": {HOSTILE: 2}})
        )
        raise KeyboardInterrupt
    under_way.fail(KeyboardInterrupt())
    return own


@pytest.fixture(scope="module")
def url(own: Governed) -> Iterator[str]:
    with serving(own.folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def opened(browser: Browser, url: str, width: int = 1280, scheme: Any = "light") -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.wait_for_selector("#figure-funnel svg text")
    return page


@pytest.fixture(scope="module")
def page(browser: Browser, url: str) -> Page:
    return opened(browser, url)


def get(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_every_chart_is_drawn(page: Page) -> None:
    for name in (*CHARTS, "subtitles"):
        text = page.locator(f"#figure-{name} svg").first.text_content()
        assert text and page.locator(f"#figure-{name} svg path").count() > 2, name
    for name in ("approvals", "issues", "freshness", "sources", "reasons"):
        assert page.locator(f"#figure-{name} tbody tr").count() > 0, name
    assert "share of expanded tokens, %" in str(page.locator("#figure-mix svg").text_content())
    assert "fresh" in page.locator("#freshness").inner_text()
    build = page.locator("#figure-builds .build")
    assert "v0.9: prepare 3 / 8" in build.inner_text() and "run the same command again" in build.inner_text()
    assert HOSTILE in str(build.text_content())
    assert page.locator("#figure-issues .chip.bad").count() >= 1


def test_drill_down_leads_to_a_record(page: Page) -> None:
    page.locator("#figure-reasons .q-field--outlined").click()
    page.get_by_role("option", name="dedup", exact=True).click()
    page.locator("#figure-reasons tbody tr").filter(has_text="exact duplicate").locator(".open").click()
    page.locator(".records-card .open").first.click()
    page.wait_for_function("document.getElementById('record-text').textContent.includes('<html><body>')")
    lineage = page.locator("#record-lineage").inner_text()
    assert "dropped: exact duplicate" in lineage and "approval     L0000" in lineage
    page.get_by_role("button", name="back to the list").click()
    page.locator(".records-card .open").first.wait_for(state="visible")
    page.get_by_role("button", name="close").click()


def test_pie_leads_to_the_languages_of_a_group(page: Page) -> None:
    page.locator("#figure-languages .q-field--outlined").click()
    page.get_by_role("option", name="large languages").click()
    page.wait_for_function("document.querySelector('#figure-languages svg').textContent.includes('en')")


def test_script_in_data_does_not_run(page: Page) -> None:
    """Mark-up in a source's name, its licence, a reason, a stage, an issue and a text is shown as text."""
    seen: list[str] = []
    page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
    source = page.locator("#figure-sources tbody tr").filter(has_text=HOSTILE_SOURCE)
    source.locator(".open").click()
    page.locator(".records-card .open").first.click()
    page.wait_for_function("document.getElementById('record-text').textContent.includes('<script>')")
    page.get_by_role("button", name="close").click()
    whole = str(page.locator("body").text_content())
    assert whole.count(HOSTILE) > 3
    # Tooltips draw names too.
    for name in (*CHARTS, "subtitles"):
        page.locator(f"#figure-{name} svg").first.hover()
        page.wait_for_timeout(60)
    assert page.locator("main img, .q-dialog img, main script, .q-dialog script").count() == 0
    assert "owned" not in page.title() and not seen


def test_page_asks_nothing_of_other_hosts(browser: Browser, url: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(url)
    page.wait_for_selector("#figure-funnel svg text", timeout=WAIT_MS)
    host = url.split("/")[2]
    assert len(asked) > 5 and all(item.split("/")[2] == host for item in asked if not item.startswith("data:"))
    page.close()


def test_chart_gives_its_data_away(page: Page) -> None:
    for name in ("sources", "reasons", "approvals"):
        files = {}
        for form in ("CSV", "JSON"):
            with page.expect_download() as download:
                page.locator(f"#figure-{name} .export a", has_text=form).click()
            assert download.value.suggested_filename.endswith(form.lower())
            files[form] = Path(download.value.path()).read_text("utf-8")
        value = json.loads(files["JSON"])
        head, *rows = csv.reader(io.StringIO(files["CSV"]))
        assert head == [column["name"] for column in value["columns"]]
        assert rows and rows == [["" if row[k] is None else str(row[k]) for k in head] for row in value["rows"]]


def test_every_card_with_numbers_gives_them_away(page: Page, url: str) -> None:
    links = page.locator("a[download]").evaluate_all("found => found.map(a => a.getAttribute('href'))")
    named = {link.split("/")[2].split(".")[0] for link in links}
    assert named == set(PANELS)
    assert all(get(url, link)[0] == 200 for link in links)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_has_no_horizontal_scroll(browser: Browser, url: str, scheme: str) -> None:
    page = opened(browser, url, width=390, scheme=scheme)
    widths = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]")
    assert max(widths) == 390
    wide = page.locator("section.card").evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length")
    assert wide == 0
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, url: str, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: contrast of at least 4.5 : 1."""
    page = opened(browser, url, scheme=scheme)
    script = """names => names.flatMap(name => [...document.querySelectorAll(name)].slice(0, 3).map(e => {
        let ground = e; while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        const s = getComputedStyle(e);
        return [name, e.tagName === 'text' ? s.fill : s.color, getComputedStyle(ground).backgroundColor] }))"""
    names = [".about", ".title", ".place", ".chip.good", ".chip.warn", ".chip.bad", ".export a", ".tile .name", "td",
             ".chart svg text", "button .q-btn__content"]  # fmt: skip
    found = page.evaluate(script, names)
    assert len(found) > 20
    low = [(name, text, ground) for name, text, ground in found if contrast(text, ground) < 4.5]
    assert not low
    page.close()


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_only_reading_is_answered(url: str) -> None:
    before = get(url, "/data/issues.json")[1]
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert get(url, "/data/issues.json", method)[0] in (404, 405)
    assert json.loads(before)["rows"] == json.loads(get(url, "/data/issues.json")[1])["rows"]
    assert get(url, "/data/nothing.csv")[0] == get(url, "/data/mix.exe")[0] == 404
    assert get(url, "/data/mix.csv", Host="evil.example")[0] == 403
    assert get(url, "/data/mix.csv", Origin="http://evil.example")[0] == 403
    assert get(url, "/docs")[0] == get(url, "/openapi.json")[0] == 404
    assert json.loads(get(url, "/healthz")[1])["freshness"][0]["state"] == "fresh"


def test_new_version_and_decision_appear_without_a_reload(page: Page, own: Governed) -> None:
    page.evaluate("window.stillThere = true")
    append(own.ws, Statement("revoke", "later", "Ada", "the owner asked"))
    page.wait_for_function("document.querySelector('#figure-approvals').textContent.includes('revoked')")
    append(own.ws, Statement("approve", "later", "Ada", "asked again"))
    started = time.monotonic()
    own.build("v0.2", parent="v0.1")
    built_s = time.monotonic() - started
    page.wait_for_function("document.querySelector('#figure-cells svg').textContent.includes('v0.2')")
    page.wait_for_function("document.querySelector('#freshness').textContent.includes('newest version v0.2')")
    assert page.evaluate("window.stillThere"), "the page was not loaded again"
    assert time.monotonic() - started < built_s + 30
