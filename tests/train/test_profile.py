"""`train profile` on real steps: the parts add up, the verdict names what was slowed, the run stays as it was."""

from __future__ import annotations

import gzip
import html
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from expedition.cli.main import run as command
from expedition.errors import UsageError, WorkspaceBusy
from expedition.model.moe import MoE
from expedition.train.profiling.families import FAMILIES
from expedition.train.profiling.page import rows_of
from expedition.train.profiling.profile import Wanted
from expedition.train.profiling.report import profile_key
from expedition.train.reports.performance import performance_report
from expedition.train.run import Inputs, train_run
from expedition.workspace import Workspace, layout
from tests.parallel.processes import run_ranks
from tests.train.profiled import compute, plain_run, profiled, sleep
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    torch.set_num_threads(1)
    return Workspace.open(tmp_path / "w", create=True)


def content(ws: Workspace) -> dict[str, str]:
    return {key: ws.hash(key) for key in ws.store.list("runs") if "/profile/" not in key}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, str], dict[str, Any]]:
    """A run of four steps, what it left, and its profile."""
    torch.set_num_threads(1)
    ws = Workspace.open(tmp_path_factory.mktemp("profile") / "w", create=True)
    run = plain_run(length="4 steps")
    train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()))
    plain = performance_report(ws, programme_with(main=run), "main")
    assert plain["profile"] is None
    assert "expedition train profile main" in ws.store.read(layout.report_page("performance")).decode()
    before = content(ws)
    return ws, before, profiled(ws, run, wanted=Wanted(steps=3, warm_up=1, layers=True, save=True))


Seen = tuple[Workspace, dict[str, str], dict[str, Any]]


def test_the_parts_add_up_and_the_run_stays_as_it_was(seen: Seen) -> None:
    ws, before, report = seen
    assert content(ws) == before
    assert report["started_from"] is not None and report["steps"]["first"] == 5
    # One clock is the trace's, the other the process's.
    assert report["parts_sum_ratio"] == pytest.approx(1.0, abs=0.02)
    assert sum(row[2] for row in rows_of(report)) == pytest.approx(report["profiled"]["step_s"], rel=0.02)
    assert set(report["parts"]["compute"]) == set(FAMILIES)
    for family in ("attention", "expert_products", "dense_products", "head", "norm_rotary", "gather_sum", "optimizer"):
        assert report["parts"]["compute"][family] > 0, family
    assert report["checkpoint"]["taken"] == 1 and report["parts"]["checkpoint_s"] > 0
    assert report["mfu"] is None and 0 < report["share_of_measured_peak"] < 1
    for row in report["roofline"]:
        assert row["of_roofline"] is None or 0 < row["of_roofline"] < 1.5, row


def test_what_is_written_can_be_read_by_people_and_programs(seen: Seen) -> None:
    ws, before, report = seen
    names = ("profile.json", "profile.md", "profile.html", "trace.json.gz")
    written = set(ws.store.list("runs")) - set(before)
    assert written == {profile_key("main", name) for name in names}
    assert ws.read_json(profile_key("main", "profile.json"))["verdict"]["bottleneck"] == report["verdict"]["bottleneck"]
    page, markdown = (ws.store.read(profile_key("main", name)).decode() for name in ("profile.html", "profile.md"))
    for text in (html.unescape(page), markdown):
        assert report["verdict"]["sentence"] in text and "expert products" in text and "nsys profile" in text
    assert "http" not in page
    trace = json.loads(gzip.decompress(ws.store.read(profile_key("main", "trace.json.gz"))))
    ranges = {event["name"] for event in trace["traceEvents"] if event.get("cat") == "user_annotation"}
    assert {"span:data", "span:optimizer", "span:callbacks", "span:forward_backward 0", "part:experts"} <= ranges
    assert {"layer:model.layers.0", "layer:model.layers.0 backward", "layer:visual"} <= ranges


