"""The step `site_lines` of a build: lines that repeat over a site counted by one exchange, and files written without them.

count    (site, line, document) of every document that is left → one partition a group of hosts
reduce   lines of enough documents of their host: two sorted arrays a partition, `keys.npy` and `keepers.npy`
write    each file of documents again, if a line of it is among them; files without one stay where they are
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.engine import Exchange, Limits, Task, exchange, map_shards
from expedition.data.engine.exchange import partitions_for
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import read_batches, write_batches
from expedition.data.records import DOCUMENT_SCHEMA
from expedition.data.stages.dedup.lines import (
    ANY_SITE,
    LINES,
    PARAGRAPHS,
    STAGE,
    document_number,
    line_keys,
    site_of,
    strip_lines,
)
from expedition.data.versions.assemble import SLOWEST_BYTES_PER_S, Prepared
from expedition.data.versions.decisions import recorded
from expedition.data.versions.prepare import DOCUMENTS
from expedition.data.versions.tally import Tally
from expedition.errors import CheckFailed
from expedition.plan.data import SiteLinesPlan

KIND = "web"
KEYS, KEEPERS = "keys.npy", "keepers.npy"
_ROW = pa.schema([("key", pa.int64()), ("site", pa.int64()), ("document", pa.int64()), ("partition", pa.int32())])
_ROW_BYTES_A_TEXT_BYTE = 0.5
"""Rows are about so large beside the text: a line of 50 bytes is a row of 28."""
_CANDIDATE = 4
"""Numbers of a candidate on disk: key, site, documents, smallest document."""
_WITHOUT_HOST = "documents without a host"
_LEFT_ALONE = "left alone"
Numbers = npt.NDArray[np.int64]


def strip_site_lines(
    prepared: Sequence[Prepared], plan: SiteLinesPlan, workdir: Path, limits: Limits, text_bytes: int
) -> tuple[list[Prepared], list[dict[str, Any]]]:
    """`prepared` with the files that hold template lines written again, and what was done as rows of a tally.

    Blocking, restartable, deterministic. `text_bytes` of all documents, about: what the exchange is sized by.
    """
    if not plan.min_documents or not prepared:
        return list(prepared), []
    row_bytes = int(text_bytes * _ROW_BYTES_A_TEXT_BYTE) + 1
    memory = min(256 << 20, limits.memory_bytes // 4)
    partitions = partitions_for(row_bytes, memory)
    counting = Exchange(
        key="key",
        reduce=FindTemplate(plan.min_documents, plan.min_share),
        partitions=partitions,
        partition="partition",
        rows=LineRows(partitions),
        row_bytes=row_bytes,
        memory_bytes=memory,
    )
    found = exchange(list(prepared), counting, workdir / "count", limits)
    folders = tuple(outcome.folder for outcome in found)
    sizes = [item.path.stat().st_size for item in prepared]
    tasks = [
        Task(item.key, item, weight=size, extra_s=size / SLOWEST_BYTES_PER_S)
        for item, size in zip(prepared, sizes, strict=True)
    ]
    outcomes = map_shards(WriteWithout(folders), tasks, workdir / "write", limits)
    tally = Tally()
    written: list[Prepared] = []
    for item, outcome in zip(prepared, outcomes, strict=True):
        if outcome.quarantined is not None:
            raise CheckFailed(f"removing lines from {outcome.key} failed: {outcome.quarantined}", where=str(item.path))
        tally.add(outcome.summary["tally"])
        written.append(replace(item, path=outcome.folder / DOCUMENTS) if outcome.summary["changed"] else item)
    return written, tally.rows()


@dataclass(frozen=True, slots=True)
class LineRows:
    """The rows of one file: a line, its site, its document. Lines of one site fall into one partition."""

    partitions: int

    def __call__(self, prepared: Prepared) -> Iterator[pa.RecordBatch]:
        """Batches of `_ROW`."""
        for batch in read_batches(prepared.path, ("id", "kind", "url", "text")):
            keys: list[Numbers] = []
            sites: list[Numbers] = []
            documents: list[Numbers] = []
            for row in batch.select(["id", "kind", "url", "text"]).to_pylist():
                site = site_of(row["url"])
                if row["kind"] != KIND or site is None or not prepared.keeps(row["id"]):
                    continue
                own = np.array([site], np.int64)
                found_sites, found_keys = line_keys(row["text"] or "", site)
                keys += [own, found_keys]
                sites += [own, found_sites]
                documents.append(np.full(1 + len(found_keys), document_number(row["id"]), np.int64))
            if keys:
                columns = [np.concatenate(column) for column in (keys, sites, documents)]
                homes = self._homes(columns[1], columns[0])
                yield pa.RecordBatch.from_arrays([pa.array(column) for column in (*columns, homes)], schema=_ROW)

    def _homes(self, sites: Numbers, keys: Numbers) -> npt.NDArray[np.int32]:
        return (np.where(sites == ANY_SITE, keys, sites) % self.partitions).astype(np.int32)


@dataclass(frozen=True, slots=True)
class FindTemplate:
    """Reduce function: the lines of enough documents. A key that is its own site counts the documents of the host."""

    min_documents: int
    min_share: float

    def __call__(self, partition: int, chunks: Iterator[pa.Table], folder: Path) -> Summary:
        """Write `keys.npy` (ascending) and `keepers.npy`: the document that keeps a paragraph, -1 for lines."""
        path = folder / "candidates.bin"
        totals: dict[int, int] = {}
        with path.open("wb") as file:
            for group in self._groups(chunks):
                own = group[:, 0] == group[:, 1]
                totals.update(zip(group[own, 1].tolist(), group[own, 2].tolist(), strict=True))
                file.write(group[~own].tobytes())
        keys, keepers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        if path.stat().st_size:
            held = np.memmap(path, np.int64, "r").reshape(-1, _CANDIDATE)
            for start in range(0, len(held), 1 << 18):
                part = held[start : start + (1 << 18)]
                whole = np.array([totals.get(site, 0) for site in part[:, 1].tolist()], np.int64)
                kept = (part[:, 1] == ANY_SITE) | (part[:, 2] >= self.min_share * whole)
                keys.append(part[kept, 0])
                keepers.append(np.where(part[kept, 1] == ANY_SITE, part[kept, 3], -1))
        path.unlink()
        np.save(folder / KEYS, np.concatenate(keys), allow_pickle=False)
        np.save(folder / KEEPERS, np.concatenate(keepers), allow_pickle=False)
        return {"hosts": len(totals), "template": sum(map(len, keys))}

    def _groups(self, chunks: Iterator[pa.Table]) -> Iterator[Numbers]:
        """(key, site, documents, smallest document) of keys with enough documents; a key may span chunks."""
        last = np.empty((0, _CANDIDATE), np.int64)
        for chunk in chunks:
            columns = [chunk.column(name).to_numpy() for name in ("key", "site", "document")]
            keys = columns[0]
            starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
            counts = np.diff(np.concatenate([starts, [len(keys)]]))
            smallest = np.minimum.reduceat(columns[2], starts)
            group = np.stack([keys[starts], columns[1][starts], counts, smallest], axis=1)
            if len(last) and last[0, 0] == group[0, 0]:
                group[0, 2] += last[0, 2]
                group[0, 3] = min(group[0, 3], last[0, 3])
            elif len(last):
                group = np.concatenate([last, group])
            last = group[-1:]
            yield self._enough(group[:-1])
        yield self._enough(last)

    def _enough(self, group: Numbers) -> Numbers:
        return group[group[:, 2] >= self.min_documents]


@dataclass(frozen=True, slots=True)
class WriteWithout:
    """Shard function: a file of documents without template lines; nothing is written where none is in it."""

    folders: tuple[Path, ...]
    """A folder a partition, with its arrays."""

    def __call__(self, prepared: Prepared, folder: Path) -> Summary:
        """Write `documents.arrow` if a document changes."""
        tally = Tally()
        changed = False
        path = folder / DOCUMENTS

        def batches() -> Iterator[pa.RecordBatch]:
            nonlocal changed
            for batch in read_batches(prepared.path):
                done = self._batch(prepared, batch, tally)
                changed = changed or done is not batch
                yield done

        rows = write_batches(path, DOCUMENT_SCHEMA, batches())
        if not changed:
            path.unlink(missing_ok=True)
        size = prepared.path.stat().st_size
        told = {"records_in": rows, "records_out": rows, "read_bytes": size}
        return {"changed": changed, "tally": tally.rows(), "counts": told}

    def _batch(self, prepared: Prepared, batch: pa.RecordBatch, tally: Tally) -> pa.RecordBatch:
        if KIND not in batch.column("kind").to_pylist():
            return batch
        texts: list[str | None] = []
        changes: dict[str, tuple[str, ...]] = {}
        for row in batch.select(["id", "source", "kind", "url", "text"]).to_pylist():
            texts.append(row["text"])
            if row["kind"] != KIND or not prepared.keeps(row["id"]):
                continue
            cell = tally.cell(STAGE, row["source"], row["kind"])
            cell.into, cell.out = cell.into + 1, cell.out + 1
            site = site_of(row["url"])
            if site is None:
                cell.counts[_WITHOUT_HOST] += 1
                continue
            repeated = partial(self._repeated, document_number(row["id"]))
            found = strip_lines(row["text"] or "", site, repeated)
            counts = Counter({LINES: found.lines, PARAGRAPHS: found.paragraphs, "characters removed": found.characters})
            if not found.characters:
                continue
            if not found.text.strip():
                cell.counts[_LEFT_ALONE] += 1
                continue
            texts[-1] = found.text
            changes[row["id"]] = tuple(name for name in (LINES, PARAGRAPHS) if counts[name])
            cell.changed.update(changes[row["id"]])
            cell.counts.update(+counts)
        if not changes:
            return batch
        place = batch.schema.get_field_index("text")
        batch = batch.set_column(place, batch.schema.field(place), pa.array(texts, batch.schema.field(place).type))
        return recorded(batch, STAGE, changes)

    def _repeated(self, document: int, sites: Numbers, keys: Numbers) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(keys), np.bool_)
        homes = np.where(sites == ANY_SITE, keys, sites) % len(self.folders)
        for home in np.unique(homes).tolist():
            template, keepers = _template(self.folders[home])
            here = np.flatnonzero(homes == home) if len(template) else ()
            if len(here):
                places = np.minimum(np.searchsorted(template, keys[here]), len(template) - 1)
                found[here] = (template[places] == keys[here]) & (keepers[places] != document)
        return found


@lru_cache(maxsize=64)
def _template(folder: Path) -> tuple[Numbers, Numbers]:
    """A partition's arrays, mapped: pages come in where they are looked at."""
    arrays = [np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in (KEYS, KEEPERS)]
    return arrays[0], arrays[1]
