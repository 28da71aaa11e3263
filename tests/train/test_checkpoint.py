"""Checkpoints: whole or not there, immutable, verified, retired."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from expedition.errors import InputError
from expedition.train.checkpoint import (
    COMPLETE,
    MODEL,
    CheckpointInfo,
    Snapshot,
    checkpoints,
    clear_incomplete,
    load_tensors,
    newest_intact,
    retire_ephemeral,
    verify,
    write_checkpoint,
)
from expedition.train.saving.writer import CheckpointWriter
from expedition.workspace import Workspace


def snapshot(step: int, permanent: bool = False, value: float | None = None) -> Snapshot:
    number = float(step) if value is None else value
    return Snapshot(
        name=f"checkpoint_{step}_tokens",
        step=step,
        tokens=step,
        permanent=permanent,
        model={"b": torch.full((3,), number), "a": torch.arange(4.0)},
        optimizer={"updates": torch.tensor(step)},
        state={"run": {}},
    )


def spoil(ws: Workspace, info: CheckpointInfo, file: str = MODEL) -> None:
    path = ws.path(f"{info.folder}/{file}")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_comes_back_on_a_folder_and_an_object_store(place: str) -> None:
    ws = Workspace.open(place, create=True)
    info = write_checkpoint(ws, "main", snapshot(5, permanent=True))
    assert verify(ws, info) is None
    assert newest_intact(ws, "main") == (info, [])
    assert torch.equal(load_tensors(ws, info, MODEL)["b"], torch.full((3,), 5.0))


def test_files_are_read_only_and_hold_no_pickle(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    info = write_checkpoint(ws, "main", snapshot(5))
    files = sorted(path.name for path in ws.path(info.folder).iterdir())
    assert files == ["COMPLETE", "manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]
    for path in ws.path(info.folder).iterdir():
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222


def test_the_same_state_gives_the_same_bytes_and_is_written_once(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    first = write_checkpoint(ws, "main", snapshot(5))
    again = write_checkpoint(ws, "main", snapshot(5))
    assert first == again
    with pytest.raises(InputError, match="other content"):
        write_checkpoint(ws, "main", snapshot(5, value=6.0))


@pytest.mark.parametrize("file", [MODEL, "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_changed_byte_is_noticed_and_the_one_before_is_used(tmp_path: Path, file: str) -> None:
    ws = Workspace.open(tmp_path, create=True)
    older = write_checkpoint(ws, "main", snapshot(1))
    newer = write_checkpoint(ws, "main", snapshot(2))
    spoil(ws, newer, file)
    found, corrupt = newest_intact(ws, "main")
    assert found == older
    assert [entry.name for entry in corrupt] == [newer.name]


def test_a_folder_without_complete_does_not_exist_and_is_cleared(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    kept = write_checkpoint(ws, "main", snapshot(1))
    torn = write_checkpoint(ws, "main", snapshot(2))
    ws.store.delete(f"{torn.folder}/{COMPLETE}")
    assert checkpoints(ws, "main") == [kept]
    clear_incomplete(ws, "main")
    assert list(ws.store.list(torn.folder)) == []
    assert verify(ws, kept) is None


def test_only_the_newest_ephemeral_ones_are_kept_and_permanent_ones_stay(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    for step in range(1, 7):
        write_checkpoint(ws, "main", snapshot(step, permanent=step == 2))
    assert retire_ephemeral(ws, "main", 2) == ["checkpoint_1_tokens", "checkpoint_3_tokens", "checkpoint_4_tokens"]
    assert [info.step for info in checkpoints(ws, "main")] == [2, 5, 6]


def test_the_writer_is_behind_by_at_most_one_and_reports_in_order(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    seen: list[int] = []
    writer = CheckpointWriter(ws, "main", 9, None, lambda info, retired: seen.append(info.step))
    for step in range(1, 5):
        writer.save(snapshot(step), asynchronous=True)
    writer.wait()
    assert seen == [1, 2, 3, 4]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_failed_write_is_raised_by_the_next_call(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    writer = CheckpointWriter(ws, "main", 9, None, lambda info, retired: None)
    ws.path("runs").mkdir()
    ws.path("runs").chmod(0o555)
    writer.save(snapshot(1), asynchronous=True)
    with pytest.raises(Exception, match="cannot write"):
        writer.wait()
