"""A run on a real dataset version with the real loader: all kinds of media, a second version that joins, a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.data.loading import Loader, LoadingConfig
from expedition.data.records import KINDS
from expedition.errors import ComplianceRefused, InputError
from expedition.plan.models import Programme
from expedition.train.run import Inputs, train_run
from expedition.train.setup import model_config
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from tests.data.loading.made_version import generated, write_version
from tests.train.programme import programme_with
from tests.train.tiny import tiny_run


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two versions of a made dataset."""
    ws = Workspace.open(tmp_path_factory.mktemp("real") / "w", create=True)
    write_version(ws, "v0.1", generated(1))
    write_version(ws, "v0.2", generated(1) + generated(2))
    return ws


def programme(**changes: object) -> Programme:
    base = {"length": "10 steps", "sequence_length": 256, "batch_sequences": 6, "learning_rate": {"peak": 1e-2}}
    segments = [{"from_step": 0, "version": "v0.1"}, {"from_step": 6, "version": "v0.2"}]
    return programme_with(main=tiny_run(**{**base, "segments": segments, **changes}))


def inputs(ws: Workspace, planned: Programme) -> Inputs:
    loader = Loader(ws, planned, "main", LoadingConfig(ask_ledger=False))
    return Inputs(loader, model_config(ws, planned, planned.runs["main"]))


def test_a_run_trains_on_every_kind_and_the_second_version_joins(ws: Workspace) -> None:
    planned = programme()
    summary = train_run(ws, planned, "main", inputs=inputs(ws, planned))
    assert summary["finished"]
    columns = read_metrics(ws, "main")
    kinds = {name.removeprefix("loss/") for name in columns if name.startswith("loss/")}
    assert {"web", "image-text", "audio-text", "video-text"} <= kinds <= set(KINDS)
    assert float(columns["loss"][-1]) < float(columns["loss"][0]) - 0.3
    assert summary["real_tokens"] < summary["tokens"]
    read = summary["read"]
    assert read["tokens"] == summary["real_tokens"], "what the data order says is what the batches held"
    assert read["error_sequences"] < read["bound_sequences"] and set(read["by_source"]) >= {"sample-web"}
    assert 0 <= summary["starved_share"] < 1


def test_data_without_an_approval_is_refused(tmp_path: Path) -> None:
    fresh = Workspace.open(tmp_path / "w", create=True)
    manifest = write_version(fresh, "v0.1", generated(1))
    source = {"name": "sample-web", "kind": "web", "approval_id": "nobody"}
    fresh.write_json(layout.manifest("v0.1"), {**manifest, "sources": [source]}, schema="data.manifest/1")
    with pytest.raises(ComplianceRefused, match="sample-web"):
        train_run(fresh, programme(segments=[{"from_step": 0, "version": "v0.1"}]), "main")


def test_a_run_that_was_begun_on_other_data_does_not_go_on(ws: Workspace) -> None:
    planned = programme(length="12 steps", sequence_length=128)
    with pytest.raises(InputError, match="not what the checkpoint was trained on"):
        train_run(ws, planned, "main", inputs=inputs(ws, planned))


def test_the_command_shows_where_a_run_stands(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from expedition.cli.train import app

    result = CliRunner().invoke(app, ["status", "--run", "main", "--check", "--json", "-w", str(Path(ws.place))])
    assert result.exit_code == 0, result.output
    assert '"steps": 10' in result.output
    assert '"problem": null' in result.output
