"""Decode and clean: each unit of a source's items into one committed file of documents, and what was lost on the way.

The folder of this work is named by everything that decides its bytes (code, plan, benchmarks), and each task by the
files it reads, so a later version finds what an earlier one has done.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from expedition.data.decode import DecodeRules
from expedition.data.engine import Limits, Outcome, Task, map_shards, release_quarantine
from expedition.data.engine.shard import Summary
from expedition.data.engine.tables import TableWriter, write_batches
from expedition.data.records import DOCUMENT_SCHEMA
from expedition.data.sources import ItemRef, Rejected, SourceFolder, read_documents, work_units
from expedition.data.sources.walk import walk
from expedition.data.stages import BenchmarkIndex, standard_stages
from expedition.data.stages.stage import Stage
from expedition.data.stages.text import load_model
from expedition.data.versions.approved import Approved, UsedSource, refuse_unfit_plan
from expedition.data.versions.assemble import Prepared
from expedition.data.versions.clean import COMPLIANCE, Cleaning, short
from expedition.data.versions.code import code_version
from expedition.data.versions.copies import Copies
from expedition.data.versions.dropped import DEDUP, Late, Losses
from expedition.data.versions.index import DROPPED_SCHEMA
from expedition.data.versions.tally import Tally
from expedition.errors import CheckFailed
from expedition.plan.data import DataPlan, SourcePolicy
from expedition.plan.media import MediaRule
from expedition.plan.models import Programme
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_json

DOCUMENTS = "documents.arrow"
LOST = "dropped.arrow"
UNIT_BYTES = 8 << 20
UNIT_ITEMS = 128
ACCOUNT = "account.json"
"""What the report says of a unit: its tally, and what could not be read."""
UNREADABLE_LISTED = 200
UNREADABLE_REPORTED = 10_000
"""Most unreadable parts of one unit, and of all, that the report lists with details; all are counted, and in LOST."""
SLOWEST_BYTES_PER_S = 50_000
"""A unit that is cleaned more slowly than this is taken to hang."""
GIVEN_UP_ITEMS = 20
GIVEN_UP_SHARE = 0.01
"""A build that gives up more than the larger of these (items, share of items) stops."""
DECODE = "decode"


@dataclass(frozen=True, slots=True)
class Setup:
    """What every unit of a build is cleaned by; hashable, so that a worker makes its stages once."""

    plan: str
    """`DataPlan` as JSON."""
    media: str
    """`MediaRule` as JSON."""
    benchmarks: Path


@dataclass(frozen=True, slots=True)
class Unit:
    """One task: items of a source."""

    source: SourceFolder
    items: tuple[ItemRef, ...]
    share: float
    withhold: bool
    required: tuple[str, ...] = ()
    """Stages that every document must pass: see `Handling.stages`."""


@dataclass(frozen=True, slots=True)
class PrepareUnit:
    """Shard function: a unit into `documents.arrow` and `dropped.arrow`."""

    setup: Setup

    def __call__(self, unit: Unit, folder: Path) -> Summary:
        """Decode and clean; the summary holds counts alone: the building process keeps those of all units."""
        stages, rules, batch_documents = workshop(self.setup)
        cleaning = Cleaning(stages, unit.share, unit.required)
        found = _Found(cleaning)
        documents = read_documents(unit.source, unit.items, rules, batch_documents)
        with TableWriter(folder / LOST, DROPPED_SCHEMA) as lost:
            kept = write_batches(folder / DOCUMENTS, DOCUMENT_SCHEMA, found.batches(documents, lost))
        account = {"tally": cleaning.tally.rows(), "unreadable": found.unreadable}
        (folder / ACCOUNT).write_text(json.dumps(account, ensure_ascii=False), encoding="utf-8")
        return {
            "counts": {
                "records_in": found.decoded + found.rejected,
                "records_out": kept,
                "read_bytes": sum(item.size_bytes for item in unit.items),
                "rejects": dict(found.rejects),
            },
            "documents": kept,
            "lost": lost.rows,
            "decoded": found.decoded,
            "bytes": dict(found.bytes),
            "kinds": dict(found.kinds),
            "text_bytes": found.text_bytes,
            "unreadable_count": found.rejected,
        }


@lru_cache(maxsize=2)
def workshop(setup: Setup) -> tuple[list[Stage], DecodeRules, int]:
    """Stages, decoding rules and batch size of a set-up, made once a process."""
    plan = DataPlan.model_validate_json(setup.plan)
    rules = DecodeRules.for_media(MediaRule.model_validate_json(setup.media), plan.extraction)
    return standard_stages(plan, BenchmarkIndex.from_folder(setup.benchmarks)), rules, plan.batch_documents


class _Found:
    """Counts over one unit while its batches stream through."""

    def __init__(self, cleaning: Cleaning) -> None:
        self.cleaning = cleaning
        self.bytes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.decoded = 0
        self.text_bytes = 0
        self.rejects: Counter[str] = Counter()
        self.rejected = 0
        self.unreadable: list[dict[str, Any]] = []

    def batches(self, documents: Iterable[pa.RecordBatch | Rejected], lost: TableWriter) -> Iterator[pa.RecordBatch]:
        for item in documents:
            if isinstance(item, Rejected):
                lost.add([self._reject(item)])
                continue
            self.decoded += item.num_rows
            for batch in self.cleaning.run(item):
                kind = batch.column("kind")[0].as_py()
                self.bytes[kind] += batch.nbytes
                self.kinds[kind] += batch.num_rows
                self.text_bytes += batch.column("text").nbytes
                yield batch
            self.rejects.update(short(row["reason"]) for row in self.cleaning.dropped)
            lost.add(self.cleaning.dropped)
            self.cleaning.dropped.clear()

    def _reject(self, item: Rejected) -> dict[str, Any]:
        named = {"source": item.source, "path": item.path, "inner": item.inner or None}
        self.rejected += 1
        self.rejects[str(item.reason)] += 1
        if len(self.unreadable) < UNREADABLE_LISTED:
            self.unreadable.append({**named, "reason": str(item.reason), "detail": item.detail})
        blank = {"id": "", "kind": "", "url": None, "of": None}
        return {**blank, **named, "stage": DECODE, "reason": str(item.reason)}


@dataclass(frozen=True, slots=True)
class PreparedShards:
    """All units of a build that succeeded, and those that were given up, with the sums over them."""

    units: tuple[tuple[Unit, Outcome], ...]
    given_up: tuple[tuple[Unit, str], ...]

    @property
    def text_bytes(self) -> int:
        """Bytes of text of all documents."""
        return sum(outcome.summary["text_bytes"] for _, outcome in self.units)

    @property
    def bytes_by_kind(self) -> dict[str, int]:
        """Bytes of all documents by kind."""
        return dict(self._sum("bytes"))

    def paths(self) -> list[Path]:
        """The files of documents, in the order of units."""
        return [outcome.folder / DOCUMENTS for _, outcome in self.units]

    def without(self, copies: Copies) -> list[Prepared]:
        """The files with the copies that each holds, ready to be assembled; ids stay on disk."""
        return [
            Prepared(outcome.key, path, copies.removed(path), unit.withhold, unit.source.name)
            for (unit, outcome), path in zip(self.units, self.paths(), strict=True)
        ]

    def losses(self, prepared: Sequence[Prepared], copies: Copies) -> Iterator[Losses]:
        """Where the losses of each file stand; `prepared` are these files with their copies and cuts."""
        for (unit, outcome), path, item in zip(self.units, self.paths(), prepared, strict=True):
            removed, kept = copies.removed(path), outcome.summary["documents"]
            yield Losses(
                source=unit.source.name,
                first_path=f"{unit.source.name}/{unit.items[0].path}",
                lost=outcome.folder / LOST,
                lost_rows=outcome.summary["lost"],
                documents=path,
                removed=removed,
                cut=item.cut,
                late_rows=len(removed) if item.cut is None else kept,
            )

    def report(
        self, approved: Approved, late: Sequence[Late] = (), global_stages: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """report.json: what came in, what each stage did, what was unreadable, given up or not approved.

        `late` are the sums of copies and of what caps leave out, `global_stages` rows of a tally of what was done to what
        dedup leaves.
        """
        tally = Tally()
        unreadable: list[dict[str, Any]] = []
        for _, outcome in self.units:
            account = json.loads((outcome.folder / ACCOUNT).read_text(encoding="utf-8"))
            tally.add(account["tally"])
            if account["unreadable"]:
                unreadable = _least([*unreadable, *account["unreadable"]])
        self._add_late(tally, late)
        tally.add(global_stages)
        totals = tally.totals()
        return {
            "conditions": [],
            "sources": [self._source_row(source) for source in approved.used],
            "unapproved": dict(sorted(approved.unapproved.items())),
            "left_out": dict(sorted(approved.states.items())),
            "later": list(approved.later),
            "labelled": list(approved.labelled),
            "ignored": dict(sorted(approved.ignored.items())),
            "unreadable_count": sum(outcome.summary["unreadable_count"] for _, outcome in self.units),
            "unreadable": unreadable,
            "quarantined": [
                {"source": unit.source.name, "items": [item.path for item in unit.items], "reason": reason}
                for unit, reason in self.given_up
            ],
            "stages": tally.rows(),
            "totals": totals,
            "dropped": {row["stage"]: sum(row["dropped"].values()) for row in totals if row["dropped"]},
        }

    def _source_row(self, source: UsedSource) -> dict[str, Any]:
        mine = [outcome.summary for unit, outcome in self.units if unit.source.name == source.name]
        return {
            "name": source.name,
            "kind": source.folder.kind,
            "items": len(source.items),
            "bytes": sum(item.size_bytes for item in source.items),
            "decoded": sum(summary["decoded"] for summary in mine),
            "cleaned": sum(summary["documents"] for summary in mine),
            "unreadable": sum(summary["unreadable_count"] for summary in mine),
        }

    def _add_late(self, tally: Tally, late: Sequence[Late]) -> None:
        """Dedup sees what the stages leave, a cap what dedup leaves."""
        for unit, outcome in self.units:
            for kind, count in outcome.summary["kinds"].items():
                cell = tally.cell(DEDUP, unit.source.name, kind)
                cell.into += count
                cell.out += count
        for stage in (DEDUP, COMPLIANCE):
            for row in late:
                if row.stage == stage:
                    cell = tally.cell(stage, row.source, row.kind)
                    if not cell.into:
                        cell.into = cell.out = tally.cell(DEDUP, row.source, row.kind).out
                    cell.out -= row.documents
                    cell.dropped[row.reason] += row.documents

    def _sum(self, name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for _, outcome in self.units:
            total.update(outcome.summary[name])
        return total


def _least(unreadable: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first `UNREADABLE_REPORTED` of them by place."""
    ordered = sorted(unreadable, key=lambda row: (row["path"], row["inner"] or "", row["reason"]))
    return ordered[:UNREADABLE_REPORTED]


