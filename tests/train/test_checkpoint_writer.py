"""Checkpoints beside training: isolated from it, and refused by a disk without ending the run."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from expedition.errors import ProgrammeError, StorageError, WorkspaceBusy
from expedition.plan.runs import CheckpointPlan, RunPlan, WallTime
from expedition.train.callbacks.checkpoint import Checkpoints
from expedition.train.callbacks.progress import Moment
from expedition.train.checkpoint import MODEL, checkpoints, load_tensors, newest_intact, verify
from expedition.train.run import Inputs, train_run
from expedition.train.saving.agreement import ALONE
from expedition.train.saving.commit import Snapshot
from expedition.train.saving.writer import CheckpointWriter, Unwritten, Written
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from expedition.workspace.store import FolderStore
from tests.train.programme import programme_with
from tests.train.test_checkpoint import snapshot
from tests.train.tiny import CountingSource, tiny_config, tiny_run


class Heard:
    """Keeps what a writer says."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.refused: list[Unwritten] = []
        self.last: Written | None = None

    def written(self, result: Written) -> None:
        self.steps.append(result.info.step)
        self.last = result

    def unwritten(self, result: Unwritten) -> None:
        self.refused.append(result)


class Slow(FolderStore):
    """A folder whose uploads wait to be let through."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        self.begun.set()
        assert self.go_on.wait(30)
        super().upload(key, path, keep=keep)


class Refusing(FolderStore):
    """A folder that refuses checkpoints while it is told to, as a full disk does; other keys are written."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.full = False

    def _refuse(self, key: str) -> None:
        if self.full and "/checkpoints/" in key:
            raise StorageError("cannot write: no space left on device", where=key)

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        self._refuse(key)
        super().upload(key, path, keep=keep)

    def write(self, key: str, data: bytes) -> None:
        self._refuse(key)
        super().write(key, data)


def writer_on(store: FolderStore, heard: Heard, keep: int = 9) -> tuple[Workspace, CheckpointWriter]:
    Workspace.open(store.root, create=True)
    ws = Workspace(store, str(store.root))
    return ws, CheckpointWriter(ws, "main", keep, None, ALONE, heard)


def test_the_writer_is_behind_by_at_most_one_and_reports_in_order(tmp_path: Path) -> None:
    heard = Heard()
    ws, writer = writer_on(FolderStore(tmp_path), heard, keep=2)
    for step in range(1, 5):
        writer.save(snapshot(step), asynchronous=True)
    writer.finish()
    assert heard.steps == [1, 2, 3, 4]
    assert [info.step for info in checkpoints(ws, "main")] == [3, 4]


def test_training_goes_on_during_a_write_and_changes_nothing_in_it(tmp_path: Path) -> None:
    heard, store = Heard(), Slow(tmp_path)
    ws, writer = writer_on(store, heard)
    live = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(5)}
    before = {name: value.clone() for name, value in live.items()}
    writer.save(Snapshot("checkpoint_1_tokens", 1, 1, False, live, live, {}), asynchronous=True)
    assert store.begun.wait(30)
    assert heard.steps == []
    for value in live.values():
        value.mul_(-7)
    store.go_on.set()
    writer.wait()
    found = load_tensors(ws, checkpoints(ws, "main")[0], MODEL)
    assert all(torch.equal(found[name], value) for name, value in before.items())
    assert heard.last is not None and heard.last.staging_bytes == 4 * 64
    writer.save(Snapshot("checkpoint_2_tokens", 2, 2, False, live, live, {}), asynchronous=True)
    writer.finish()
    assert all(torch.equal(load_tensors(ws, checkpoints(ws, "main")[1], MODEL)[name], live[name]) for name in live)


def test_a_refused_checkpoint_is_told_and_the_next_one_is_tried(tmp_path: Path) -> None:
    heard, store = Heard(), Refusing(tmp_path)
    ws, writer = writer_on(store, heard)
    writer.save(snapshot(1), asynchronous=True)
    writer.wait()
    store.full = True
    writer.save(snapshot(2), asynchronous=True)
    writer.wait()
    assert [refused.step for refused in heard.refused] == [2]
    assert [info.step for info in checkpoints(ws, "main")] == [1]
    assert not list(tmp_path.glob("runs/main/checkpoints/checkpoint_2_tokens/*"))
    store.full = False
    writer.save(snapshot(3), asynchronous=True)
    writer.finish()
    assert heard.steps == [1, 3]


def test_a_run_that_ends_without_its_last_checkpoint_fails(tmp_path: Path) -> None:
    heard, store = Heard(), Refusing(tmp_path)
    ws, writer = writer_on(store, heard)
    writer.save(snapshot(1), asynchronous=False)
    store.full = True
    writer.save(snapshot(2), asynchronous=False)
    with pytest.raises(StorageError, match=r"step 2.*no space left"):
        writer.finish()
    found, corrupt = newest_intact(ws, "main")
    assert found is not None and found.step == 1 and not corrupt


