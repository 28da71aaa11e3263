"""Index and pack plan on disk: mapped or ranged, made a part at a time, nothing lost at a kill, remade equal."""

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.flat import Blocks, Parted, encode, open_flat
from expedition.data.loading.index import DocumentIndex, DocumentPart, Expansion, open_index
from expedition.data.loading.packing import pack_part
from expedition.data.loading.packs import PackPlan, PackRule, open_pack
from expedition.data.loading.segments import manifest_hash
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace


def plan(ws: Workspace, programme: Programme, part_documents: int) -> PackPlan:
    rule = PackRule(256, programme.media, part_documents=part_documents)
    return open_pack(ws, "v0.1", "dataset", manifest_hash(ws, "dataset", "v0.1"), rule)


def derived(ws: Workspace) -> dict[str, bytes]:
    return {key: ws.store.read(key) for key in ws.store.list("data/dataset/v0.1/index") if key.endswith(".flat")}


def facts(index: DocumentIndex, document: int) -> tuple[object, ...]:
    sizes = tuple(column[document] for column in index.columns.values())
    names = (index.id(document), index.source(document), index.language(document))
    return (*names, index.shards[index.shard[document]], index.kind[document], sizes, tuple(index.media(document)))


def test_parts_change_no_document_and_no_sequence(fresh: Workspace, programme: Programme) -> None:
    whole, parted = open_index(fresh, "v0.1"), open_index(fresh, "v0.1", part_documents=40)
    assert whole.table.parts == 1 and parted.table.parts > 3
    assert whole.documents == parted.documents > 100
    for document in range(whole.documents):
        assert facts(whole, document) == facts(parted, document)
    one, many = plan(fresh, programme, 1 << 18), plan(fresh, programme, 40)
    assert one.sequences == many.sequences and one.counts == many.counts and one.cells == many.cells
    assert [one.members(n) for n in range(one.sequences)] == [many.members(n) for n in range(one.sequences)]
    np.testing.assert_array_equal(one.costs(np.arange(one.sequences)), many.costs(np.arange(one.sequences)))


def test_deleted_tables_are_made_again_equal(fresh: Workspace, programme: Programme) -> None:
    plan(fresh, programme, 40)
    before = derived(fresh)
    gone = [key for number, key in enumerate(sorted(before)) if number % 3 == 0 or key.endswith("table.flat")]
    for key in gone:
        fresh.store.delete(key)
    plan(fresh, programme, 40)
    assert derived(fresh) == before


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_damaged_table_is_made_again(fresh: Workspace, programme: Programme, cut: int) -> None:
    plan(fresh, programme, 1 << 18)
    before = derived(fresh)
    for key, data in before.items():
        if key.endswith("table.flat"):
            fresh.store.write(key, data[:cut])
    open_index(fresh, "v0.1")
    plan(fresh, programme, 1 << 18)
    assert derived(fresh) == before


def test_a_damaged_part_says_what_to_do(fresh: Workspace, programme: Programme) -> None:
    key = next(
        key for key in (plan(fresh, programme, 1 << 18), derived(fresh))[1] if "/pack-" in key and "/part-" in key
    )
    fresh.store.write(key, fresh.store.read(key)[:-64])
    with pytest.raises(InputError, match="delete the folder"):
        plan(fresh, programme, 1 << 18).members(0)


def test_an_index_that_is_not_the_manifests_is_refused(fresh: Workspace) -> None:
    key = "data/dataset/v0.1/manifest.json"
    manifest = fresh.read_json(key)
    manifest["shards"][0]["documents"] += 1
    fresh.write_json(key, manifest, schema="data.manifest/1")
    with pytest.raises(InputError, match="build the version again"):
        open_index(fresh, "v0.1")


KILLED = """
import sys, time
from pathlib import Path
from expedition.data.loading import packs
from expedition.data.loading.packs import PackRule, open_pack
from expedition.data.loading.segments import manifest_hash
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace
real = packs._PackTask.__call__
def slow(self, number, folder):
    if number == 2 and sys.argv[2] == "slow":
        time.sleep(60)
    return real(self, number, folder)
packs._PackTask.__call__ = slow
import multiprocessing
multiprocessing.current_process()._config["daemon"] = True  # parts one after the other, in this process
ws = Workspace.open(sys.argv[1])
open_pack(ws, "v0.1", "dataset", manifest_hash(ws, "dataset", "v0.1"), PackRule(256, MediaRule(), part_documents=40))
"""