def prepare(ws: Workspace, programme: Programme, approved: Approved, limits: Limits) -> PreparedShards:
    """Decode and clean every unit of the approved sources. Blocking, idempotent, shared between versions.

    A unit whose worker dies again and again is cut into its items, so that only the item at fault is given up.
    """
    setup = Setup(
        plan_for(programme.data, approved).model_dump_json(), programme.media.model_dump_json(), approved.benchmarks
    )
    workdir = ws.scratch(f"prepare/{_fingerprint(setup)}") / "clean"
    units = {task.key: task for source in approved.used for task in _tasks(source)}
    outcomes = map_shards(PrepareUnit(setup), list(units.values()), workdir, limits)
    good = [(units[item.key].payload, item) for item in outcomes if item.quarantined is None]
    bad = [(units[item.key].payload, item) for item in outcomes if item.quarantined is not None]
    singles = {
        f"{item.key}-{number:04d}": replace(unit, items=(part,))
        for unit, item in bad
        for number, part in enumerate(unit.items)
    }
    tasks = [_task(key, unit) for key, unit in singles.items()]
    again = map_shards(PrepareUnit(setup), tasks, workdir, replace(limits, attempts=2)) if tasks else []
    good += [(singles[item.key], item) for item in again if item.quarantined is None]
    given_up = tuple((singles[item.key], item.quarantined) for item in again if item.quarantined is not None)
    _bound(given_up, sum(len(source.items) for source in approved.used), workdir)
    return PreparedShards(tuple(good), given_up)


