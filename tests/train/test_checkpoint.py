"""Checkpoints: whole or not there, immutable, verified, retired."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from expedition.errors import InputError
from expedition.train.checkpoint import (
    COMPLETE,
    MANIFEST,
    MODEL,
    OPTIMIZER,
    RANGES,
    STATE,
    CheckpointInfo,
    checkpoints,
    clear_incomplete,
    load_tensors,
    newest_intact,
    read_info,
    retire_ephemeral,
    shard_name,
    verify,
)
from expedition.train.saving import ranges
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.commit import Snapshot, write_checkpoint
from expedition.train.saving.shards import Box
from expedition.train.saving.tensor_file import Piece, read_entries, write_pieces
from expedition.workspace import Workspace
from expedition.workspace.store import FolderStore


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


def damage(ws: Workspace, info: CheckpointInfo, file: str = MODEL, at: int = -1) -> None:
    path = ws.path(f"{info.folder}/{file}")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_comes_back_on_a_folder_and_an_object_store(place: str) -> None:
    ws = Workspace.open(place, create=True)
    info = write_checkpoint(ws, "main", snapshot(5, permanent=True))
    assert verify(ws, info) is None
    assert newest_intact(ws, "main") == (info, [])
    found = load_tensors(ws, info, MODEL)
    assert torch.equal(found["b"], torch.full((3,), 5.0))
    assert list(found) == ["a", "b"]
    ws.store.write(f"{info.folder}/{MODEL}", ws.store.read(f"{info.folder}/{MODEL}")[:-1])
    problem = verify(ws, info)
    assert problem is not None and problem.startswith(f"{MODEL} has ")


def test_files_are_read_only_and_hold_no_pickle(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    info = write_checkpoint(ws, "main", snapshot(5))
    files = sorted(path.name for path in ws.path(info.folder).iterdir())
    assert files == sorted([COMPLETE, MANIFEST, MODEL, OPTIMIZER, RANGES, STATE])
    for path in ws.path(info.folder).iterdir():
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222
        if path.suffix == ".json":
            json.loads(path.read_bytes())
    assert load_file(ws.path(f"{info.folder}/{MODEL}")).keys() == {"a", "b"}


def test_the_same_state_gives_the_same_bytes_and_is_written_once(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    first = write_checkpoint(ws, "main", snapshot(5))
    again = write_checkpoint(ws, "main", snapshot(5))
    assert first == again
    with pytest.raises(InputError, match="other content"):
        write_checkpoint(ws, "main", snapshot(5, value=6.0))
    assert verify(ws, first) is None
    assert not [path for path in ws.path(".scratch").rglob("*") if path.is_file()]


@pytest.mark.parametrize("file", [MODEL, OPTIMIZER, RANGES, STATE, MANIFEST, COMPLETE])
def test_a_changed_byte_is_noticed_and_the_one_before_is_used(tmp_path: Path, file: str) -> None:
    ws = Workspace.open(tmp_path, create=True)
    older = write_checkpoint(ws, "main", snapshot(1))
    newer = write_checkpoint(ws, "main", snapshot(2))
    damage(ws, newer, file, at=3)
    found, corrupt = newest_intact(ws, "main")
    assert found == older
    assert [entry.name for entry in corrupt] == [newer.name]
    assert file in corrupt[0].problem


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_every_bit_of_a_file_of_tensors_is_held_by_a_named_range(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("bits")
    store = FolderStore(folder)
    path = folder / MODEL
    save_file({"a": torch.arange(40.0), "empty": torch.zeros(0, 3), "b": torch.arange(7)}, path)
    _, found = ranges.hash_ranges(path)
    assert ranges.damage(store, ".", {MODEL: found}) is None
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at] ^= 1 << bit
    path.write_bytes(data)
    problem = ranges.damage(store, ".", {MODEL: found})
    holds = next(entry.holds for entry in found if entry.begin <= at < entry.end)
    assert problem is not None and holds in problem
    assert ranges.ranges_from(json.loads(json.dumps(ranges.ranges_json({MODEL: found}))), "t") == {MODEL: found}


def test_long_tensors_have_many_ranges_and_damage_names_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 1024)
    monkeypatch.setattr(ranges, "WINDOW_BYTES", 3000)
    path = tmp_path / MODEL
    save_file({"long": torch.arange(5000.0), "short": torch.arange(3.0)}, path)
    _, found = ranges.hash_ranges(path)
    assert len(found) == 1 + 20 + 1
    data = bytearray(path.read_bytes())
    data[found[5].begin + 1000] ^= 1
    path.write_bytes(data)
    problem = ranges.damage(FolderStore(tmp_path), ".", {MODEL: found})
    assert problem == (f"{MODEL} does not match its hash: long (bytes {found[5].begin}–{found[5].end - 1})")


dimensions = st.lists(st.integers(1, 5), min_size=0, max_size=3)


@given(shapes=st.lists(dimensions, min_size=0, max_size=4), draw=st.data())
def test_files_of_boxes_are_readable_safetensors_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], draw: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("boxes") / MODEL
    pieces = []
    for number, shape in enumerate(shapes):
        starts = tuple(draw.draw(st.integers(0, size - 1)) for size in shape)
        stops = tuple(draw.draw(st.integers(start + 1, size)) for start, size in zip(starts, shape, strict=True))
        box = Box(starts, stops)
        dtype = draw.draw(st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]))
        pieces.append(Piece(f"t{number}", tuple(shape), box, torch.ones(box.shape).to(dtype)))
    write_pieces(path, pieces)
    data = path.read_bytes()
    _, entries = read_entries(lambda start, length: data[start : start + length], len(data), "file")
    assert {(e.tensor, e.shape, e.box, e.dtype) for e in entries} == {
        (p.tensor, p.shape, p.box, p.values.dtype) for p in pieces
    }
    plain = load_file(path)
    for entry in entries:
        assert plain[entry.name].view(-1).view(torch.uint8).numpy().tobytes() == data[entry.begin : entry.end]


@given(cut=st.integers(0), at=st.integers(0), byte=st.integers(0, 255))
def test_a_file_that_is_not_what_it_says_is_an_error_for_a_person(cut: int, at: int, byte: int) -> None:
    from safetensors.torch import save

    data = bytearray(save({"a": torch.arange(4.0), "b": torch.ones(2, 2)}))
    data[at % 150] = byte
    data = data[: cut % (len(data) + 1)] if cut % 3 == 0 else data
    try:
        _, entries = read_entries(lambda start, length: bytes(data[start : start + length]), len(data), "file")
    except InputError:
        return
    assert entries[-1].end == len(data)


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


def test_shards_are_named_after_their_rank_and_found_again(tmp_path: Path) -> None:
    assert shard_name(MODEL, 0, 1) == MODEL
    assert shard_name(MODEL, 0, 4) == "model-00001-of-00004.safetensors"
    info = CheckpointInfo(
        "r", "n", 0, 0, True, {shard_name(f, i, 3): {} for f in (MODEL, RANGES) for i in range(3)}, ""
    )
    assert info.shards(MODEL) == [shard_name(MODEL, index, 3) for index in range(3)]
    assert info.shards(RANGES) == [shard_name(RANGES, index, 3) for index in range(3)]


class Deadly(FolderStore):
    """A folder that kills its process at the n-th change, before it or after it."""

    def __init__(self, root: Path, at: int) -> None:
        super().__init__(root)
        self.left = at

    def _change(self, work: Callable[[], None]) -> None:
        self._count()
        work()
        self._count()

    def _count(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, key: str, data: bytes) -> None:
        self._change(lambda: super(Deadly, self).write(key, data))

    def create(self, key: str, data: bytes) -> None:
        self._change(lambda: super(Deadly, self).create(key, data))

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        self._change(lambda: super(Deadly, self).upload(key, path, keep=keep))

    def delete(self, key: str) -> None:
        self._change(lambda: super(Deadly, self).delete(key))


def die_at(place: Path, at: int) -> bool:
    """Write checkpoint 3 and retire checkpoint 1 in a process that dies at change `at`; whether it died."""
    child = os.fork()
    if child == 0:
        ws = Workspace(Deadly(place, at), str(place))
        write_checkpoint(ws, "main", snapshot(3))
        retire_ephemeral(ws, "main", 2)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_kill_at_any_change_leaves_whole_checkpoints_only(tmp_path: Path) -> None:
    expected = write_checkpoint(Workspace.open(tmp_path / "whole", create=True), "main", snapshot(3))
    before = Workspace.open(tmp_path / "before", create=True)
    for step in (1, 2):
        write_checkpoint(before, "main", snapshot(step))
    stages = 0
    while True:
        shutil.copytree(tmp_path / "before", tmp_path / str(stages))
        ws = Workspace.open(tmp_path / str(stages))
        died = die_at(tmp_path / str(stages), stages + 1)
        found, corrupt = newest_intact(ws, "main")
        assert found is not None and found.step in (2, 3) and not corrupt, stages
        assert all(verify(ws, info) is None for info in checkpoints(ws, "main")), stages
        clear_incomplete(ws, "main")
        assert write_checkpoint(ws, "main", snapshot(3)) == expected
        retire_ephemeral(ws, "main", 2)
        clear_incomplete(ws, "main")
        folders = sorted(path.name for path in ws.path("runs/main/checkpoints").iterdir() if any(path.iterdir()))
        assert folders == ["checkpoint_2_tokens", "checkpoint_3_tokens"], stages
        stages += 1
        if not died:
            break
    assert stages > 2 * (len(expected.files) + 2 + 6)


def write_as_rank(place: Path, rank: int, dying: int, at: int) -> int:
    """One of two ranks in a process of its own that writes checkpoint 3; rank `dying` is killed at change `at`."""
    child = os.fork()
    if child == 0:
        code = 9
        try:
            torch.set_num_threads(1)
            rendezvous = f"file://{place.parent}/{place.name}.rendezvous"
            dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
            store = Deadly(place, at if rank == dying else -1)
            values = {f"own-{rank}": torch.full((4,), float(rank)), "both": torch.ones(3)}
            written = Snapshot("checkpoint_3_tokens", 3, 3, False, values, values, {})
            code = 8
            write_checkpoint(Workspace(store, str(place)), "main", written, Agreement.join(rank, 2))
            code = 0
        finally:
            os._exit(code)
    return child


@pytest.mark.parametrize(
    ("dying", "at", "whole"),
    [(1, 1, False), (1, 6, False), (0, 1, False), (0, 8, False), (0, 11, False), (0, 12, True), (0, -1, True)],
    ids=["other begins", "other ends", "first begins", "first ends", "manifest", "complete", "nobody"],
)
def test_a_rank_that_dies_leaves_no_checkpoint_of_some_ranks(tmp_path: Path, dying: int, at: int, whole: bool) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    write_checkpoint(ws, "main", snapshot(2))
    children = [write_as_rank(tmp_path / "w", rank, dying, at) for rank in range(2)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    assert os.WIFSIGNALED(statuses[dying]) == (at > 0)
    other = statuses[1 - dying]
    assert os.waitstatus_to_exitcode(other) == (8 if at > 0 else 0)
    found, corrupt = newest_intact(ws, "main")
    assert found is not None and found.step == (3 if whole else 2) and not corrupt
    if whole:
        tensors = load_tensors(ws, found, MODEL)
        assert set(tensors) == {"own-0", "own-1", "both"}
        assert torch.equal(tensors["own-1"], torch.ones(4))
    clear_incomplete(ws, "main")
    assert (ws.path("runs/main/checkpoints/checkpoint_3_tokens/COMPLETE")).exists() == whole


def test_the_manifest_is_believed_only_with_complete(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path, create=True)
    info = write_checkpoint(ws, "main", snapshot(1))
    damage(ws, info, MANIFEST)
    with pytest.raises(InputError, match="COMPLETE"):
        read_info(ws, "main", info.name)