def test_a_killed_plan_goes_on_where_it_was(fresh: Workspace, programme: Programme, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, fresh.place]
    process = subprocess.Popen([*command, "slow"])
    scratch = Path(fresh.place) / ".scratch"
    deadline = time.monotonic() + 30
    while not (done := list(scratch.glob("*pack*/part-000000"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert done and not any(key.endswith("table.flat") and "/pack-" in key for key in derived(fresh))
    made = {path: path.stat().st_ino for path in scratch.glob("*pack*/part-000000/part.flat")}
    assert len(made) == 1
    subprocess.run([*command, "quick"], check=True)
    after = derived(fresh)
    inodes = {(Path(fresh.place) / key).stat().st_ino for key in after}
    assert set(made.values()) <= inodes, "a part that was done is moved into place, not made again"
    for key in after:
        fresh.store.delete(key)
    subprocess.run([*command, "quick"], check=True)
    assert derived(fresh) == after


def test_parts_of_an_object_store_are_read_by_ranges(data: Workspace, programme: Programme, s3_endpoint: str) -> None:
    remote = Workspace.open(f"s3://expedition/derived?endpoint={s3_endpoint}", create=True)
    for key in data.store.list("data/dataset/v0.1"):
        if "/pack-" not in key and "/documents-" not in key:
            remote.store.write(key, data.store.read(key))
    ours, theirs = plan(data, programme, 1 << 18), plan(remote, programme, 1 << 18)
    assert [ours.members(n) for n in range(ours.sequences)] == [theirs.members(n) for n in range(ours.sequences)]
    here, there = open_index(data, "v0.1"), open_index(remote, "v0.1")
    assert [facts(here, n) for n in range(0, here.documents, 7)] == [
        facts(there, n) for n in range(0, here.documents, 7)
    ]


@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=30), min_size=1, max_size=5), st.data())
@settings(max_examples=40, deadline=None)
def test_a_parted_column_is_the_parts_one_after_the_other(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], data: st.DataObject
) -> None:
    ws = Workspace.open(tmp_path_factory.mktemp("flat"), create=True)
    for number, values in enumerate(parts):
        columns = {"x": np.asarray(values, dtype=np.int64), "small": np.asarray([v % 7 for v in values], dtype="u1")}
        ws.store.write(f"{number}.flat", encode(columns, {"n": number, "name": "ü"}, "test/1"))
    firsts = np.concatenate(([0], np.cumsum([len(values) for values in parts])))
    whole = [value for values in parts for value in values]
    table = Parted(firsts, lambda number: open_flat(ws.store, f"{number}.flat", "test/1"))
    assert np.asarray(table.column("x")).tolist() == whole
    if whole:
        rows = data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=20))
        assert table.column("x")[rows].tolist() == [whole[row] for row in rows]
        assert [table.column("small")[row] for row in rows] == [whole[row] % 7 for row in rows]
    assert open_flat(ws.store, "0.flat", "test/1").meta == {"n": 0, "name": "ü"}
    with pytest.raises(InputError, match="damaged"):
        open_flat(ws.store, "0.flat", "other/1")


def test_ranged_reads_keep_a_bounded_number_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expedition.data.loading import flat

    monkeypatch.setattr(flat, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(flat, "KEPT_BLOCKS", 4)
    ws = Workspace.open(tmp_path / "ws", create=True)
    body = np.random.default_rng(0).bytes(50_000)
    ws.store.write("x", body)
    blocks = Blocks(ws.store)
    for start in range(0, 49_000, 700):
        assert blocks.read("x", start, 900) == body[start : start + 900]
    assert len(blocks._kept) <= 4
    with pytest.raises(InputError, match="ends before"):
        blocks.read("x", 49_900, 200)


def synthetic(documents: int, shards: int) -> DocumentPart:
    generator = np.random.default_rng(4)
    zeros = np.zeros(documents, dtype=np.int64)
    empty = np.zeros(0, dtype=np.int64)
    return DocumentPart(
        first=0,
        sources=("a",),
        languages=("en",),
        shard=np.sort(generator.integers(0, shards, documents)),
        kind=zeros,
        source=zeros,
        language=zeros,
        tokens=np.clip(generator.lognormal(np.log(500), 1.2, documents).astype(np.int64), 1, 4096),
        id_first=np.arange(documents + 1) * 32,
        id_bytes=np.zeros(documents * 32, dtype=np.uint8),
        media_first=np.zeros(documents + 1, dtype=np.int64),
        media={name: empty for name in ("kind", "offset", "bytes", "width", "height", "frames", "samples")},
    )


def test_planning_a_part_holds_at_most_600_bytes_a_document() -> None:
    part = synthetic(60_000, 4)
    expansion = Expansion(part.tokens, np.zeros_like(part.tokens), np.zeros_like(part.tokens))
    tracemalloc.start()
    try:
        made = pack_part(part, expansion, np.ones_like(part.tokens), 4096, None)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 600 * 60_000
    counts = made.counts["web"]
    assert counts.packed_tokens == int(part.tokens.sum())
    assert (counts.fill(4096) or 0) > 0.98
