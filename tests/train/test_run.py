"""A whole run: it learns, resumes to the bit, survives kills, pauses by rule and goes on by decision."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expedition.errors import Interrupted, PausedByRule, UsageError
from expedition.plan.rules import RulesPlan
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.progress import Moment
from expedition.train.checkpoint import checkpoints, verify
from expedition.train.reports.status import train_status
from expedition.train.run import Inputs, train_after_incident, train_run
from expedition.train.setup import load_model
from expedition.watch.incidents import read_incident
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

ROOT = Path(__file__).resolve().parents[2]


def sail(place: Path, run: RunPlan, **more: Any) -> dict[str, Any]:
    ws = Workspace.open(place, create=True)
    return train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()), **more)


def weights(place: Path) -> dict[str, dict[str, Any]]:
    """Files of every permanent checkpoint, by name."""
    ws = Workspace.open(place)
    return {info.name: info.files for info in checkpoints(ws, "main") if info.permanent}


def losses(place: Path) -> list[str]:
    return [float(loss).hex() for loss in read_metrics(Workspace.open(place), "main", ["loss"])["loss"]]


def terminate_at(done: int, at: int) -> None:
    """Ask this process to stop; it is heard after the next step."""
    if done == at:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_learns_and_leaves_what_gates_read(tmp_path: Path) -> None:
    told: list[Moment] = []
    summary = sail(tmp_path / "w", tiny_run(length="24 steps"), progress=told.append)
    assert summary["finished"] and summary["paused"] is None
    assert summary["loss_last"] < summary["loss_first"] - 0.5
    assert summary["nonfinite_steps"] == 0
    times = summary["step_time_s"]
    assert sum(value for part, value in times.items() if part != "total") == pytest.approx(times["total"], rel=0.01)
    assert 0 < summary["top10_expert_share"] <= 1
    assert [entry["step"] for entry in summary["checkpoints"] if entry["permanent"]] == [6, 12, 18, 24]
    ws = Workspace.open(tmp_path / "w")
    assert ws.read_json(layout.run_summary("main"))["schema"] == "train.summary/1"
    assert all(verify(ws, info) is None for info in checkpoints(ws, "main"))
    assert len(told) == 24
    assert load_model(ws, "main").config == tiny_config()


def test_stopped_runs_have_the_losses_and_weights_of_one_that_was_not(tmp_path: Path) -> None:
    run = tiny_run()
    sail(tmp_path / "whole", run)
    for steps in (3, 6, 9):
        with pytest.raises(Interrupted):
            sail(tmp_path / "parts", run, progress=lambda moment, at=steps: terminate_at(moment.done, at))
    sail(tmp_path / "parts", run)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_a_corrupt_checkpoint_is_passed_over_with_an_event(tmp_path: Path) -> None:
    run = tiny_run()
    sail(tmp_path / "whole", run)
    sail(tmp_path / "w", run)
    ws = Workspace.open(tmp_path / "w")
    last = checkpoints(ws, "main")[-1]
    path = ws.path(f"{last.folder}/model.safetensors")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    summary = sail(tmp_path / "w", run)
    assert summary["finished"]
    found = [event.fields for event in ws.events_all("train.corrupt_checkpoint")]
    assert [fields["checkpoint"] for fields in found] == [last.name]
    assert weights(tmp_path / "w") == weights(tmp_path / "whole")


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    run = tiny_run()
    first = sail(tmp_path / "w", run)
    again = sail(tmp_path / "w", run)
    assert again["finished"]
    assert again["checkpoints"] == first["checkpoints"]
    assert len(losses(tmp_path / "w")) == 12


def spiking() -> RunPlan:
    return tiny_run(
        length="90 steps",
        rules=("nan", "spike"),
        inject=({"step": 60, "kind": "loss_spike", "steps": 30},),
        checkpoint={"permanent_every": "20 steps", "ephemeral_every": "5 steps"},
    )


def sail_guarded(place: Path, incident: str | None = None, **more: Any) -> dict[str, Any]:
    run = spiking()
    rules = {"window_observations": 16, "sigmas": 8.0, "floor_nats": 0.5, "consecutive_steps": 3}
    programme = programme_with(main=run).model_copy(update={"rules": RulesPlan(spike=rules)})
    ws, inputs = Workspace.open(place, create=True), Inputs(CountingSource(run), tiny_config())
    if incident is None:
        return train_run(ws, programme, "main", inputs=inputs)
    return train_after_incident(ws, programme, "main", incident, inputs=inputs, **more)


@pytest.mark.parametrize("skip_data", [False, True])
def test_an_injected_spike_pauses_the_run_and_a_decision_lets_it_go_on(tmp_path: Path, skip_data: bool) -> None:
    place = tmp_path / "w"
    with pytest.raises(PausedByRule) as caught:
        sail_guarded(place)
    assert caught.value.exit_code == 3
    ws = Workspace.open(place)
    status = train_status(ws, programme_with(main=spiking()), "main")
    incident = read_incident(ws, status["paused"])
    assert incident["rule"] == "spike"
    assert 60 <= incident["step"] <= 66
    assert len(incident["diagnosis"]["samples"]) == 4
    assert incident["diagnosis"]["activations"]
    with pytest.raises(PausedByRule):
        sail_guarded(place)
    with pytest.raises(UsageError, match="does not pause"):
        sail_guarded(place, incident="another")
    summary = sail_guarded(place, incident=status["paused"], skip_data=skip_data)
    assert summary["finished"] and summary["loss_last"] < 1.5
    decision = next(event.fields for event in ws.events_all("train.decision"))
    assert decision["resume_step"] == 60
    assert decision["skip"] == ([[60, incident["step"] + 1]] if skip_data else [])
    assert np.isfinite(read_metrics(ws, "main", ["loss"])["loss"]).all()
    assert sail_guarded(place, incident=status["paused"], skip_data=skip_data)["checkpoints"] == summary["checkpoints"]


def test_a_nan_is_skipped_recorded_and_pauses(tmp_path: Path) -> None:
    run = tiny_run(rules=("nan",), inject=({"step": 4, "kind": "nan_gradient"},))
    with pytest.raises(PausedByRule):
        sail(tmp_path / "w", run)
    columns = read_metrics(Workspace.open(tmp_path / "w"), "main", ["nonfinite", "skipped"])
    assert columns["skipped"].tolist() == [0, 0, 0, 0, 1]


def test_an_unknown_run_is_an_error_with_the_known_names(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(UsageError, match="known runs: main"):
        train_run(ws, programme_with(main=tiny_run()), "mian")
