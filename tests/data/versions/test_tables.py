"""Tables of a version: the same bytes in whatever pieces and by however many workers their rows are made."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.compliance import Acquired, Caps
from expedition.data.engine import Limits
from expedition.data.engine.tables import TableWriter, write_batches, write_table
from expedition.data.records import DOCUMENT_SCHEMA, Document, document_batch
from expedition.data.versions import index
from expedition.data.versions.assemble import Cut, Prepared
from expedition.data.versions.caps import Measure, cut_of, first_beyond
from expedition.data.versions.copies import COPIES_SCHEMA, Removed
from expedition.data.versions.dropped import Losses, gather_dropped, write_dropped
from expedition.data.versions.index import (
    DROPPED_SCHEMA,
    INDEX,
    LINEAGE,
    SHARD_STATISTICS,
    BuiltShard,
    Provenance,
    RowGroups,
    write_tables,
)
from expedition.data.versions.shards import PLACED_SCHEMA


def name_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(0, 40), max_size=12))
def test_bytes_of_a_table_do_not_depend_on_its_pieces(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("groups")
    rows = pa.record_batch({"n": np.arange(sum(pieces)), "s": [f"name {n % 7}" for n in range(sum(pieces))]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "ROW_GROUP_ROWS", 16)
        for name, sizes in (("pieces", pieces), ("whole", [sum(pieces)])):
            with RowGroups(folder / name, rows.schema) as table:
                start = 0
                for size in sizes:
                    table.write(rows.slice(start, size))
                    start += size
    assert (folder / "pieces").read_bytes() == (folder / "whole").read_bytes()
    assert pq.read_table(folder / "whole").to_pydict() == rows.to_pydict()
    file = pq.ParquetFile(folder / "whole")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)][:-1] == [16] * max(
        0, file.num_row_groups - 1
    )


def placed(number: int) -> dict[str, Any]:
    told = {"source": f"s{number % 2}", "kind": "web", "language": "en", "path": f"p{number}", "decisions": ""}
    places = {"tokens_offset": 512, "tokens_bytes": 64, "json_offset": 0, "json_bytes": 8, "media": []}
    return {"id": name_of(number), **told, "characters": 9, "tokens": 1 + number % 5, "modalities": "{}", **places}


def write_shards(folder: Path, sizes: tuple[int, ...]) -> list[BuiltShard]:
    shards, first = [], 0
    for number, size in enumerate(sizes):
        rows = [placed(first + row) for row in range(size)]
        path = folder / f"placed-{number}.arrow"
        write_table(path, pa.Table.from_pylist(rows, schema=PLACED_SCHEMA), batch_rows=7)
        shards.append(BuiltShard(f"shards/web-{number:05d}.tar", path, "0", 1, size, sum(r["tokens"] for r in rows)))
        first += size
    return shards


def test_tables_number_documents_and_tokens_across_shards_and_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "ROW_GROUP_ROWS", 10)
    shards = write_shards(tmp_path, (13, 1, 26))
    provenance = {f"s{n}": Provenance(Acquired(f"s{n}", "2031-01-01", {"p7": "2031-02-01"}), "L1") for n in (0, 1)}
    for workers in (0, 2):
        write_tables(tmp_path / str(workers), shards, provenance, Limits(workers=workers))
    for name in (INDEX, LINEAGE, SHARD_STATISTICS):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    lineage = pq.read_table(tmp_path / "0" / LINEAGE)
    assert pq.ParquetFile(tmp_path / "0" / LINEAGE).num_row_groups == 4
    tokens = [1 + n % 5 for n in range(40)]
    assert lineage["doc"].to_pylist() == list(range(40))
    assert lineage["token_end"].to_pylist() == np.cumsum(tokens).tolist()
    assert lineage["token_first"].to_pylist() == [0, *np.cumsum(tokens).tolist()[:-1]]
    assert [n for n, at in enumerate(lineage["acquired_at"].to_pylist()) if at == "2031-02-01"] == [7]
    shard_of = pq.read_table(tmp_path / "0" / INDEX)["shard"].to_pylist()
    assert [shard_of.count(shard.path) for shard in shards] == [13, 1, 26]


def losses_of(folder: Path, file: int, source: str) -> Losses:
    """Twelve documents of a file: two copies, and a cap that leaves out the four largest ids; two lost before."""
    numbers = range(100 * file, 100 * file + 12)
    documents = [Document(name_of(n), source, "web", f"{source}/{file:02d}.txt", f"text {n}") for n in numbers]
    write_batches(folder / f"{file}.arrow", DOCUMENT_SCHEMA, [document_batch(documents)])
    with TableWriter(folder / f"{file}-lost.arrow", DROPPED_SCHEMA) as lost:
        row = {"source": source, "kind": "web", "stage": "quality", "reason": "short: 3 words"}
        lost.add({**row, "id": name_of(100 * file + n), "path": f"{source}/{file:02d}.txt"} for n in (50, 51))
    copies = [{"number": n, "id": item.id, "reason": "exact duplicate", "of": "x"} for n, item in enumerate(documents)]
    write_table(folder / f"{file}-copies.arrow", pa.Table.from_pylist(copies[2:4], schema=COPIES_SCHEMA))
    cut = Cut(sorted(item.id for item in documents)[8], "minimal use: documents ≤ 8")
    removed = Removed(folder / f"{file}-copies.arrow", 0, 2)
    path = f"{source}/{file:02d}.txt"
    return Losses(source, path, folder / f"{file}-lost.arrow", 2, folder / f"{file}.arrow", removed, cut, 12)


def test_losses_are_one_sorted_table_whatever_ranges_and_workers(tmp_path: Path) -> None:
    losses = [losses_of(tmp_path, file, source) for file, source in ((3, "b"), (1, "a"), (0, "a"), (2, "b"))]
    tables = []
    for workers, rows in ((0, 1 << 18), (2, 1 << 18), (0, 20)):
        found = gather_dropped(losses, tmp_path / f"work-{workers}-{rows}", Limits(workers=workers), rows)
        write_dropped(tmp_path / f"{workers}-{rows}.parquet", found.parts)
        tables.append((tmp_path / f"{workers}-{rows}.parquet").read_bytes())
        assert len(found.parts) == (4 if rows == 20 else 1)
    assert tables[0] == tables[1] == tables[2]
    rows = pq.read_table(tmp_path / "0-20.parquet").to_pylist()
    names = ("source", "path", "inner", "id", "stage", "reason")
    assert [[row[n] or "" for n in names] for row in rows] == sorted([row[n] or "" for n in names] for row in rows)
    assert sum(row["stage"] == "dedup" and row["of"] == "x" for row in rows) == 8
    late = {(item.stage, item.source): item.documents for item in found.late}
    assert late["dedup", "a"] == late["dedup", "b"] == 4
    capped = sum(row["stage"] == "compliance" for row in rows)
    assert 4 * 2 <= capped == late["compliance", "a"] + late["compliance", "b"] <= 4 * 4
    assert len(rows) == 4 * 2 + 8 + capped


@settings(max_examples=20, deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    most=st.fixed_dictionaries({}, optional={"documents": st.integers(1, 120), "bytes": st.integers(1, 900)}),
)
def test_a_cap_ends_at_the_first_document_beyond_it(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], most: dict[str, int]
) -> None:
    folder, first, rows = tmp_path_factory.mktemp("caps"), 0, []
    for file, count in enumerate(counts):
        made = [Document(name_of(n), "s", "web", "p", "x" * (n % 11)) for n in range(first, first + count)]
        first += count
        rows += [(item.id, len(item.text), 1) for item in made]
        write_batches(folder / f"{file}.arrow", DOCUMENT_SCHEMA, [document_batch(made)] if made else [])
        (folder / str(file)).mkdir()
        Measure(None)(Prepared(str(file), folder / f"{file}.arrow", frozenset()), folder / str(file))
    caps = Caps(**most)
    assert cut_of([folder / str(file) for file in range(len(counts))], caps) == first_beyond(sorted(rows), caps)