def test_a_lost_lease_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    with ws.lease("runs/main") as lease:
        writer = CheckpointWriter(ws, "main", 9, lease, ALONE, Heard())
        ws.store.write(f"leases/runs.main/{lease.token + 1:010d}.json", b'{"token": 99, "released": false}')
        writer.save(snapshot(1), asynchronous=True)
        with pytest.raises(WorkspaceBusy, match="lost its lease"):
            writer.wait()
        assert list(ws.store.list("runs/main/checkpoints")) == []
        ws.store.delete(f"leases/runs.main/{lease.token + 1:010d}.json")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs rights that this user does not have")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before_whole(small_disk: Path) -> None:
    heard = Heard()
    ws, writer = writer_on(FolderStore(small_disk), heard)
    writer.save(snapshot(1), asynchronous=True)
    big = {"a": torch.zeros(1_500_000)}
    writer.save(Snapshot("checkpoint_2_tokens", 2, 2, True, big, {}, {}), asynchronous=True)
    writer.wait()
    assert [refused.step for refused in heard.refused] == [2]
    assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize > 3_500_000
    found, corrupt = newest_intact(ws, "main")
    assert found is not None and found.step == 1 and not corrupt
    writer.save(snapshot(3), asynchronous=True)
    writer.finish()
    assert heard.steps == [1, 3]


def sail(store: FolderStore, run: RunPlan, **more: Any) -> dict[str, Any]:
    Workspace.open(store.root, create=True)
    ws = Workspace(store, str(store.root))
    return train_run(ws, programme_with(main=run), "main", inputs=Inputs(CountingSource(run), tiny_config()), **more)


def test_a_run_trains_through_a_full_disk_with_an_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, whole = Refusing(tmp_path / "w"), tmp_path / "whole"
    run = tiny_run(
        length="8 steps",
        checkpoint={"permanent_every": "100 steps", "ephemeral_every": "2 steps", "asynchronous": False},
    )

    def watch(moment: Moment) -> None:
        store.full = 4 <= moment.done < 7

    with caplog.at_level(logging.ERROR, "expedition.train"):
        summary = sail(store, run, progress=watch)
    assert summary["finished"]
    ws = Workspace.open(tmp_path / "w")
    failed = [event.fields for event in ws.events_all("train.checkpoint.failed")]
    assert [fields["step"] for fields in failed] == [6]
    assert "no space left" in failed[0]["problem"]
    assert "training goes on" in caplog.text
    sail(FolderStore(whole), run)
    last, undisturbed = (checkpoints(Workspace.open(place), "main")[-1] for place in (tmp_path / "w", whole))
    assert last.step == 8 and last.files == undisturbed.files


def test_a_run_trains_through_a_disk_that_is_full_for_everything(small_disk: Path, tmp_path: Path) -> None:
    run = tiny_run(length="8 steps", checkpoint={"permanent_every": "100 steps", "ephemeral_every": "2 steps"})
    run = run.model_copy(update={"checkpoint": run.checkpoint.model_copy(update={"keep_ephemeral": 1})})
    filler = small_disk / "filler"

    def fill(moment: Moment) -> None:
        if moment.done == 3:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"x" * 512):
                    pass
        if moment.done == 7:
            filler.unlink()

    assert sail(FolderStore(small_disk), run, progress=fill)["finished"]
    ws = Workspace.open(small_disk)
    sail(FolderStore(tmp_path / "whole"), run)
    last, undisturbed = (checkpoints(place, "main")[-1] for place in (ws, Workspace.open(tmp_path / "whole")))
    assert last.step == 8 and last.files == undisturbed.files
    assert read_metrics(ws, "main")["step"].tolist() == list(range(8))
    assert not any(event.fields["step"] == 6 for event in ws.events_all("train.checkpoint.complete"))


def test_a_run_whose_last_checkpoint_is_refused_goes_on_from_the_one_before(tmp_path: Path) -> None:
    store = Refusing(tmp_path / "w")
    run = tiny_run(
        length="4 steps",
        checkpoint={"permanent_every": "100 steps", "ephemeral_every": "2 steps", "asynchronous": False},
    )

    def fill(moment: Moment) -> None:
        store.full = moment.done >= 3

    with pytest.raises(StorageError, match="step 4"):
        sail(store, run, progress=fill)
    store.full = False
    assert sail(store, run)["finished"]
    ws = Workspace.open(tmp_path / "w")
    started = [event.fields["step"] for event in ws.events_all("train.started")]
    assert started == [0, 2]
    assert all(verify(ws, info) is None for info in checkpoints(ws, "main"))


def test_ephemeral_checkpoints_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 10))
    by_ticks = partial(Checkpoints, clock=lambda: float(next(ticks)))
    monkeypatch.setattr("expedition.train.run.Checkpoints", by_ticks)
    run = tiny_run(length="8 steps", checkpoint={"permanent_every": "100 steps", "ephemeral_every": "25 s"})
    assert sail(FolderStore(tmp_path / "w"), run)["finished"]
    # The clock is read once a step and once more at each checkpoint: 10 s a step, so the third step after one saves.
    assert [info.step for info in checkpoints(Workspace.open(tmp_path / "w"), "main")] == [3, 6, 8]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90.0), ("10 minutes", 600.0), ("1.5 hours", 5400.0), ("2 min", 120.0)]
)
def test_wall_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    plan = CheckpointPlan.model_validate({"ephemeral_every": text})
    assert plan.ephemeral_every == WallTime(seconds=seconds)
    assert CheckpointPlan.model_validate_json(plan.model_dump_json()) == plan
    assert str(CheckpointPlan.model_validate({"ephemeral_every": "5 steps"}).ephemeral_every) == "5 steps"
    with pytest.raises((ProgrammeError, ValueError), match="no wall-clock time"):
        CheckpointPlan.model_validate({"ephemeral_every": "10 fortnights"})
