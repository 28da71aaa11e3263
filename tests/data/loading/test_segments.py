import itertools
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.loading import Decision, Loader, add_segment, read_segments
from expedition.data.loading.segments import EVENT, open_segments, segment_of, segments_key
from expedition.errors import InputError, ProgrammeError, UsageError
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace


def decision(**changes) -> Decision:
    return Decision(**{"version": "v0.2", "from_step": 30, "reason": "more data", "decided_by": "someone", **changes})


def test_run_begins_with_what_the_programme_plans(fresh: Workspace, programme: Programme) -> None:
    assert read_segments(fresh, "main") == []
    segments = open_segments(fresh, programme, "main")
    assert [segment.version for segment in segments] == ["v0.1", "v0.2"]
    assert segments == read_segments(fresh, "main") == open_segments(fresh, programme, "main")
    events = list(fresh.events_all(EVENT))
    assert [event.fields["version"] for event in events] == ["v0.1", "v0.2"]
    assert events[1].fields["first_index"] == programme.runs["main"].sequences_before(20)


def test_planned_version_joins_once_it_exists(fresh: Workspace, programme: Programme) -> None:
    kept = {key: fresh.store.read(key) for key in fresh.store.list("data/dataset/v0.2")}
    for key in kept:
        fresh.store.delete(key)
    assert len(open_segments(fresh, programme, "main")) == 1
    for key, data in kept.items():
        fresh.store.write(key, data)
    assert len(open_segments(fresh, programme, "main")) == 2


def test_decision_is_recorded_with_reason_and_maker(fresh: Workspace, programme: Programme) -> None:
    open_segments(fresh, programme, "main")
    segment = add_segment(fresh, programme, "main", decision(mix={"web": 1.0}))
    assert read_segments(fresh, "main")[-1].fingerprint == segment.fingerprint
    event = list(fresh.events_all(EVENT))[-1]
    assert (event.fields["reason"], event.fields["decided_by"]) == ("more data", "someone")
    assert event.fields["fingerprint"] == segment.fingerprint


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"from_step": 20}, UsageError, "not after the last one"),
        ({"trained_steps": 31}, UsageError, "trained already"),
        ({"version": "v9"}, InputError, "there is no dataset v9"),
        ({"mix": {"poems": 1.0}}, ProgrammeError, "no kind of document"),
        ({"mix": {"web": 0.0}}, ProgrammeError, "positive weight"),
    ],
)
def test_decision_that_cannot_be_is_refused(fresh, programme, change, error, message) -> None:
    open_segments(fresh, programme, "main")
    with pytest.raises(error, match=message):
        add_segment(fresh, programme, "main", decision(**change))
    assert len(read_segments(fresh, "main")) == 2


def test_damaged_record_is_an_input_error(fresh: Workspace, programme: Programme) -> None:
    open_segments(fresh, programme, "main")
    body = fresh.read_json(segments_key("main"))
    body["segments"][0]["first_index"] = 4
    fresh.write_json(segments_key("main"), body, schema="data.segments/1")
    with pytest.raises(InputError, match="begin at index 0"):
        read_segments(fresh, "main")


def test_fingerprint_leaves_out_reason_and_maker(fresh: Workspace, programme: Programme) -> None:
    from dataclasses import replace

    segment = open_segments(fresh, programme, "main")[0]
    assert replace(segment, reason="other", decided_by="other").fingerprint == segment.fingerprint
    assert replace(segment, seed=segment.seed + 1).fingerprint != segment.fingerprint
    assert segment_of([segment], 10**9) == 0


def test_many_ranks_open_at_once_and_agree(fresh: Workspace, programme: Programme, tmp_path) -> None:
    from expedition.plan.load import dump_programme

    path = tmp_path / "programme.yaml"
    path.write_text(dump_programme(programme))
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from expedition.plan import load_programme\n"
        "from expedition.workspace import Workspace\n"
        "from expedition.data.loading import Loader\n"
        "loader = Loader(Workspace.open(sys.argv[1]), load_programme(Path(sys.argv[2])), 'main')\n"
        "print(json.dumps([loader.fingerprint, loader.batch(1).real_tokens]))\n"
    )
    command = [sys.executable, "-c", code, fresh.place, str(path)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {rank.communicate()[0].strip() for rank in ranks}
    loader = Loader(fresh, programme, "main")
    assert [json.loads(answer) for answer in answers] == [[loader.fingerprint, loader.batch(1).real_tokens]]
    assert len(list(fresh.events_all(EVENT))) == 2


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 64)), min_size=1, max_size=5),
    st.integers(0, 10_000),
)
def test_step_of_an_index_is_the_inverse_of_the_first_index_of_a_step(
    stages: list[tuple[int, int]], index: int
) -> None:
    starts = [0, *itertools.accumulate(length for length, _ in stages[:-1])]
    batches = [
        {"from_step": start, "sequences": sequences} for start, (_, sequences) in zip(starts, stages, strict=True)
    ]
    plan = RunPlan.model_validate({"batch_sequences": batches})
    step = plan.step_of(index)
    assert plan.sequences_before(step) <= index < plan.sequences_before(step + 1)
