"""The exchange: rows meet by key, bounded in memory, the same bytes whatever the workers."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.engine import Exchange, Limits, exchange
from expedition.data.engine.merge import groups, sort_by, sorted_chunks
from expedition.data.engine.tables import read_table, write_table
from expedition.errors import CheckFailed

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


@settings(max_examples=40, deadline=None)
@given(runs=st.lists(st.lists(st.integers(0, 50), max_size=60), max_size=5), memory_bytes=st.integers(64, 4096))
def test_chunks_are_the_stable_sort_of_all_runs(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[int]], memory_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    tables = [
        sort_by(pa.table({"key": pa.array(keys, pa.int64()), "row": [f"{run}.{i}" for i in range(len(keys))]}), "key")
        for run, keys in enumerate(runs)
        if keys
    ]
    for number, table in enumerate(tables):
        write_table(folder / f"{number}.arrow", table)
    paths = [folder / f"{number}.arrow" for number in range(len(tables))]
    chunks = list(sorted_chunks(paths, "key", memory_bytes))
    whole = sort_by(pa.concat_tables(tables), "key").to_pylist() if tables else []
    assert [row for chunk in chunks for row in chunk.to_pylist()] == whole
    firsts = [set(chunk.column("key").to_pylist()) for chunk in chunks]
    assert all(not (a & b) for i, a in enumerate(firsts) for b in firsts[i + 1 :])
    assert sum(group.num_rows for chunk in chunks for group in groups(chunk, "key")) == len(whole)
