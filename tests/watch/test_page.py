"""The page: health, honesty about what is absent, text that stays text, and what a browser draws."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from expedition.data.quality.panels import Reader
from expedition.data.quality.panels import panels as all_panels
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.watch.catalogue import CATALOGUE, describe
from expedition.watch.incidents import IncidentReport, open_incident
from expedition.watch.segments import MetricWriter
from expedition.watch.web.static.page import write_page
from expedition.watch.web.static.views import POINTS, thin
from expedition.workspace import Workspace
from tests.governed import Governed

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def programme() -> Programme:
    return load_programme("rehearsal")


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


def fill(ws: Workspace) -> None:
    ws.events("train").append("train.started", run="main", step=0)
    with MetricWriter(ws, "main") as writer:
        for step in range(100):
            values = {"loss": 5 - step * 0.01, "learning_rate": 1e-3, "gradient_norm": 1.0, "load_cv/0": 0.3}
            writer.append(step, step * 100, values, {"expert_tokens": np.ones((2, 16))})
    open_incident(ws, IncidentReport("main", "spike", "SEV-2", 50, 5000, EVIL))


def test_an_empty_workspace_gives_a_page_that_says_so(ws: Workspace, programme: Programme) -> None:
    health = write_page(ws, programme)
    assert health["views"]["global"]["present"] is False
    assert health["views"]["shares"] == {"present": False, "fresh_s": None, "ranks": 0}
    assert set(health["views"]) == {"global", "hardware", "network", "moe", "shares", "languages", "safety",
                                    "alignment"}  # fmt: skip


def test_health_says_what_is_there(ws: Workspace, programme: Programme) -> None:
    fill(ws)
    views = write_page(ws, programme)["views"]
    assert views["global"]["present"] and views["moe"]["present"]
    assert views["global"]["fresh_s"] is not None and views["global"]["fresh_s"] < 60
    assert ws.read_json("watch/page.json")["schema"] == "watch.page/1"


def test_text_from_data_is_never_markup(ws: Workspace, programme: Programme) -> None:
    fill(ws)
    write_page(ws, programme)

    class Tags(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append(tag)

    page = ws.store.read("watch/index.html").decode()
    Tags().feed(page)
    assert Tags.found.count("script") == 2 and "img" not in Tags.found
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert data is not None and json.loads(data[1])["incidents"][0]["symptom"] == EVIL


def test_the_page_fetches_nothing(ws: Workspace, programme: Programme) -> None:
    write_page(ws, programme)
    page = ws.store.read("watch/index.html").decode()
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page) and "fetch(" not in page


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_draws_every_section(ws: Workspace, programme: Programme, tmp_path: Path) -> None:
    fill(ws)
    write_page(ws, programme)
    assert BROWSER is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    command = [BROWSER, *options, f"file://{tmp_path}/w/watch/index.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    dom = done.stdout
    assert 'data-ready="yes"' in dom, done.stderr[-500:]
    for section in ("overview", "global", "hardware", "network", "moe", "incidents", "data", "cluster", "gates"):
        assert f'<section id="{section}">' in dom
    assert "<title>" + programme.name in dom and "owned" not in re.findall(r"<title>(.*?)</title>", dom)[0]
    dom = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    assert dom.count("<path") > 5 and "[object" not in dom and "NaN" not in dom


def test_thinning_keeps_the_extremes() -> None:
    loss = np.full(10_000, 2.0)
    loss[5_555], loss[7_777] = 9.0, np.nan
    columns = {"step": np.arange(10_000), "tokens": np.arange(10_000), "time_s": np.arange(10_000.0), "loss": loss}
    kept = thin(columns, ["loss"])
    assert len(kept["step"]) <= POINTS + 2 and 9.0 in kept["loss"] and None in kept["loss"]


def test_every_metric_has_unit_meaning_and_view() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert all(m.unit and m.meaning and m.view in ("global", "hardware", "network", "moe") for m in CATALOGUE)
    found = describe("load_cv/12")
    assert found is not None and found.name == "load_cv/{layer}" and describe("nothing/of/ours") is None


def test_static_page_has_the_figures_of_the_panels(governed: Governed, tmp_path: Path) -> None:
    own = governed.copy(tmp_path / "own")
    assert all(
        write_page(own.ws, own.programme)["views"][name]["present"] for name in ("shares", "languages", "safety")
    )
    page = own.ws.store.read("watch/index.html").decode()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    views = json.loads(found[1])["views"]
    panels = {panel.name: panel for panel in all_panels(Reader(own.ws, own.programme.data).read())}
    assert views["shares"]["data"]["tokens"] == sum(row["expanded_tokens"] for row in panels["sources"].rows)
    assert [row["pii"] for row in views["safety"]["data"]] == [row["pii_rate"] for row in panels["safety"].rows]
    assert not views["alignment"]["present"]
