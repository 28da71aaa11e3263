"""The exchange: rows meet by key, bounded in memory, the same bytes whatever the workers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.engine import Exchange, Limits, exchange
from expedition.data.engine.merge import fan_in, groups, in_pieces, sort_by, sorted_chunks, whole_or_split
from expedition.data.engine.runs import BANDS, BATCH_BYTES, write_segment
from expedition.data.engine.tables import read_table, write_table
from expedition.errors import CheckFailed, StorageError

from .shard_functions import sum_by_key
from .test_local import tree_hash


def write_inputs(folder: Path, rows: int = 3000) -> list[Path]:
    generator = np.random.Generator(np.random.PCG64(5))
    paths = []
    for number in range(3):
        keys = [f"k{value:03d}" for value in generator.integers(0, 200, rows)]
        table = pa.table({"key": keys, "value": generator.integers(0, 1000, rows)})
        paths.append(folder / f"input-{number}.arrow")
        write_table(paths[-1], table)
    return paths


def expected(paths: list[Path]) -> dict[str, list[int]]:
    sums: dict[str, list[int]] = defaultdict(list)
    for path in paths:
        for row in read_table(path).to_pylist():
            sums[row["key"]].append(row["value"])
    return sums


@pytest.mark.parametrize("memory_bytes", [1 << 30, 20_000])
def test_every_row_reaches_its_key_in_input_order(tmp_path: Path, memory_bytes: int) -> None:
    paths = write_inputs(tmp_path)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=4, memory_bytes=memory_bytes)
    outcomes = exchange(paths, plan, tmp_path / "work", Limits(workers=0))
    lines = [line for outcome in outcomes for line in (outcome.folder / "sums.txt").read_text().splitlines()]
    assert sorted(lines) == sorted(f"{key} {values}" for key, values in expected(paths).items())


def test_exchange_bytes_do_not_depend_on_workers(tmp_path: Path) -> None:
    paths = write_inputs(tmp_path)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=3, memory_bytes=20_000)
    for workers in (0, 1, 2):
        exchange(paths, plan, tmp_path / str(workers), Limits(workers=workers))
    hashes = {tree_hash(tmp_path / str(workers) / "gather") for workers in (0, 1, 2)}
    assert len(hashes) == 1


def test_partition_column_decides_where_rows_go(tmp_path: Path) -> None:
    table = pa.table({"key": [5, 3, 3], "value": [1, 2, 3], "home": [1, 0, 1]})
    write_table(tmp_path / "in.arrow", table)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=2, partition="home")
    outcomes = exchange([tmp_path / "in.arrow"], plan, tmp_path / "work", Limits(workers=0))
    assert [(item.folder / "sums.txt").read_text() for item in outcomes] == ["3 [2]", "3 [3]\n5 [1]"]


def test_partition_out_of_range_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "in.arrow", pa.table({"key": [5], "value": [1], "home": [7]}))
    plan = Exchange(key="key", reduce=sum_by_key, partitions=2, partition="home")
    with pytest.raises(CheckFailed, match="partition 7"):
        exchange([tmp_path / "in.arrow"], plan, tmp_path / "work", Limits(workers=0))


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.lists(st.integers(0, 50), max_size=60), max_size=9),
    memory_bytes=st.integers(64, 4096),
    batch_bytes=st.integers(16, 400),
    piece_rows=st.integers(1, 40),
)
def test_chunks_are_the_stable_sort_of_all_runs(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[int]],
    memory_bytes: int,
    batch_bytes: int,
    piece_rows: int,
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    tables = [
        sort_by(pa.table({"key": pa.array(keys, pa.int64()), "row": [f"{run}.{i}" for i in range(len(keys))]}), "key")
        for run, keys in enumerate(runs)
        if keys
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("expedition.data.engine.runs.BATCH_BYTES", batch_bytes)
        made = [
            write_segment(folder / f"{number}.run", table.schema, iter([table])) for number, table in enumerate(tables)
        ]
        # Memory far below BATCH_BYTES: the fan-in is two, so more runs take several passes.
        chunks = list(sorted_chunks(made, "key", memory_bytes, folder))
    whole = sort_by(pa.concat_tables(tables), "key").to_pylist() if tables else []
    assert [row for chunk in chunks for row in chunk.to_pylist()] == whole
    assert not list(folder.glob(".merge-*"))
    assert sum(group.num_rows for chunk in chunks for group in groups(chunk, "key")) == len(whole)
    for left, right in itertools.pairwise(chunks):
        if left["key"][-1] == right["key"][0]:
            same = [chunk.filter(pc.field("key") == left["key"][-1].as_py()) for chunk in chunks]
            assert sum(table.nbytes for table in same) > memory_bytes // 4
    for split in (whole_or_split(iter(chunks), "key"), in_pieces(iter(chunks), "key", piece_rows)):
        check_parts(split, whole)


def check_parts(split: Iterator[pa.Table | Iterator[pa.Table]], whole: list[dict[str, object]]) -> None:
    parts = []
    for item in split:
        pieces = [item] if isinstance(item, pa.Table) else list(item)
        parts.append(pa.concat_tables(pieces))
    firsts = [set(part["key"].to_pylist()) for part in parts]
    assert all(not (a & b) for i, a in enumerate(firsts) for b in firsts[i + 1 :])
    assert [row for part in parts for row in part.to_pylist()] == whole


def test_no_more_segments_are_read_at_once_than_memory_has_batches_for() -> None:
    for memory_bytes in (1 << 20, 64 << 20, 1 << 30, 1 << 40):
        assert 2 <= fan_in(memory_bytes) <= 256
        assert fan_in(memory_bytes) == 2 or fan_in(memory_bytes) * BATCH_BYTES <= memory_bytes // 4


def peak_of_one_key(memory_bytes: int, rows: int, folder: Path) -> tuple[int, int]:
    """Rows reduced and Arrow's peak bytes in a process that exchanges one key of `rows` rows of 1 KiB."""
    code = f"""
import pyarrow as pa
from pathlib import Path
from expedition.data.engine import Exchange, Limits, exchange
def rows(seed):
    for start in range(0, {rows}, 256):
        yield pa.RecordBatch.from_pydict({{"key": pa.array([7] * 256, pa.int64()), "data": [bytes(1024)] * 256}})
def count(partition, chunks, folder):
    return {{"rows": sum(chunk.num_rows for chunk in chunks)}}
plan = Exchange("key", count, 4, memory_bytes={memory_bytes}, rows=rows, row_bytes={rows} * 1024)
found = exchange([0, 1], plan, Path({str(folder)!r}), Limits(workers=0))
print(sum(item.summary["rows"] for item in found), pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, peak = done.stdout.split()
    return int(found), int(peak)


def test_one_key_of_any_number_of_rows_stays_in_memory(tmp_path: Path) -> None:
    """The worst skew: every row has the same key. 128 MiB of it pass through 16 MiB."""
    memory_bytes, rows = 16 << 20, 1 << 16
    found, peak = peak_of_one_key(memory_bytes, rows, tmp_path / "work")
    assert found == 2 * rows
    assert peak <= memory_bytes + BATCH_BYTES


def test_runs_go_when_their_partitions_are_reduced(tmp_path: Path) -> None:
    paths = write_inputs(tmp_path)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=40)
    exchange(paths, plan, tmp_path / "work", Limits(workers=0))
    assert not list((tmp_path / "work" / "scatter").rglob("band-*"))
    again = exchange(paths, plan, tmp_path / "work", Limits(workers=0))
    assert sum(item.summary["groups"] for item in again) == 200


def test_other_inputs_start_anew(tmp_path: Path) -> None:
    paths = write_inputs(tmp_path)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=2)
    exchange(paths, plan, tmp_path / "work", Limits(workers=0))
    fewer = exchange(paths[:1], plan, tmp_path / "work", Limits(workers=0))
    lines = [line for item in fewer for line in (item.folder / "sums.txt").read_text().splitlines()]
    assert sorted(lines) == sorted(f"{key} {values}" for key, values in expected(paths[:1]).items())


def test_many_inputs_and_partitions_make_few_files(tmp_path: Path) -> None:
    for number in range(130):
        write_table(tmp_path / f"{number}.arrow", pa.table({"key": [number, number + 1], "value": [1, 2]}))
    plan = Exchange(key="key", reduce=fail, partitions=500, memory_bytes=1 << 10)
    with pytest.raises(CheckFailed):
        exchange([tmp_path / f"{n}.arrow" for n in range(130)], plan, tmp_path / "work", Limits(workers=0, attempts=1))
    runs = list((tmp_path / "work" / "scatter").glob("run-*"))
    assert len(runs) <= 64
    assert max(len(list(run.iterdir())) for run in runs) <= 2 * BANDS + 1


def test_a_full_disk_is_told_before_start(tmp_path: Path) -> None:
    paths = write_inputs(tmp_path)
    plan = Exchange(key="key", reduce=sum_by_key, partitions=2, row_bytes=1 << 60)
    with pytest.raises(StorageError, match="bytes are free"):
        exchange(paths, plan, tmp_path / "work", Limits(workers=0))
    assert not (tmp_path / "work" / "scatter").exists()


def fail(partition: int, chunks: Iterator[pa.Table], folder: Path) -> dict[str, int]:
    raise ValueError("never reduced")
