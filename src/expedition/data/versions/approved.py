"""The first step of a build: which sources take part, under which approvals, and when their files came in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.data.compliance import (
    Acquired,
    Entry,
    Handling,
    Offer,
    acquire,
    handling,
    listed,
    missing_stages,
    now,
    read,
    require_acquired_use,
    require_approval,
    state_at,
)
from expedition.data.sources import ItemRef, SourceFolder, list_items, survey
from expedition.errors import ComplianceRefused, InputError
from expedition.plan.data import DataPlan
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_file

BENCHMARK_FOLDERS = ("eval", "evaluation", "evals", "benchmarks")


@dataclass(frozen=True, slots=True)
class UsedSource:
    """A source that takes part."""

    folder: SourceFolder
    items: tuple[ItemRef, ...]
    approval: Entry
    acquired: Acquired

    @property
    def name(self) -> str:
        """The source's name: its folder's."""
        name: str = self.folder.name
        return name

    @property
    def handling(self) -> Handling:
        """What the approval's policy asks of its documents."""
        return handling(self.approval)

    def row(self) -> dict[str, Any]:
        """The source's row in the manifest, without its counts."""
        return {
            "name": self.name,
            "kind": self.folder.kind,
            "licence": self.folder.licence,
            "disputed": self.folder.disputed,
            "approval_id": self.approval.id,
            "policy": self.approval.policy,
            "since": self.folder.since,
        }


@dataclass(frozen=True, slots=True)
class Approved:
    """Sources of a build: used, refused with the reason, left for a later version; and the benchmark folder."""

    used: tuple[UsedSource, ...]
    unapproved: Mapping[str, str]
    """Sources that are left out, with a sentence each."""
    states: Mapping[str, str]
    """Why, in a word, by source: refused, revoked, expired or undecided."""
    later: tuple[str, ...]
    labelled: tuple[str, ...]
    ignored: Mapping[str, str]
    benchmarks: Path

    def by_age(self) -> list[UsedSource]:
        """Used sources, those of earlier versions first: a copy in an older source stays, a newer one goes."""
        return sorted(self.used, key=lambda item: (version_order(item.folder.since), item.name))


def version_order(version: str | None) -> tuple[tuple[int, str], ...]:
    """A key that sorts v0.2 before v0.10; None (always there) comes first."""
    parts = re.findall(r"\d+|\D+", version or "")
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def approved_sources(
    ws: Workspace, data_dir: Path, version: str, scope: str, *, skip_unapproved: bool = False
) -> Approved:
    """Discover, ask the ledger, register what comes in. Writes data/acquired/.

    A source that was refused or revoked is left out and listed. Raises ComplianceRefused for one on which nobody
    decided, or whose approval has ended (unless `skip_unapproved`), and, always, for one whose files came in before
    their approval; InputError where nothing is left to build from.
    """
    found = survey(data_dir)
    taking_part = [item for item in found.sources if version_order(item.since) <= version_order(version)]
    unapproved = _unapproved(ws, taking_part, scope)
    entries = read(ws)
    states = {name: state_at(entries, name, scope, now(entries)) for name in unapproved}
    open_ones = sorted(name for name, state in states.items() if state not in ("refused", "revoked"))
    if open_ones and not skip_unapproved:
        name = open_ones[0]
        others = f" (and {len(open_ones) - 1} more: {', '.join(open_ones[1:])})" if len(open_ones) > 1 else ""
        raise ComplianceRefused(
            f"{unapproved[name]}{others}",
            where=str(data_dir / name),
            fix=f"expedition compliance approve {name} --who NAME --why REASON --document FILE --scope {scope}, "
            "or refuse it; --skip-unapproved builds without it",
        )
    used = tuple(_used(ws, item, scope) for item in taking_part if item.name not in unapproved)
    if not used:
        raise InputError(
            "there is nothing to build from: no approved source",
            where=str(data_dir),
            fix="one folder a source; then expedition compliance approve SOURCE …",
        )
    later = tuple(sorted(item.name for item in found.sources if item not in taking_part))
    folders = [data_dir.absolute() / name for name in BENCHMARK_FOLDERS if name in found.labelled]
    benchmarks = folders[0] if folders else data_dir.absolute() / BENCHMARK_FOLDERS[0]
    return Approved(used, unapproved, states, later, found.labelled, found.ignored, benchmarks)


def _unapproved(ws: Workspace, sources: list[SourceFolder], scope: str) -> dict[str, str]:
    refused: dict[str, str] = {}
    for source in sources:
        try:
            require_approval(ws, source.name, scope=scope)
        except ComplianceRefused as error:
            refused[source.name] = error.what
    return refused


def acquire_source(ws: Workspace, data_dir: Path, name: str, scope: str) -> Acquired:
    """Register one source's files. Raises ComplianceRefused, or InputError if there is no such source."""
    sources = {item.name: item for item in survey(data_dir).sources}
    if name not in sources:
        known = ", ".join(sources) or "none"
        raise InputError(f"there is no source {name!r}; found: {known}", where=str(data_dir))
    require_approval(ws, name, scope=scope)
    return _acquire(ws, sources[name], list_items(sources[name]), scope)


def _used(ws: Workspace, source: SourceFolder, scope: str) -> UsedSource:
    items = tuple(list_items(source))
    acquired = _acquire(ws, source, items, scope)
    return UsedSource(source, items, require_acquired_use(ws, acquired, scope), acquired)


def _acquire(ws: Workspace, source: SourceFolder, items: Sequence[ItemRef], scope: str) -> Acquired:
    files: dict[str, int] = {}
    for item in items:
        if item.role.startswith("passed:"):
            continue
        path = f"{source.name}/{item.path}"
        files[path] = files.get(path, 0) + item.size_bytes
    known = {item.path for item in listed(ws, source.name)}
    hashes = {path: digest for path in files if path not in known and (digest := _hash(source, path)) is not None}
    folder = str(source.root.absolute())
    return acquire(ws, Offer(source.name, files, source.name, source.licence, folder=folder, sha256=hashes), scope)


def _hash(source: SourceFolder, path: str) -> str | None:
    """Content hash of an item's file; None for an item that is no single file, such as a drive."""
    file = source.folder / path.removeprefix(f"{source.name}/")
    return sha256_file(file) if file.is_file() else None


def refuse_unfit_plan(plan: DataPlan, used: Sequence[UsedSource]) -> None:
    """That the programme does what anonymise approvals ask for.

    Raises ComplianceRefused where the stage list of such a source's kind lacks a stage that its approval names, or the
    programme would keep its personal data.
    """
    for source in used:
        required = source.handling.stages
        if not required:
            continue
        kind = source.folder.kind
        lacking = missing_stages(required, plan.stages.get(kind, ()))
        if lacking:
            raise ComplianceRefused(
                f"source {source.name!r} is approved as anonymised ({source.approval.id}) by the stages "
                f"{', '.join(required)}; the programme's list for {kind} lacks {', '.join(lacking)}",
                where=f"data.stages.{kind}",
                fix=f"add {', '.join(lacking)} to data.stages.{kind}",
            )
        policy = plan.sources.get(source.name)
        if policy is not None and policy.pii == "keep":
            raise ComplianceRefused(
                f"source {source.name!r} is approved as anonymised ({source.approval.id}); the programme would keep "
                "its personal data",
                where=f"data.sources.{source.name}.pii",
                fix="write pii: redact or pii: drop",
            )
