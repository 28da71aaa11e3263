"""Phases: a run starts from another's checkpoint with its own length, mix and positions, and keeps a record of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import InputError, Interrupted, ProgrammeError, UsageError
from expedition.plan.models import Programme
from expedition.plan.phases import chain_problem
from expedition.plan.runs import RunPlan
from expedition.train.checkpoint import MODEL, OPTIMIZER, checkpoints, load_state, load_tensors
from expedition.train.lineage import read_parent, record_parent
from expedition.train.reports.phases import describe_phases
from expedition.train.run import Inputs, train_run
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from tests.train.programme import programme_with
from tests.train.test_run import terminate_at
from tests.train.tiny import CountingSource, tiny_config, tiny_run, tiny_shape

LONGER = {"scaling": {"kind": "yarn", "factor": 4, "original_max_positions": 48, "beta_fast": 4.0}}


def phases() -> dict[str, RunPlan]:
    """main → long (longer sequences, YaRN, optimiser kept) → sft (weights alone)."""
    start = {"run": "main", "state": "optimizer"}
    return {
        "main": tiny_run(length="6 steps"),
        "long": tiny_run(length="4 steps", sequence_length=96, rope=LONGER, start_from=start, seed=8),
        "sft": tiny_run(length="2 steps", start_from={"run": "long"}, seed=9),
    }


def planned(runs: dict[str, RunPlan]) -> Programme:
    return programme_with(**runs).model_copy(update={"phases": tuple(runs)})


def sail(ws: Workspace, runs: dict[str, RunPlan], name: str, **more: Any) -> dict[str, Any]:
    run = runs[name]
    config = tiny_config()
    if run.rope is not None:
        config = replace(config, shape=config.shape.with_positions(run.rope))
    return train_run(ws, planned(runs), name, inputs=Inputs(CountingSource(run), config), **more)


@pytest.fixture(scope="module")
def sailed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which all three phases were trained."""
    torch.set_num_threads(1)
    ws = Workspace.open(tmp_path_factory.mktemp("phases") / "w", create=True)
    for name in phases():
        sail(ws, phases(), name)
    return ws


def last(ws: Workspace, run: str) -> Any:
    return checkpoints(ws, run)[-1]


def test_a_phase_begins_with_the_weights_of_the_one_before(sailed: Workspace) -> None:
    """Its first loss is what the parent's weights give: below the parent's first loss by most of what was learnt."""
    first = float(read_metrics(sailed, "main", ["loss"])["loss"][0])
    learnt = float(read_metrics(sailed, "main", ["loss"])["loss"][-1])
    long = float(read_metrics(sailed, "long", ["loss"])["loss"][0])
    assert first - learnt > 0.4
    assert abs(long - learnt) < 0.5 * (first - learnt)


def test_a_phase_says_where_it_began(sailed: Workspace) -> None:
    parent, newest = read_parent(sailed, "long"), last(sailed, "main")
    assert parent is not None
    assert (parent.run, parent.checkpoint, parent.step) == ("main", newest.name, 6)
    assert parent.manifest_sha256 == newest.manifest_sha256
    config = yaml.safe_load(sailed.store.read(f"{layout.run('long')}/config.yaml"))
    kept = load_state(sailed, last(sailed, "long"))
    assert config["lineage"] == kept["lineage"]
    assert kept["lineage"]["manifest_sha256"] == newest.manifest_sha256
    assert kept["model"]["shape"]["rope_scaling"]["factor"] == 4
    assert "lineage" not in load_state(sailed, newest)


def test_a_phase_counts_its_own_steps_and_keeps_the_updates_it_was_told_to(sailed: Workspace) -> None:
    assert [last(sailed, name).step for name in phases()] == [6, 4, 2]
    updates = {name: int(load_tensors(sailed, last(sailed, name), OPTIMIZER)["updates"]) for name in phases()}
    assert updates == {"main": 6, "long": 10, "sft": 2}


def test_the_order_of_phases_shows_what_is_done(sailed: Workspace) -> None:
    rows = describe_phases(sailed, planned(phases()))
    assert [row["phase"] for row in rows] == ["main", "long", "sft"]
    assert {row["state"] for row in rows} == {"finished"}
    assert rows[1]["max_positions"] == 192
    assert rows[2]["started_from"] == f"long {last(sailed, 'long').name}"
    runs = {**phases(), "sft": tiny_run(length="5 steps", start_from={"run": "long"})}
    assert describe_phases(sailed, planned(runs))[2]["state"] == "under way"
    with pytest.raises(ProgrammeError, match="no phases"):
        describe_phases(sailed, programme_with(**runs))


