import json

import pytest
from typer.testing import CliRunner

from expedition.data.loading import LoadTest, io_report, load_test, storage_need
from expedition.data.loading.rates import flops_per_token
from expedition.data.loading.storage import lru_hit_rate
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout


def test_load_test_reports_measured_beside_needed(fresh: Workspace, programme: Programme) -> None:
    report = load_test(fresh, programme, LoadTest(batches=4))
    written = fresh.read_json(layout.report("load-test"))
    assert {"nodes", "read_bytes_per_s", "tokens_per_s", "needed_tokens_per_s_1b", "ratio", "conditions"} <= set(
        written
    )
    assert written["nodes"] == 1 and "one node" in written["conditions"]
    assert report["ratio"] == pytest.approx(report["tokens_per_s"] / report["needed_tokens_per_s_1b"])
    assert report["tokens_per_s"] > 0 and report["read_bytes_per_s"] > 0
    assert 0 < report["starved_s"] <= report["wall_s"] + 0.01


def test_load_test_tells_kinds_and_sources_apart(fresh: Workspace, programme: Programme) -> None:
    report = load_test(fresh, programme, LoadTest(batches=5, processes=(0, 1), gpu_tokens_per_s=1000.0))
    kinds = report["by_kind"]
    assert {"web", "image-text", "audio-text"} <= kinds.keys()
    assert set(report["by_source"]) == {f"sample-{kind}" for kind in kinds}
    for rates in kinds.values():
        assert rates["decoded"]["documents_per_s"] < rates["stored"]["documents_per_s"]
    assert sum(rates["tokens"] for rates in kinds.values()) == sum(
        rates["tokens"] for rates in report["by_source"].values()
    )
    assert [setting["processes"] for setting in report["settings"]] == [0, 1]
    assert report["settings"][0]["tokens"] == report["settings"][1]["tokens"], "settings load the same batches"
    assert report["needed_for"]["stated"] and report["gpus_fed"] == pytest.approx(report["tokens_per_s"] / 1000)
    for balance in report["balance"]:
        assert 1 <= balance["assigned"]["rank_max_over_mean"] <= balance["in_order"]["rank_max_over_mean"]


def test_a_version_that_no_run_has_joined_can_be_measured(fresh: Workspace, programme: Programme) -> None:
    report = load_test(fresh, programme, LoadTest(version="v0.2", batches=2))
    assert report["version"] == "v0.2" and report["tokens"] > 0
    assert not fresh.store.exists("runs/main/segments.json"), "measuring decides nothing"


def test_io_report_reads_the_shards_and_sizes_the_cache(fresh: Workspace, programme: Programme) -> None:
    io_report(fresh, programme, megabytes=1)
    written = fresh.read_json(layout.report("io"))
    assert written["sequential_read_bytes_per_s"] > 0 and written["random_read_bytes_per_s"] > 0
    assert written["needed_bytes_per_s"] == programme.data.storage.needed_bytes_per_s
    assert written["nodes_for_bandwidth"] >= 1 and written["measured_compression"] > 1
    cache = written["cache"]
    rates = [point["hit_rate"] for point in cache["curve"]]
    assert rates == sorted(rates) and rates[-1] > rates[0]
    assert 0 < cache["window_bytes"] <= cache["version_bytes"]


def test_hit_rate_of_a_least_recently_used_cache() -> None:
    sizes = {"a": 10, "b": 10, "c": 10}
    assert lru_hit_rate("ababab", sizes, 20) == pytest.approx(4 / 6)
    assert lru_hit_rate("abcabc", sizes, 20) == 0
    assert lru_hit_rate("abcabc", sizes, 30) == pytest.approx(1 / 2)
    assert lru_hit_rate("aaa", sizes, 5) == 0


def test_storage_estimate_of_the_chapter(programme: Programme) -> None:
    need = storage_need(programme)
    assert need["raw_sample_bytes_per_s"] == 6 * 480 * 854 * 3 * 12 == pytest.approx(89e6, rel=0.01)
    assert need["raw_4_by_3_sample_bytes_per_s"] == pytest.approx(66e6, rel=0.01)
    assert need["raw_4_by_3_batch_bytes_per_s"] == pytest.approx(68e9, rel=0.01)
    assert need["raw_batch_bytes_per_s"] == pytest.approx(91e9, rel=0.01)
    assert 6.5 < need["compression_needed_4_by_3"] < need["compression_needed"] < 9
    assert need["stated_sample_bytes_per_s"] == 10e6
    assert need["stated_batch_bytes_per_s"] == pytest.approx(10e9, rel=0.03)


def test_flops_of_the_1b_are_those_of_its_active_parameters(programme: Programme) -> None:
    shape = programme.models["1b"]
    flops = flops_per_token(shape, 152_064, 4096)
    assert 2e9 < flops < 6e9


def test_verbs_print_one_json_document(fresh: Workspace, programme: Programme, tmp_path) -> None:
    from expedition.cli.data import app
    from expedition.plan.load import dump_programme

    path = tmp_path / "programme.yaml"
    path.write_text(dump_programme(programme))
    common = ["--workspace", fresh.place, "--programme", str(path), "--json"]
    for arguments in (["bench-load", "--batches", "2"], ["bench-storage", "--megabytes", "1"]):
        result = CliRunner().invoke(app, [*arguments, *common])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)