def _bound(given_up: Sequence[tuple[Unit, str]], items: int, workdir: Path) -> None:
    """Stop where so much is given up that the fault is hardly the data's; the next run tries all of it again."""
    if len(given_up) > max(GIVEN_UP_ITEMS, GIVEN_UP_SHARE * items):
        release_quarantine(workdir)
        unit, reason = given_up[0]
        raise CheckFailed(
            f"{len(given_up)} of {items} items were given up, the first because: {reason}",
            where=f"{unit.source.name}/{unit.items[0].path}",
            fix="mend the cause and run the same command again: what is done stays done",
        )


def plan_for(plan: DataPlan, approved: Approved) -> DataPlan:
    """The plan with what the approvals' policies ask for: personal data of minimised sources is redacted or dropped.

    Raises ComplianceRefused where the plan contradicts an anonymise approval.
    """
    refuse_unfit_plan(plan, approved.used)
    sources = dict(plan.sources)
    for source in approved.used:
        if source.handling.redact_pii:
            known = sources.get(source.name) or SourcePolicy.model_validate({"kind": source.folder.kind})
            sources[source.name] = known.model_copy(update={"pii": "drop" if known.pii == "drop" else "redact"})
    return plan.model_copy(update={"sources": sources})


def _tasks(source: UsedSource) -> Iterator[Task]:
    rules = source.handling
    files = _files_hash(source.folder)
    for number, items in enumerate(work_units(source.items, UNIT_BYTES, UNIT_ITEMS)):
        listed = [[item.path, item.role, item.start, item.end] for item in items]
        told = [
            source.name,
            source.folder.kind,
            source.folder.licence,
            str(source.folder.root),
            rules.share,
            rules.stages,
        ]
        digest = sha256_json([told, files, listed])[:16]
        slug = re.sub(r"[^A-Za-z0-9]+", "-", source.name)[:40]
        yield _task(
            f"s-{slug}-{number:05d}-{digest}", Unit(source.folder, items, rules.share, rules.withhold, rules.stages)
        )


