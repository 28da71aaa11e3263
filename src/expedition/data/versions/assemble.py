"""From clean documents to finished shards: tokenise, bring together by shard, write, publish.

tokenise   a file of documents → rows with tokens and a shard number (shard map)
exchange   rows of one shard, sorted by id → one tar and its table
publish    tars into the workspace under their final names
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.engine import Exchange, Limits, Outcome, Task, exchange, map_shards
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import TableWriter, read_batches, write_batches
from expedition.data.tokenizer import Tokenizer
from expedition.data.versions.decisions import META
from expedition.data.versions.index import BuiltShard
from expedition.data.versions.plan import ShardPlan
from expedition.data.versions.rows import ROW_SCHEMA, rows_of
from expedition.data.versions.shards import PLACED_SCHEMA, write_shard
from expedition.errors import CheckFailed, StorageError
from expedition.plan.media import MediaRule
from expedition.workspace import Lease, NotFound, Workspace, layout
from expedition.workspace.hashes import sha256_file

ROWS = "rows.arrow"
PUT_TRIES = 3
"""Times that a file is put into a store that acknowledges and loses it."""
SHARD = "shard.tar"
PLACED = "placed.arrow"
_TOKENISE_ROWS = 64
SLOWEST_BYTES_PER_S = 200_000
"""A file that is tokenised more slowly than this is taken to hang."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a cap ends: documents with this id and larger ones are left out, for this reason."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file of clean documents, the ids in it that global stages removed, and whether it is to be minimised."""

    key: str
    path: Path
    removed: Container[str]
    """Ids of the copies in it."""
    withhold: bool = False
    source: str = ""
    cut: Cut | None = None
    """What the source's approval leaves out beyond its caps."""

    def keeps(self, document: str) -> bool:
        """Whether the document with this id goes into the version."""
        return document not in self.removed and (self.cut is None or document < self.cut.id)


@dataclass(frozen=True, slots=True)
class Tokenise:
    """Shard function: a `Prepared` file into rows (`ROW_SCHEMA`)."""

    tokenizer_folder: Path
    rule: MediaRule
    plan: ShardPlan

    def __call__(self, prepared: Prepared, folder: Path) -> Summary:
        """Write `rows.arrow`; the summary counts rows."""
        rows = write_batches(folder / ROWS, ROW_SCHEMA, self._rows(prepared))
        size = prepared.path.stat().st_size
        return {"rows": rows, "counts": {"records_in": rows, "records_out": rows, "read_bytes": size}}

    def _rows(self, prepared: Prepared) -> Iterator[pa.RecordBatch]:
        tokenizer = loaded_tokenizer(self.tokenizer_folder)
        resolve = self.plan.resolver()
        for batch in read_batches(prepared.path):
            for start in range(0, batch.num_rows, _TOKENISE_ROWS):
                documents = [row for row in batch.slice(start, _TOKENISE_ROWS).to_pylist() if prepared.keeps(row["id"])]
                if prepared.withhold:
                    documents = [minimised(row) for row in documents]
                shards = [resolve(row["id"], row["kind"]) for row in documents]
                if documents:
                    yield rows_of(documents, shards, tokenizer, self.rule)


def minimised(row: dict[str, Any]) -> dict[str, Any]:
    """A document without what training does not need: URL and told meta go, its place in its file stays for lineage."""
    told = json.loads(row["meta"] or "{}")
    return {**row, "url": None, "meta": json.dumps({name: told[name] for name in ("inner", META) if name in told})}


