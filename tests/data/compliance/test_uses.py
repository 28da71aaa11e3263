"""Where a source is: pure rules over segments and ramps. The whole way by real artefacts is in test_revocation.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from expedition.data.compliance.uses import VersionUse, segment_uses, sequences_before

HELD = {("dataset", "v0.1"): VersionUse("dataset", "v0.1", "L000001", 3, 30, ("web",), ())}


def segment(first: int, version: str = "v0.1", excluded: tuple[str, ...] = (), **mix: float) -> dict[str, object]:
    return {
        "first_index": first,
        "dataset": "dataset",
        "version": version,
        "excluded": excluded,
        "mix": mix or {"web": 0.5},
    }


def test_segment_reads_a_source_unless_it_is_excluded_or_its_kinds_are_not_asked_for() -> None:
    segments = [
        segment(0),
        segment(8, excluded=("pages",)),
        segment(16, code=1.0),
        segment(24, version="v0.2"),
        segment(32),
    ]
    found = segment_uses("main", segments, HELD, "pages")
    assert [(use.segment, use.first_index, use.end_index) for use in found] == [(0, 0, 8), (4, 32, None)]


@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 64)), min_size=1, max_size=5),
    step=st.integers(0, 100),
)
def test_sequences_of_a_ramp_are_those_of_its_steps(sizes: list[tuple[int, int]], step: int) -> None:
    starts = [sum(length for length, _ in sizes[:place]) for place in range(len(sizes))]
    ramp = [{"from_step": start, "sequences": size} for start, (_, size) in zip(starts, sizes, strict=True)]
    expected = sum(next(item["sequences"] for item in reversed(ramp) if item["from_step"] <= at) for at in range(step))
    assert sequences_before(ramp, step) == expected
