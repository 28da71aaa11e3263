"""The same behaviours on a folder and on a real object store."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.errors import InputError, StorageError, UsageError
from expedition.workspace import AlreadyExists, NotFound, Workspace
from expedition.workspace.atomic import ASIDE_PREFIX, write_atomic
from expedition.workspace.store import FolderStore, checked_key


def test_what_is_written_is_read(place: str) -> None:
    store = Workspace.open(place, create=True).store
    store.write("a/b.bin", b"one")
    store.write("a/b.bin", b"twice")
    assert store.read("a/b.bin") == b"twice"
    assert store.read_range("a/b.bin", 1, 3) == b"wic"
    assert store.size("a/b.bin") == 5
    assert store.exists("a/b.bin")
    assert not store.exists("a/c.bin")
    assert store.local("a/b.bin").read_bytes() == b"twice"


def test_local_copy_follows_the_newest_content(place: str) -> None:
    store = Workspace.open(place, create=True).store
    store.write("k", b"old")
    assert store.local("k").read_bytes() == b"old"
    store.write("k", b"new")
    assert store.local("k").read_bytes() == b"new"


def test_create_refuses_an_existing_key(place: str) -> None:
    store = Workspace.open(place, create=True).store
    store.create("once", b"first")
    with pytest.raises(AlreadyExists):
        store.create("once", b"second")
    assert store.read("once") == b"first"


def test_list_is_recursive_sorted_and_inside_the_prefix(place: str) -> None:
    store = Workspace.open(place, create=True).store
    for key in ("x/2", "x/10/a", "xy/1", "x/1"):
        store.write(key, b"")
    assert list(store.list("x")) == ["x/1", "x/10/a", "x/2"]
    store.delete("x/1")
    store.delete("x/1")
    assert list(store.list("x")) == ["x/10/a", "x/2"]


def test_upload_takes_a_file(place: str, tmp_path: Path) -> None:
    store = Workspace.open(place, create=True).store
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    store.upload("deep/er/big.bin", file)
    assert store.size("deep/er/big.bin") == 256 * 4096


@pytest.mark.parametrize("key", ["nothing", "no/thing"])
def test_missing_key_says_where(place: str, key: str) -> None:
    store = Workspace.open(place, create=True).store
    for call in (store.read, store.size, store.local):
        with pytest.raises(NotFound, match=key):
            call(key)


@pytest.mark.parametrize("key", ["/etc/passwd", "../up", "a/../../up", "", "a\\b", "a\0b"])
def test_keys_stay_inside(key: str) -> None:
    with pytest.raises(UsageError):
        checked_key(key)


@given(st.lists(st.text("abc.", min_size=1, max_size=4).filter(lambda part: part not in (".", "..")), min_size=1))
def test_plain_keys_pass_unchanged(parts: list[str]) -> None:
    assert checked_key("/".join(parts)) == "/".join(parts)


def _create(arguments: tuple[str, int]) -> bool:
    place, number = arguments
    try:
        Workspace.open(place).store.create("race", str(number).encode())
    except AlreadyExists:
        return False
    return True


def test_only_one_of_many_processes_creates(place: str) -> None:
    Workspace.open(place, create=True)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        wins = pool.map(_create, [(place, number) for number in range(8)])
    assert wins.count(True) == 1


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    contents = {bytes([number]) * (1 << 20) for number in range(4)}
    store.write("k", b"\0" * (1 << 20))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        writing = pool.apply_async(_write_many, (str(tmp_path),))
        seen = set()
        while not writing.ready():
            seen.add(store.read("k"))
    assert seen <= contents
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(ASIDE_PREFIX)]


def _write_many(folder: str) -> None:
    for turn in range(40):
        FolderStore(Path(folder)).write("k", bytes([turn % 4]) * (1 << 20))


def test_json_artefacts_carry_their_schema_and_refuse_nan(place: str) -> None:
    ws = Workspace.open(place, create=True)
    ws.write_json("r.json", {"value": 1.5}, schema="test/1")
    assert ws.read_json("r.json") == {"value": 1.5, "schema": "test/1"}
    with pytest.raises(ValueError, match="JSON"):
        ws.write_json("r.json", {"value": float("nan")}, schema="test/1")
    ws.store.write("list.json", b"[1]")
    with pytest.raises(InputError, match="not a JSON object"):
        ws.read_json("list.json")


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expedition rehearse"):
        Workspace.open(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        Workspace.open(tmp_path / "file", create=True)


def test_place_that_cannot_be_made_is_a_clear_error() -> None:
    with pytest.raises(StorageError, match="another folder"):
        Workspace.open("/proc/none/here", create=True)


def test_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    """/dev/full refuses every write like a full disk; a link to it as the file aside makes a real ENOSPC."""
    target = tmp_path / "kept.json"
    write_atomic(target, b"before")
    import expedition.workspace.atomic as atomic

    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="free space"), atomic.storage_errors(target):
        full.write_bytes(b"x" * 10)
    assert target.read_bytes() == b"before"
