"""One rank's view of many, without devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.errors import ProgrammeError
from expedition.parallel.dryrun import dry_run, rank_view
from expedition.plan import load_programme
from expedition.plan.runs import ParallelPlan
from expedition.workspace import Workspace, layout
from tests.train.tiny import tiny_config


def test_the_10b_model_is_sharded_and_stepped_on_256_ranks(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    report = dry_run(ws, load_programme("rehearsal"), "10b")
    assert ws.read_json(layout.report("dryrun"))["ok"] is True
    assert report["ranks"] == 256
    assert report["parameters"] > 10e9
    assert report["rank_parameters"] == pytest.approx(report["parameters"] / 8, rel=0.01)
    gathered = report["collectives"]["allgather_base/shard"]
    # 32 layers, two encoders and the root: gathered once for each pass but the last layer's.
    assert 35 < gathered["calls"] <= 2 * 35
    assert report["collectives"]["allreduce/dp_replicate"]["calls"] == 35


def test_bytes_grow_with_the_parameters_not_with_the_ranks() -> None:
    few = rank_view(tiny_config(), ParallelPlan(dp_replicate=2, dp_shard=4), 64)
    many = rank_view(tiny_config(), ParallelPlan(dp_replicate=32, dp_shard=4), 64)
    assert few.problem is None and few.collectives == many.collectives


def test_an_unknown_model_is_an_error_with_the_known_names(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(ProgrammeError, match="10b-active"):
        dry_run(ws, load_programme("rehearsal"), "11b")