def test_a_killed_phase_goes_on_to_the_same_weights(sailed: Workspace, tmp_path: Path) -> None:
    """Also where the parent has learnt more in the meantime: what it began from is on record."""
    ws = Workspace.open(tmp_path / "w", create=True)
    runs = phases()
    sail(ws, runs, "main")
    with pytest.raises(Interrupted):
        sail(ws, runs, "long", progress=lambda moment: terminate_at(moment.done, 1))
    sail(ws, {**runs, "main": tiny_run(length="8 steps")}, "main")
    sail(ws, runs, "long")
    ours, theirs = (load_tensors(place, last(place, "long"), MODEL) for place in (ws, sailed))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_phase_inherits_the_positions_of_the_one_before(sailed: Workspace) -> None:
    from expedition.train.setup import run_shape

    programme = planned(phases())
    assert (
        run_shape(sailed, programme, programme.runs["sft"]).rope_scaling
        == tiny_shape().with_positions(programme.runs["long"].rope or pytest.fail("no positions")).rope_scaling
    )
    with pytest.raises(ProgrammeError, match="longer than the model's max_positions 192"):
        run_shape(sailed, programme, tiny_run(sequence_length=200, start_from={"run": "long"}))


BROKEN = {
    "a run that has no checkpoint": ({"run": "elsewhere"}, {}, UsageError, "no complete checkpoint to start from"),
    "a checkpoint that is not there": (
        {"run": "main", "checkpoint": "checkpoint_9T_tokens"}, {}, UsageError, "no complete checkpoint 'checkpoint_9T",
    ),
    "a model of another shape": ({"run": "main"}, {"experts": 4}, InputError, "shape.experts is 8 there and 4 here"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_start_that_cannot_be_is_refused(sailed: Workspace, case: str) -> None:
    start, shape, error, message = BROKEN[case]
    run, name = tiny_run(length="2 steps", start_from=start), case.replace(" ", "-")
    programme = programme_with(**{"main": tiny_run(), "elsewhere": tiny_run(), name: run})
    with pytest.raises(error, match=message):
        train_run(sailed, programme, name, inputs=Inputs(CountingSource(run), tiny_config(**shape)))


def test_what_a_run_began_from_cannot_be_changed_or_lost(sailed: Workspace) -> None:
    runs = phases()
    other = {**runs, "sft": tiny_run(length="4 steps", start_from={"run": "main"})}
    parent = read_parent(sailed, "sft")
    assert parent is not None
    record_parent(sailed, "again", parent)
    programme = programme_with(**runs, again=other["sft"])
    with pytest.raises(UsageError, match="began from long"):
        train_run(sailed, programme, "again", inputs=Inputs(CountingSource(other["sft"]), tiny_config()))
    record_parent(sailed, "lost", replace(parent, checkpoint="checkpoint_1_tokens"))
    programme = programme_with(**runs, lost=runs["sft"])
    with pytest.raises(InputError, match="is gone"):
        train_run(sailed, programme, "lost", inputs=Inputs(CountingSource(runs["sft"]), tiny_config()))


LINKS = {
    "unknown parent": ({"b": "x"}, (), "known runs"),
    "a circle": ({"a": "b", "b": "a"}, (), "leads back to itself"),
    "an unknown phase": ({}, ("a", "z"), "phases[1] is 'z'"),
    "twice": ({"b": "a"}, ("a", "b", "a"), "twice"),
    "not from the one before": ({"b": "c"}, ("a", "b"), "set runs.b.start_from: {run: a}"),
    "from nothing": ({}, ("a", "b"), "starts from nothing"),
}


@pytest.mark.parametrize("case", LINKS)
def test_links_that_cannot_be_are_named(case: str) -> None:
    links, order, message = LINKS[case]
    runs = {name: tiny_run(start_from={"run": links[name]} if name in links else None) for name in "abc"}
    assert message in (chain_problem(runs, order) or "")


@given(st.permutations(["a", "b", "c", "d"]))
def test_a_chain_in_its_own_order_is_sound(order: list[str]) -> None:
    runs = {name: tiny_run(start_from={"run": order[n - 1]} if n else None) for n, name in enumerate(order)}
    assert chain_problem(runs, tuple(order)) is None
    assert chain_problem(runs, tuple(reversed(order))) is not None
