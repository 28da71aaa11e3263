"""Steps into rates: sums that lose nothing, estimates that end at nothing left."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.engine import Meter, Progress

STEP = st.fixed_dictionaries(
    {
        "weight": st.integers(1, 10**9),
        "fresh": st.booleans(),
        "seconds": st.floats(0.001, 1e4),
        "records": st.integers(0, 10**6),
        "rejects": st.dictionaries(st.sampled_from(["empty", "too large", "encoding"]), st.integers(1, 100)),
        "quarantined": st.sampled_from([None, None, "worker died"]),
    }
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, min_size=1, max_size=12))
def test_sums_are_those_of_all_steps_and_rates_of_fresh_ones(steps: list[dict[str, object]]) -> None:
    clock = Clock()
    meter, weight = Meter("prepare", clock), 0
    total = sum(step["weight"] for step in steps)  # type: ignore[misc]
    for number, step in enumerate(steps):
        clock.now += step["seconds"]  # type: ignore[operator]
        weight += step["weight"]  # type: ignore[operator]
        counts = {"records_in": step["records"], "rejects": step["rejects"]}
        meter.add(
            Progress(
                done=number + 1,
                total=len(steps),
                key=f"k{number}",
                quarantined=step["quarantined"],  # type: ignore[arg-type]
                step="prepare",
                fresh=bool(step["fresh"]),
                weight_done=weight,
                weight_total=total,
                counts=counts,
            )
        )
        state = meter.state()
        assert state.remaining_s is None or state.remaining_s >= 0
        if number + 1 < len(steps) and any(row["fresh"] for row in steps[: number + 1]):
            assert state.remaining_s is not None and state.remaining_s > 0
    fresh = sum(step["records"] for step in steps if step["fresh"])  # type: ignore[misc]
    assert state.records_in == sum(step["records"] for step in steps)  # type: ignore[misc]
    assert sum(state.rejects.values()) == sum(sum(step["rejects"].values()) for step in steps)  # type: ignore[attr-defined]
    assert len(state.quarantined) == sum(step["quarantined"] is not None for step in steps)
    assert state.remaining_s == 0.0 and (state.done, state.total) == (len(steps), len(steps))
    assert (state.records_per_s or 0.0) * (clock.now - 100.0) == pytest.approx(fresh)


def test_time_left_follows_the_weights() -> None:
    """Ten seconds for a tenth of the bytes: ninety are left, however many tasks that is."""
    clock = Clock()
    meter = Meter("prepare", clock)
    found_done = Progress(1, 9, "k0", step="s", fresh=False, weight_done=500, weight_total=1500)
    meter.add(found_done)
    clock.now += 10
    meter.add(Progress(2, 9, "k1", step="s", weight_done=600, weight_total=1500))
    assert meter.state().remaining_s == 90.0


def test_a_second_step_of_a_phase_starts_its_own_count() -> None:
    clock = Clock()
    meter = Meter("compare", clock)
    clock.now += 5
    meter.add(Progress(1, 1, "a", step="scatter", weight_done=10, weight_total=10, counts={"records_in": 3}))
    clock.now += 2
    meter.add(Progress(1, 2, "b", step="gather", weight_done=1, weight_total=2, counts={"records_in": 4}))
    state = meter.state()
    assert (state.step, state.done, state.total, state.records_in) == ("gather", 1, 2, 7)
