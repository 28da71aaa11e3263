"""Copies over a whole build: the exchange finds what the in-memory comparison finds."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.engine import Limits
from expedition.data.engine.exchange import Reduce
from expedition.data.engine.merge import sort_by
from expedition.data.engine.tables import read_table, write_batches
from expedition.data.records import DOCUMENT_SCHEMA, PLACEHOLDER, Document, Insert, document_batch
from expedition.data.stages.dedup import Duplicate, NearRule
from expedition.data.stages.dedup.candidates import distinct
from expedition.data.versions.compare import Verify, read_pairs
from expedition.data.versions.components import large_star, small_star
from expedition.data.versions.copies import duplicates_of
from expedition.data.versions.repeats import Repeats, find_repeats

from .worldlet import document

WORDS = [f"word{number}" for number in range(300)]


def text(seed: int, changed: int = 0) -> str:
    order = np.random.Generator(np.random.PCG64(seed)).integers(0, len(WORDS), 120).tolist()
    words = [WORDS[place] for place in order]
    for place in range(changed):
        words[20 + 50 * place] = "changed"
    return " ".join(words)


def documents() -> list[Document]:
    made = [document(n, "old", "web", text(n)) for n in range(30)]
    made += [document(n, "new", "web", text(n)) for n in range(5)]
    made += [document(100 + n, "new", "web", text(n + 10, changed=1)) for n in range(5)]
    made += [document(200 + n, "new", "code", text(n)) for n in range(5)]
    for number in range(4):
        insert = Insert("image", data=b"jpeg", meta={"width": 8, "height": 8})
        picture = document(300 + number, "pictures", "image-text", f"{PLACEHOLDER} one ship", insert)
        fingerprint = f"{'0' * 64}-{'0' * 48}"
        made.append(Document(**{**_fields(picture), "meta": {"phash": fingerprint}}))
    return made


def _fields(item: Document) -> dict[str, object]:
    return {name: getattr(item, name) for name in Document.__slots__}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    every = documents()
    for part in range(3):
        write_batches(tmp_path / f"{part}.arrow", DOCUMENT_SCHEMA, [document_batch(every[part::3])])
    return [tmp_path / f"{part}.arrow" for part in range(3)]


def found(paths: list[Path], repeats: Repeats, workdir: Path, in_memory: bool) -> list[Duplicate]:
    size = repeats.in_memory_bytes + (not in_memory)
    return list(find_repeats(paths, size, repeats, workdir, Limits(workers=0)))


@pytest.mark.parametrize("memory_bytes", [1 << 28, 4096])
def test_exchange_finds_what_memory_finds(paths: list[Path], tmp_path: Path, memory_bytes: int) -> None:
    repeats = Repeats(NearRule(), ("old", "new", "pictures"), memory_bytes=memory_bytes)
    once = found(paths, repeats, tmp_path / "memory", in_memory=True)
    assert found(paths, repeats, tmp_path / "exchange", in_memory=False) == once
    by_source = {item.id: item.source for item in documents()}
    assert sum(by_source[item.id] == "new" for item in once) == 10
    assert sum(by_source[item.id] == "pictures" for item in once) == 3
    assert not any(by_source[item.id] == "old" for item in once)


def test_order_of_files_does_not_matter(paths: list[Path], tmp_path: Path) -> None:
    repeats = Repeats(NearRule(), ("old", "new"))
    forward = found(paths, repeats, tmp_path / "a", in_memory=True)
    assert forward == found(paths[::-1], repeats, tmp_path / "b", in_memory=True)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([2048, 16_384, 1 << 26]))
def test_both_ways_agree_on_any_skew(
    tmp_path_factory: pytest.TempPathFactory, seed: int, files: int, memory_bytes: int
) -> None:
    """Random clusters, one of them large, boilerplate that many share, exact copies; memory far too small, or ample."""
    folder = tmp_path_factory.mktemp("skew")
    chance = np.random.default_rng(seed)
    made = []
    for number in range(40 if memory_bytes == 2048 else 160):
        cluster = int(chance.zipf(1.6)) % 12
        body = text(cluster, changed=int(chance.integers(0, 3)))
        if chance.random() < 0.3:
            body = f"{text(99)} {text(1000 + number)[: chance.integers(20, 300)]}"
        made.append(document(number, f"s{chance.integers(0, 3)}", chance.choice(["web", "code"]), body))
    paths = []
    for part in range(files):
        paths.append(folder / f"{part}.arrow")
        write_batches(paths[-1], DOCUMENT_SCHEMA, [document_batch(made[part::files])])
    repeats = Repeats(NearRule(), ("s1", "s0"), memory_bytes=memory_bytes)
    once = found(paths, repeats, folder / "memory", in_memory=True)
    with pytest.MonkeyPatch.context() as patch:
        # Hundreds of tiny partitions; that they outlive a power cut is not what is shown here.
        patch.setattr("os.fsync", lambda handle: None)
        assert found(paths, repeats, folder / "exchange", in_memory=False) == once
    assert len(once) > 10


def test_fingerprints_of_an_earlier_version_are_taken_up(paths: list[Path], tmp_path: Path) -> None:
    repeats, kept = Repeats(NearRule(), ()), tmp_path / "kept"
    find_repeats(paths[:2], 1, repeats, tmp_path / "v1", Limits(workers=0), kept)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("fingerprints.arrow")}
    find_repeats(paths, 1, repeats, tmp_path / "v2", Limits(workers=0), kept)
    after = {path: path.stat().st_mtime_ns for path in kept.rglob("fingerprints.arrow")}
    assert len(before) == 2 and len(after) == 3
    assert before.items() <= after.items()


def test_what_an_earlier_version_kept_stays_though_a_later_copy_is_longer(tmp_path: Path) -> None:
    """Sources rank by the version they came with (`Approved.by_age`); fingerprints of the first version are taken up."""
    first = [document(n, "old", "web", text(n)) for n in range(6)]
    later = [document(n, "new", "web", f"{text(n)} and a longer end of it") for n in range(6)]
    write_batches(tmp_path / "1.arrow", DOCUMENT_SCHEMA, [document_batch(first)])
    write_batches(tmp_path / "2.arrow", DOCUMENT_SCHEMA, [document_batch(later)])
    paths, kept = [tmp_path / "1.arrow", tmp_path / "2.arrow"], tmp_path / "kept"
    assert len(find_repeats(paths[:1], 1, Repeats(NearRule(), ("old",)), tmp_path / "v1", Limits(workers=0), kept)) == 0
    found = find_repeats(paths, 1, Repeats(NearRule(), ("old", "new")), tmp_path / "v2", Limits(workers=0), kept)
    assert {item.id for item in found} == {item.id for item in later}
    assert {item.of for item in found} == {item.id for item in first}
    unordered = find_repeats(paths, 1, Repeats(NearRule(), ()), tmp_path / "v3", Limits(workers=0), kept)
    assert {item.id for item in unordered} == {item.id for item in first}


def test_lots_of_sketches_stay_within_the_memory(paths: list[Path], tmp_path: Path) -> None:
    prints = find_repeats(paths, 1, Repeats(NearRule(), ()), tmp_path / "work", Limits(workers=0)).prints
    near = np.concatenate(
        [
            np.flatnonzero(prints.table(file).column("bands").is_valid()) + prints.bounds(file, file)[0]
            for file in range(prints.files)
        ]
    )
    pairs = distinct(np.array([[a, b] for a in near for b in near if a < b], np.int64))
    mean = float(prints.sketch_bytes(near).mean())
    lots = list(Verify(prints, NearRule(), int(10 * mean))._lots(pairs))
    assert np.concatenate(lots).tolist() == pairs.tolist() and len(lots) > 10
    assert all(len(np.unique(lot)) <= 12 for lot in lots)
    assert len(list(Verify(prints, NearRule(), 1 << 30)._lots(pairs))) == 1


def test_each_file_knows_its_own_copies(paths: list[Path], tmp_path: Path) -> None:
    copies = find_repeats(paths, 1, Repeats(NearRule(), ("old", "new")), tmp_path / "work", Limits(workers=0))
    every = {item.id for item in copies}
    assert len(copies) == len(every) > 0
    for path in paths:
        ids = set(read_table(path).column("id").to_pylist())
        removed = pickle.loads(pickle.dumps(copies.removed(path)))
        assert {name for name in ids | every if name in removed} == ids & every
        assert {item.id for item in duplicates_of(copies.removed(path))} == ids & every


@settings(max_examples=40, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60),
    piece=st.integers(1, 9),
)
def test_stars_are_the_components(
    tmp_path_factory: pytest.TempPathFactory, edges: list[tuple[int, int]], piece: int
) -> None:
    """Alternating stars, with every group in pieces as well as whole, against union by hand."""
    pairs = [(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]]
    label = {node: node for pair in pairs for node in pair}
    for _ in label:
        for a, b in pairs:
            label[a] = label[b] = min(label[a], label[b])
    folder = tmp_path_factory.mktemp("stars")
    level = np.array(pairs, np.int64).reshape(-1, 2)
    for round_ in range(40):
        both = np.concatenate([level, level[:, ::-1]])
        level, changed = one_star(both, "a", large_star, folder / f"{round_}-l", piece)
        level, more = one_star(level, "b", small_star, folder / f"{round_}-s", piece)
        if not changed + more:
            break
    assert {b: a for a, b in level.tolist()} == {node: root for node, root in label.items() if node != root}


def one_star(pairs: np.ndarray, key: str, reduce: Reduce, folder: Path, piece: int) -> tuple[np.ndarray, int]:
    folder.mkdir()
    table = sort_by(pa.table({"a": pairs[:, 0], "b": pairs[:, 1]}), key)
    chunks = (table.slice(start, piece) for start in range(0, table.num_rows, piece))
    summary = reduce(0, chunks, folder)
    return np.concatenate([np.empty((0, 2), np.int64), *read_pairs(folder / "pairs.arrow")]), summary["changed"]