def _task(key: str, unit: Unit) -> Task:
    size = sum(item.size_bytes for item in unit.items)
    return Task(key, unit, weight=max(1, size), extra_s=size / SLOWEST_BYTES_PER_S)


def _files_hash(folder: SourceFolder) -> str:
    """Names, sizes and times of all files of a source: any of them may describe another."""
    digest = hashlib.sha256()
    for found in walk(folder.folder, folder.exclude):
        modified = (folder.folder / found.path).stat().st_mtime_ns
        digest.update(f"{found.path}\0{found.size}\0{modified}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _fingerprint(setup: Setup) -> str:
    """Everything but the files of sources that decides what a unit becomes."""
    benchmarks = sorted(
        (path.relative_to(setup.benchmarks).as_posix(), path.stat().st_size, path.stat().st_mtime_ns)
        for path in (setup.benchmarks.rglob("*") if setup.benchmarks.is_dir() else ())
        if path.is_file()
    )
    plan = DataPlan.model_validate_json(setup.plan)
    models = [card["sha256"] for card in model_cards(plan).values()]
    told = [code_version(), json.loads(setup.plan), json.loads(setup.media), benchmarks, models]
    return sha256_json(told)[:16]


def model_cards(plan: DataPlan) -> dict[str, dict[str, Any]]:
    """Cards of the learned models that stages use, by stage. Raises InputError for one that is absent or damaged."""
    return {"quality": load_model(Path(plan.quality.model)).card} if plan.quality.model else {}