def test_the_performance_report_takes_its_verdict_from_the_profile(seen: Seen) -> None:
    ws, _, profile = seen
    report = performance_report(ws, programme_with(main=plain_run(length="4 steps")), "main")
    assert report["bottleneck"] == f"{profile['verdict']['bottleneck']}: {profile['verdict']['sentence']}"
    assert report["parts_sum_ratio"] == pytest.approx(1.0, abs=0.02)
    assert report["utilisation"]["restarts"] == 0
    page = ws.store.read(layout.report_page("performance")).decode()
    assert "## Profile of run main" in page and "### Roofline by family" in page and "## Over the whole run" in page


def test_slow_storage_is_named(ws: Workspace) -> None:
    report = profiled(ws, plain_run(), sleep)
    assert report["verdict"]["bottleneck"] == "IO", report["verdict"]
    assert report["parts"]["data_wait_s"] > 0.1 * report["profiled"]["step_s"]
    assert any("data wait" in line for line in report["verdict"]["evidence"])


def test_slow_preprocessing_is_named(ws: Workspace) -> None:
    report = profiled(ws, plain_run(), compute)
    assert report["verdict"]["bottleneck"] == "CPU", report["verdict"]
    assert "batches" in report["verdict"]["sentence"]
    assert report["loader"]["busy_s_a_step"] > 0.1


def test_preprocessing_in_the_trainers_own_thread_is_named_too(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def each(self: CountingSource, start: int, stop: int, rank: int, world: int) -> Any:
        yield from (self.rank_batch(step, rank, world) for step in range(start, stop))

    monkeypatch.setattr(CountingSource, "rank_batches", each)
    report = profiled(ws, plain_run(), compute)
    assert report["verdict"]["bottleneck"] == "CPU" and "batches" in report["verdict"]["sentence"], report["verdict"]


@pytest.mark.parametrize(("kind", "bottleneck"), [("products", "compute"), ("copies", "memory")])
def test_a_slow_layer_is_named(ws: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str, bottleneck: str) -> None:
    plain = MoE.forward
    square, big = torch.ones(384, 384), torch.ones(6 << 20)
    target = torch.empty_like(big)

    def wasteful(self: MoE, x_BSH: torch.Tensor) -> Any:
        for _ in range(30):
            _ = square @ square if kind == "products" else target.copy_(big)
        return plain(self, x_BSH)

    monkeypatch.setattr(MoE, "forward", wasteful)
    report = profiled(ws, plain_run())
    assert report["verdict"]["bottleneck"] == bottleneck, report["verdict"]
    longest = max(report["parts"]["compute"].items(), key=lambda item: item[1])[0]
    assert longest == ("expert_products" if kind == "products" else "gather_sum")
    row = report["roofline"][0]
    assert row["family"] == longest and row["bound"] == bottleneck


def test_a_slow_link_is_named_with_its_dimension(tmp_path: Path) -> None:
    result = tmp_path / "report.json"
    run_ranks(2, ["tests.train.profiled", str(tmp_path / "w"), str(result), '{"dp_shard": 2}', "0.04"])
    report = json.loads(result.read_text())
    assert report["verdict"]["bottleneck"] == "network", report["verdict"]
    exposed = report["parts"]["exposed_communication"]
    assert max(exposed, key=lambda name: exposed[name]) == "dp_shard"
    assert exposed["dp_shard"] <= report["communication_s"]["dp_shard"] * 1.001
    assert report["parts_sum_ratio"] == pytest.approx(1.0, abs=0.02)
    assert "the first rank's view" in report["conditions"]


def test_what_cannot_be_profiled_is_said(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    run = plain_run()
    with pytest.raises(UsageError, match="0 steps"):
        profiled(ws, run, wanted=Wanted(steps=0))
    with pytest.raises(UsageError, match="CUDA"):
        profiled(ws, run, wanted=Wanted(nsight=True))
    with ws.lease(layout.run("main")), pytest.raises(WorkspaceBusy, match="trains run main"):
        profiled(ws, run)
    assert command(["train", "profile", "nothing", "-w", ws.place, "--preset", "rehearsal"]) == 2
    assert "no run 'nothing'" in capsys.readouterr().err