@lru_cache(maxsize=2)
def loaded_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in `folder`, loaded once a process."""
    return Tokenizer.load(folder)


def reduce_shard(partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
    """Reduce function: one shard's rows into `shard.tar` and `placed.arrow`; nothing for an empty partition."""
    documents = tokens = 0

    def counted() -> Iterator[dict[str, Any]]:
        nonlocal documents, tokens
        for row in write_shard(folder / SHARD, chunks):
            documents, tokens = documents + 1, tokens + row["tokens"]
            yield row

    with TableWriter(folder / PLACED, PLACED_SCHEMA) as table:
        table.add(counted())
    if not documents:
        (folder / SHARD).unlink()
        (folder / PLACED).unlink()
        return {"documents": 0, "tokens": 0}
    return {
        "documents": documents,
        "tokens": tokens,
        "bytes": (folder / SHARD).stat().st_size,
        "sha256": sha256_file(folder / SHARD),
    }


def assemble(
    prepared: Sequence[Prepared],
    work: Tokenise,
    workdir: Path,
    limits: Limits,
) -> list[Outcome]:
    """Tokenise and write all shards below `workdir`; one outcome a unit of the plan. Blocking, restartable."""
    sizes = [item.path.stat().st_size for item in prepared]
    tasks = [
        Task(item.key, item, weight=size, extra_s=size / SLOWEST_BYTES_PER_S)
        for item, size in zip(prepared, sizes, strict=True)
    ]
    tokenised = map_shards(work, tasks, workdir / "tokenise", limits)
    for outcome in tokenised:
        if outcome.quarantined is not None:
            raise CheckFailed(f"tokenising {outcome.key} failed: {outcome.quarantined}", where=str(outcome.folder))
    plan = Exchange(key="id", reduce=reduce_shard, partitions=len(work.plan.units), partition="shard")
    return exchange([item.folder / ROWS for item in tokenised], plan, workdir / "shards", limits)


def publish(
    ws: Workspace, version: str, plan: ShardPlan, outcomes: Sequence[Outcome], lease: Lease
) -> dict[str, list[BuiltShard]]:
    """Put every shard that holds something under its final name; returns the shards by data set, in their order.

    The tar is linked, not moved: the scratch copy stays valid for a rerun that was killed before the manifest.
    """
    built: dict[str, list[BuiltShard]] = {unit.dataset: [] for unit in plan.units}
    numbers: dict[tuple[str, str], int] = {}
    for unit, outcome in zip(plan.units, outcomes, strict=True):
        summary = outcome.summary
        if not summary["documents"]:
            continue
        number = numbers.setdefault((unit.dataset, unit.kind), 0)
        numbers[unit.dataset, unit.kind] += 1
        path = f"shards/{unit.kind}-{number:05d}.tar"
        lease.check()
        _upload(ws, f"{layout.dataset(version, unit.dataset)}/{path}", outcome.folder / SHARD, summary["sha256"])
        built[unit.dataset].append(
            BuiltShard(
                path,
                outcome.folder / PLACED,
                summary["sha256"],
                summary["bytes"],
                summary["documents"],
                summary["tokens"],
            )
        )
    return built


def _upload(ws: Workspace, key: str, path: Path, digest: str) -> None:
    if ws.store.exists(key) and ws.hash(key) == digest:
        return
    upload_link(ws, key, path)


def upload_link(ws: Workspace, key: str, path: Path) -> None:
    """Put a local file into the workspace and keep it: the store may consume only a hard link of it.

    Raises StorageError if it does not arrive.
    """
    link = path.with_name(f".{path.name}.upload")

    def put() -> None:
        link.unlink(missing_ok=True)
        os.link(path, link)
        ws.store.upload(key, link)

    try:
        put_surely(ws, key, path.stat().st_size, put)
    finally:
        link.unlink(missing_ok=True)


def put_surely(ws: Workspace, key: str, size: int, put: Callable[[], object]) -> None:
    """`put`, and ask whether `key` is there with its size; again if it is not: a store may acknowledge what it loses.

    Raises StorageError after `PUT_TRIES`.
    """
    for _ in range(PUT_TRIES):
        put()
        with suppress(NotFound):
            if ws.store.size(key) == size:
                return
    raise StorageError(
        f"the store took {key} {PUT_TRIES} times and does not have it",
        where=ws.store.describe(),
        fix="run the same command again: what is there is not sent again; if it stays so, use another store",
    )
