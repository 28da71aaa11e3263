"""Which data a step reads after decisions: pure; and rewinds of a real run."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import UsageError, WorkspaceBusy
from expedition.train.checkpoint import checkpoints
from expedition.train.decisions import Decision, Skip, data_step, decisions, merged, rewind_run
from expedition.train.reports.status import train_status
from expedition.train.run import Inputs, train_run
from expedition.train.trainer import runs_of
from expedition.watch.segments import attempts, read_metrics
from expedition.workspace import Workspace, layout
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

RANGES = st.tuples(st.integers(0, 60), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))
DECIDED = st.lists(st.tuples(st.integers(0, 50), st.lists(RANGES, max_size=3)), max_size=4)


def decided(parts: list[tuple[int, list[tuple[int, int]]]]) -> list[Decision]:
    return [Decision("main", None, step, None, tuple(skip), {}) for step, skip in parts]


@given(DECIDED)
def test_after_the_last_decision_no_step_reads_what_was_left_out(parts: list[Any]) -> None:
    taken = decided(parts)
    if not taken:
        assert [data_step(step, taken) for step in range(5)] == list(range(5))
        return
    begin = taken[-1].resume_step
    places = [data_step(step, taken) for step in range(begin, begin + 80)]
    left_out = {place for one in taken for first, end in one.skip for place in range(first, end)}
    assert not left_out & set(places)
    start = data_step(begin, taken[:-1])
    wanted = [place for place in range(start, places[-1] + 1) if place not in left_out]
    assert places == wanted, "every place from there on that is not left out, once, in order"


@given(DECIDED)
def test_a_decision_changes_nothing_before_its_step(parts: list[Any]) -> None:
    taken = decided(parts)
    for number, decision in enumerate(taken):
        for step in range(decision.resume_step):
            assert data_step(step, taken[: number + 1]) == data_step(step, taken[:number])


@given(st.lists(RANGES))
def test_merged_ranges_hold_the_same_places(ranges: list[tuple[int, int]]) -> None:
    found = merged(ranges)
    assert {p for a, b in found for p in range(a, b)} == {p for a, b in ranges for p in range(a, b)}
    assert all(left[1] < right[0] for left, right in pairwise(found))


@given(st.lists(st.integers(0, 40), unique=True).map(sorted))
def test_stretches_are_the_places_in_order(places: list[int]) -> None:
    assert [place for first, end in runs_of(places) for place in range(first, end)] == places


RUN = tiny_run(checkpoint={"permanent_every": "6 steps", "ephemeral_every": "2 steps"})


def sail(ws: Workspace) -> dict[str, Any]:
    return train_run(ws, programme_with(main=RUN), "main", inputs=Inputs(CountingSource(RUN), tiny_config()))


def losses(ws: Workspace, attempt: int | None = None) -> list[str]:
    return [float(loss).hex() for loss in read_metrics(ws, "main", ["loss"], attempt=attempt)["loss"]]


def test_a_rewind_goes_on_from_a_checkpoint_without_a_range_of_data(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    sail(ws)
    first = losses(ws)
    with pytest.raises(UsageError, match="permanent checkpoints lie after step 6"):
        rewind_run(ws, "main", "6")
    with pytest.raises(UsageError, match="its data is in the weights"):
        rewind_run(ws, "main", "6", Skip(steps=((4, 8),)), abandon=True)
    with pytest.raises(UsageError, match=r"keeps no checkpoint '7'"):
        rewind_run(ws, "main", "7", abandon=True)
    with ws.lease(layout.run("main")), pytest.raises(WorkspaceBusy):
        rewind_run(ws, "main", "6", abandon=True)
    skip = Skip.from_text(programme_with(main=RUN), "main", ["6-7"], ["36"])
    assert skip == Skip(((6, 8),), ((9, 10),)), "sample 36 is of step 9: four sequences a step"
    decision = rewind_run(ws, "main", "6", skip, abandon=True)
    assert decision.skip == ((6, 8), (9, 10))
    assert set(decision.abandoned) == {"checkpoint_1.5k_tokens", "checkpoint_2k_tokens", "checkpoint_2.3k_tokens"}
    assert rewind_run(ws, "main", "6", skip, abandon=True) == decision
    assert len(decisions(ws, "main")) == 1 and checkpoints(ws, "main")[-1].step == 6
    summary = sail(ws)
    assert summary["finished"] and summary["read"]["tokens"] == 12 * 4 * 46
    again = losses(ws)
    assert again[:6] == first[:6]
    assert again[6] != first[6], "step 6 reads what step 8 read"
    assert losses(ws, attempt=1) == first, "the first attempt stays visible"
    assert [(a.from_step, a.rows, a.kept_rows) for a in attempts(ws, "main")] == [(0, 12, 6), (6, 6, 6)]
    status = train_status(ws, programme_with(main=RUN), "main", attempts=True)
    assert status["decisions"][0]["skip"] == ((6, 8), (9, 10)) and len(status["attempts"]) == 2
    kept = [info.name for info in checkpoints(ws, "main")]
    assert sail(ws)["finished"] and [info.name for info in checkpoints(ws, "main")] == kept


def test_a_rewind_without_a_skip_trains_the_same_bits_again(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    sail(ws)
    first, files = losses(ws), checkpoints(ws, "main")[-1].files
    rewind_run(ws, "main", "checkpoint_1.2k_tokens", abandon=True)
    assert sail(ws)["finished"]
    assert losses(ws) == first and checkpoints(ws, "main")[-1].files == files
    assert checkpoints(ws, "main")[-1].step == 12, "what was written anew under the same name and hash stays"


def test_a_rewind_that_was_killed_half_way_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    sail(ws)
    with monkeypatch.context() as patch:
        patch.setattr(
            "expedition.train.decisions.delete_checkpoint", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            rewind_run(ws, "main", "6", abandon=True)
    assert checkpoints(ws, "main")[-1].step == 12, "nothing is removed yet, and the decision is on record"
    assert sail(ws)["finished"]
    began = [event.fields["step"] for event in ws.events_all("train.started") if event.kind == "train.started"]
    assert began == [0, 6]


def test_ranges_that_are_none_are_refused() -> None:
    for text in ("a-b", "8-6", "-3", ""):
        with pytest.raises(UsageError, match="is no range"):
            Skip.from_text(programme_with(main=RUN), "main", [text], [])
