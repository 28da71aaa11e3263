import json

import pytest

from expedition.data.loading import io_report, load_test, storage_need
from expedition.data.loading.rates import flops_per_token
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout


def test_load_test_reports_measured_beside_needed(fresh: Workspace, programme: Programme) -> None:
    report = load_test(fresh, programme, "main", batches=4)
    written = fresh.read_json(layout.report("load-test"))
    assert {"nodes", "read_bytes_per_s", "tokens_per_s", "needed_tokens_per_s_1b", "ratio", "conditions"} <= set(
        written
    )
    assert written["nodes"] == 1 and "one node" in written["conditions"]
    assert report["ratio"] == pytest.approx(report["tokens_per_s"] / report["needed_tokens_per_s_1b"])
    assert report["tokens_per_s"] > 0 and report["read_bytes_per_s"] > 0


def test_io_report_reads_the_shards(fresh: Workspace, programme: Programme) -> None:
    io_report(fresh, programme, megabytes=1)
    written = fresh.read_json(layout.report("io"))
    assert written["sequential_read_bytes_per_s"] > 0 and written["random_read_bytes_per_s"] > 0
    assert written["needed_bytes_per_s"] == programme.data.storage.needed_bytes_per_s


def test_storage_estimate_of_the_chapter(programme: Programme) -> None:
    need = storage_need(programme)
    assert need["raw_sample_bytes_per_s"] == 6 * 480 * 854 * 3 * 12
    assert need["stated_sample_bytes_per_s"] == 10e6
    assert need["stated_batch_bytes_per_s"] == pytest.approx(10e9, rel=0.03)


def test_flops_of_the_1b_are_those_of_its_active_parameters(programme: Programme) -> None:
    shape = programme.models["1b"]
    flops = flops_per_token(shape, 152_064, 4096)
    assert 2e9 < flops < 6e9


def test_verbs_print_one_json_document(fresh: Workspace, programme: Programme, tmp_path) -> None:
    from typer.testing import CliRunner

    from expedition.cli.load import app
    from expedition.plan.load import dump_programme

    path = tmp_path / "programme.yaml"
    path.write_text(dump_programme(programme))
    common = ["--workspace", fresh.place, "--programme", str(path), "--json"]
    for arguments in (
        ["show", "--step", "3", "--ranks", "2"],
        ["segments"],
        ["bench", "--batches", "2"],
        ["storage", "--megabytes", "1"],
        ["join", "--version", "v0.1", "--from-step", "40", "--reason", "test", "--who", "someone"],
    ):
        result = CliRunner().invoke(app, [*arguments, *common])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)
