"""A run is asked to pause, stop and save, by file and by signal; it ends in time even where a step never does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from expedition.errors import Interrupted, PausedByPerson, UsageError
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.progress import Moment
from expedition.train.checkpoint import checkpoints
from expedition.train.control import Ask, Control, Request, Said, ask_run, read_request, standing_pause, take_back_pause
from expedition.train.reports.status import train_status
from expedition.train.run import Inputs, train_resume, train_run
from expedition.workspace import Workspace, layout
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

ROOT = Path(__file__).resolve().parents[2]
RUN = tiny_run(length="30 steps", checkpoint={"permanent_every": "30 steps"})
ADA = Said("ada", "the cooling is serviced")


def sail(ws: Workspace, listener: Callable[[Moment], None] | None = None, run: RunPlan = RUN) -> dict[str, Any]:
    return train_run(ws, programme_with(main=run), "main", listener, Inputs(CountingSource(run), tiny_config()))


def steps_kept(ws: Workspace) -> list[int]:
    return [info.step for info in checkpoints(ws, "main")]


def slowly(ws: Workspace, act: Callable[[], object], at: int = 2) -> Callable[[Moment], None]:
    """Act once at a step, and leave the ear some time at each later one."""

    def listen(moment: Moment) -> None:
        if moment.done == at:
            act()
        if moment.done >= at:
            time.sleep(0.06)

    return listen


def weights(ws: Workspace) -> dict[str, Any]:
    last = checkpoints(ws, "main")[-1]
    return {name: entry["sha256"] for name, entry in last.files.items() if name.endswith(".safetensors")}


def test_a_pause_saves_says_who_and_why_and_stands_until_it_is_taken_back(tmp_path: Path) -> None:
    whole, ws = (Workspace.open(tmp_path / name, create=True) for name in ("whole", "paused"))
    sail(whole)
    with pytest.raises(PausedByPerson, match=r"by ada at .* a checkpoint is saved: the cooling is serviced") as caught:
        sail(ws, slowly(ws, lambda: ask_run(ws, "main", "pause", ADA)))
    assert caught.value.exit_code == 3
    status = train_status(ws, programme_with(main=RUN), "main")
    assert status["state"] == "paused" and status["held"]["by"] == "ada"
    assert steps_kept(ws) == [status["steps"]]
    with pytest.raises(PausedByPerson, match="ada"):
        sail(ws)
    again = ask_run(ws, "main", "pause", Said("bob"))
    assert again.by == "ada", "a second pause is the first one"
    inputs = Inputs(CountingSource(RUN), tiny_config())
    assert train_resume(ws, programme_with(main=RUN), "main", said=Said("bob"), inputs=inputs)["finished"]
    assert weights(ws) == weights(whole)
    wanted = [(event.fields["want"], event.fields["by"]) for event in ws.events_all("train.control")]
    assert wanted == [("pause", "ada"), ("run", "bob")]


def test_a_stop_is_meant_for_the_process_that_trains_and_for_no_later_one(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(UsageError, match="no process trains"):
        ask_run(ws, "main", "stop", ADA)
    with pytest.raises(Interrupted, match="a checkpoint is saved") as caught:
        sail(ws, slowly(ws, lambda: ask_run(ws, "main", "stop", ADA)))
    assert caught.value.exit_code == 4
    request = read_request(ws, "main")
    assert request is not None and request.want == "stop"
    assert sail(ws)["finished"], "the request stands in the file and is not for this process"
    ended = next(event.fields for event in ws.events_all("train.interrupted"))
    assert (ended["cause"], ended["by"]) == ("train stop", "ada")


def test_save_by_file_and_by_signal_saves_and_goes_on(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)

    def act(moment: Moment) -> None:
        if moment.done == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        if moment.done == 8:
            ask_run(ws, "main", "save", ADA)
        if moment.done >= 8:
            time.sleep(0.06)

    run = tiny_run(length="30 steps", checkpoint={"permanent_every": "30 steps", "keep_ephemeral": 5})
    assert sail(ws, act, run)["finished"]
    kept = steps_kept(ws)
    assert len(kept) == 3 and kept[0] == 4 and 8 < kept[1] < 30, kept


def test_a_pause_before_the_start_keeps_a_run_from_starting(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    ask_run(ws, "main", "pause", ADA)
    with pytest.raises(PausedByPerson):
        sail(ws)
    assert not steps_kept(ws)


def test_sigterm_says_how_long_it_took_to_save(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    with pytest.raises(Interrupted):
        sail(ws, slowly(ws, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    ended = next(event.fields for event in ws.events_all("train.interrupted"))
    assert ended["cause"] == "SIGTERM" and ended["step"] == 3
    assert 0 < ended["asked_to_saved_s"] < 30
    assert steps_kept(ws) == [3]


def test_the_most_urgent_request_counts_and_a_save_is_given_out_once(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    control = Control(ws, "main", 7, 60.0)
    control.hear(Ask.SAVE, "SIGUSR1")
    assert [control.heard(), control.heard()] == [Ask.SAVE, Ask.NOTHING]
    ws.write_json(
        f"{layout.run('main')}/control.json",
        {"want": "stop", "by": "ada", "why": "", "time": "t", "lease": 6},
        schema="train.control/1",
    )
    control.poll()
    assert control.heard() == Ask.NOTHING, "it was meant for another process"
    control.hear(Ask.STOP, "SIGTERM")
    control.hear(Ask.PAUSE, "train pause", "ada")
    control.hear(Ask.STOP, "SIGINT")
    assert control.heard() == Ask.PAUSE and control.cause["by"] == "ada"
    assert read_request(ws, "main") == Request("stop", "ada", "", "t", 6)


def test_requests_reach_a_process_through_any_store(place: str) -> None:
    ws = Workspace.open(place, create=True)
    with ws.lease(layout.run("main")) as lease:
        control = Control(ws, "main", lease.token, 60.0)
        control.poll()
        assert control.heard() == Ask.NOTHING
        ask_run(ws, "main", "save", ADA)
        control.poll()
        control.poll()
        assert [control.heard(), control.heard()] == [Ask.SAVE, Ask.NOTHING], "a request is heard once"
        ask_run(ws, "main", "pause", ADA)
        control.poll()
        assert control.heard() == Ask.PAUSE
        with pytest.raises(UsageError, match="is paused by ada"):
            ask_run(ws, "main", "stop", ADA)
    take_back_pause(ws, "main", Said("bob"))
    assert standing_pause(ws, "main") is None


def start_stuck(place: Path, grace_s: float) -> subprocess.Popen[str]:
    """A run that waits for ever for the data of its step 5."""
    run = tiny_run(checkpoint={"permanent_every": "6 steps", "ephemeral_every": "2 steps", "grace_s": grace_s})
    place.with_suffix(".json").write_text(run.model_dump_json())
    command = [sys.executable, "-m", "tests.train.stuck_job", str(place), str(place.with_suffix(".json"))]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_stuck_step_ends_by_a_second_interrupt_and_by_the_grace_after_sigterm(tmp_path: Path) -> None:
    twice, graced = start_stuck(tmp_path / "twice", 600.0), start_stuck(tmp_path / "graced", 1.0)
    try:
        for place in (tmp_path / "twice", tmp_path / "graced"):
            while not list(place.glob("runs/main/checkpoints/*_768_tokens/COMPLETE")):
                assert twice.poll() is None and graced.poll() is None
                time.sleep(0.02)
        time.sleep(0.3)
        graced.send_signal(signal.SIGTERM)
        twice.send_signal(signal.SIGINT)
        time.sleep(0.7)
        assert twice.poll() is None, "the first SIGINT waits for the step"
        twice.send_signal(signal.SIGINT)
        assert twice.wait(timeout=5) == 4
        assert graced.wait(timeout=10) == 4
    finally:
        twice.kill()
        graced.kill()
    assert "a second SIGINT" in (twice.stderr.read() if twice.stderr else "")
    assert "1 s after SIGTERM" in (graced.stderr.read() if graced.stderr else "")
    for name in ("twice", "graced"):
        assert steps_kept(Workspace.open(tmp_path / name))[-1] == 4
    json.loads((tmp_path / "twice" / "workspace.json").read_text())
