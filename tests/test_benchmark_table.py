"""The table of `make bench-data` says "unknown" for what was not measured, and "no" for a missed goal."""

import pytest
from benchmarks.data.table import ROWS, as_markdown, at_least, engine_rows, loader_rows, s3_rows


def warc(ours: float, peer: float) -> dict[str, object]:
    sides = {"ours": {"mb_per_cpu_s": ours}, "datatrove": {"mb_per_cpu_s": peer}}
    return {"rates": {"records": sides}}


@pytest.mark.parametrize(("ours", "verdict"), [(299.0, "**no**"), (301.0, "yes")])
def test_a_missed_goal_is_said(ours: float, verdict: str) -> None:
    lines = as_markdown(list(engine_rows(warc(ours, 100.0)))).splitlines()
    assert lines[2].endswith(f"| {verdict} |")
    assert lines[3].endswith("| unknown |"), "the contest that was not held"


def test_no_peer_means_no_verdict() -> None:
    rates = {"none/ours/warm": 1000, "jpeg/ours/warm": 100}
    rows = list(loader_rows({"rates": rates, "mean_sample_bytes": 40_000}))
    assert all(row.ratio is None and row.met is None for row in rows)


def test_the_best_peer_counts() -> None:
    rates = {"ours, block shuffle/cold": 300, "litdata/cold": 100, "mosaicml/cold": 200, "ours, in sequence/cold": 900}
    cold, warm = s3_rows({"rates": rates, "hit_rate_of_the_cold_block_shuffle": [0.99]})
    assert cold.ratio == pytest.approx(1.5) and cold.met is False
    assert warm.met is None


def test_a_goal_is_reached_at_its_own_value() -> None:
    assert at_least(3.0, 3) == ("≥ 3", True) and at_least(None, 3) == ("≥ 3", None)


def test_every_row_has_a_benchmark() -> None:
    from pathlib import Path

    folder = Path(__file__).parents[1] / "benchmarks" / "data"
    assert all((folder / f"{name}.py").is_file() for name in ROWS)
