"""Charts: pure functions of rows that start at zero, keep every amount, and leave what is unknown a gap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.watch.web import charts

SOURCES = [
    {"version": v, "source": f"s{n:02d}", "expanded_tokens": 10 * (n + 1) * k, "share": (n + 1) / 78}
    for k, v in ((1, "v1"), (2, "v2"))
    for n in range(12)
]


def axes(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [options["xAxis"], options["yAxis"]]


def test_amounts_start_at_zero_and_have_a_unit() -> None:
    stage = {"stage": "pii", "kept": 3, "dropped": 1}
    mix = {"kind": "web", "planned_share": 0.2, "achieved_share": 0.3}
    rate = {"source": "all sources", "version": "v1", "built_at": None, "pii_rate": 0.1, "toxicity_rate": None}
    finding = {"finding": "EMAIL", "stage": "pii", "per_1000_documents": 1.5}
    cell = {"from_s": 0, "to_s": 1, "measure": "clips", "count": 2}
    for options in (
        charts.stage_funnel([stage]),
        charts.planned_against_achieved([mix]),
        charts.rates_over_time([rate]),
        charts.findings_by_type([finding]),
        charts.difference_histogram([cell]),
        charts.sources_by_version(SOURCES, shares=False),
        charts.sources_by_version(SOURCES, shares=True),
    ):
        amount = next(axis for axis in axes(options) if axis["type"] == "value")
        assert amount["min"] == 0 and amount["name"]
        assert options["tooltip"]["renderMode"] == "richText", "a name in a tooltip is text"


@pytest.mark.parametrize("shares", [True, False])
def test_others_keep_the_sum(shares: bool) -> None:
    options = charts.sources_by_version(SOURCES, shares=shares)
    assert options["xAxis"]["data"] == ["v1", "v2"] and len(options["series"]) == charts.MOST_SERIES + 1
    sums = [sum(series["data"][n] for series in options["series"]) for n in (0, 1)]
    assert sums == pytest.approx([100, 100] if shares else [780, 1560], abs=0.01)
    assert options["series"][-1]["name"] == "4 others"


def test_unknown_rate_is_a_gap() -> None:
    rows = [
        {
            "source": "all sources",
            "version": v,
            "built_at": "2026-01-02T03:04:05Z",
            "pii_rate": pii,
            "toxicity_rate": 0.0,
        }
        for v, pii in (("v1", 0.01), ("v2", None), ("v3", 0.03))
    ]
    series = charts.rates_over_time(rows)["series"]
    assert series[0]["data"] == [1.0, None, 3.0] and series[0]["connectNulls"] is False
    assert series[1]["data"] == [0.0, 0.0, 0.0]


def test_histogram_has_no_hole() -> None:
    rows = [
        {"from_s": None, "to_s": -10.0, "measure": "clips", "count": 1},
        {"from_s": -0.25, "to_s": 0.25, "measure": "clips", "count": 5},
        {"from_s": 0.25, "to_s": 0.5, "measure": "clips", "count": 2},
        {"from_s": 10.0, "to_s": None, "measure": "clips", "count": 3},
    ]
    options = charts.difference_histogram(rows)
    assert options["xAxis"]["data"] == ["< -10", "-10 to -0.25", "-0.25 to 0.25", "0.25 to 0.5", "0.5 to 10", "≥ 10"]
    assert options["series"][0]["data"] == [1, 0, 5, 2, 0, 3]


@given(
    st.lists(
        st.tuples(st.sampled_from(["large", "dialect", "minority", "unknown"]), st.integers(0, 10**9)),
        min_size=1,
        max_size=60,
    )
)
def test_pies_keep_every_token(found: list[tuple[str, int]]) -> None:
    rows = [{"language": f"l{n}", "group": group, "expanded_tokens": tokens} for n, (group, tokens) in enumerate(found)]
    slices = charts.language_groups(rows)["series"][0]["data"]
    assert sum(item["value"] for item in slices) == sum(tokens for _, tokens in found)
    for group in {group for group, _ in found}:
        part = charts.languages_of(rows, group)["series"][0]["data"]
        assert sum(item["value"] for item in part) == sum(tokens for name, tokens in found if name == group)
        assert len(part) <= charts.MOST_SLICES + 1
