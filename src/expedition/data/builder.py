"""`build`: raw files of approved sources into an immutable dataset version, a shard at a time, kill-safe throughout.

1 approve       discover sources, ask the ledger, register what comes in       compliance, sources
2 prepare       decode files, run the stage list                               sources, decode, stages (shard map)
3 compare       copies over all documents, template lines of sites             stages.dedup (shard map, exchange)
4 vocabulary    the parent's tokenizer, the whole one, or a compact one        tokenizer (shard map)
5 assemble      tokenise, bring together by shard, write tars                  versions (shard map, exchange)
6 seal          publish, tables, report, manifest last                         versions
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expedition
from expedition.data.engine import Limits, Outcome, engine_session
from expedition.data.stages.dedup import NearRule
from expedition.data.under_way import PhaseProgress, UnderWay, builds_under_way
from expedition.data.versions.approved import Approved, approved_sources
from expedition.data.versions.assemble import Prepared, Tokenise, assemble, loaded_tokenizer
from expedition.data.versions.caps import cap
from expedition.data.versions.code import code_version
from expedition.data.versions.copies import Copies
from expedition.data.versions.dropped import Dropped, gather_dropped
from expedition.data.versions.index import Provenance
from expedition.data.versions.issues import list_issues, next_version, record_findings
from expedition.data.versions.leaks import is_due, report_leaks
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.mixture import shares
from expedition.data.versions.plan import HELDOUT, ShardPlan, plan_shards
from expedition.data.versions.prepare import PreparedShards, model_cards, prepare
from expedition.data.versions.repeats import Repeats, find_repeats
from expedition.data.versions.seal import REPORT, Build, seal
from expedition.data.versions.site_lines import strip_site_lines
from expedition.data.versions.synthetic_share import hold_share
from expedition.data.versions.vocabulary import tokenizer_for
from expedition.errors import InputError, UsageError
from expedition.plan.models import Programme
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.hashes import sha256_json

_LEAST_MEMORY_BYTES = 512 << 20
_LATER_KINDS = ("chat",)
PRELOAD = ("expedition.data.versions.prepare", "expedition.data.versions.repeats", "expedition.data.loaded")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be built."""

    data_dir: Path
    version: str
    parent: str | None
    scope: str
    skip_unapproved: bool


@dataclass(frozen=True, slots=True)
class Running:
    """How a build runs, which changes no byte of it."""

    engine: str = "local"
    """`local` (processes), `ray`, `serial`, or an engine of your own: see `data.engine.Limits.engine`."""
    address: str | None = None
    """Cluster that a `ray` build connects to; None: RAY_ADDRESS, else an instance started for this build."""
    tell: PhaseProgress | None = None
    """Told how far the build is, in the calling process."""


def build(
    ws: Workspace,
    programme: Programme,
    data_dir: Path | str,
    version: str = "v0.1",
    *,
    parent: str | None = None,
    scope: str = "training",
    skip_unapproved: bool = False,
    running: Running | None = None,
) -> dict[str, Any]:
    """Build `version` from the raw files below `data_dir`, or return it at once if it is finished.

    Sources that sources.yaml gives a later `since` are left for that version; `parent` lends its tokenizer and its
    order of preference between copies. A source without an approval for `scope` stops the build (ComplianceRefused,
    exit 5) unless `skip_unapproved`, which lists it in the report. Blocking; a killed build is finished by the same
    call, to the same bytes, whatever `programme.workers` and the engine. Work that is given
    up after all attempts is left out and listed. Raises WorkspaceBusy if another process builds the version. Writes
    data/dataset/<version>/, data/heldout/<version>/, reports/data-issues.json, reports/decontamination.json, events
    data.build.* and, while it runs, data/builds/<version>.json.
    """
    running = running or Running()
    request = Request(Path(data_dir), version, parent, scope, skip_unapproved)
    if not ws.store.exists(layout.manifest(version)):
        _check(ws, request)
        with ws.lease(layout.dataset(version)) as lease:
            limits = Limits(
                workers=programme.workers,
                memory_bytes=worker_memory_bytes(programme.workers),
                preload=PRELOAD,
                engine=running.engine,
                address=running.address,
            )
            with engine_session(limits):
                _build(ws, programme, request, lease, UnderWay(ws, version, limits, running.tell))
    elif is_due(ws, version):
        report_leaks(ws, version)
    return result(ws, version)


def result(ws: Workspace, version: str) -> dict[str, Any]:
    """What a finished version is, in brief: the answer of `build`."""
    manifest, held = read_manifest(ws, version), read_manifest(ws, version, HELDOUT)
    report = ws.read_json(f"{layout.dataset(version)}/{REPORT}")
    names = ("dataset", "version", "parent", "content_hash", "documents", "tokens", "kinds", "modalities")
    return {
        **{name: manifest[name] for name in names},
        "shards": len(manifest["shards"]),
        "sources": [source["name"] for source in manifest["sources"]],
        "heldout": {name: held[name] for name in ("documents", "tokens", "content_hash")},
        "unapproved": report["unapproved"],
        "unreadable": report["unreadable_count"],
        "quarantined": len(report["quarantined"]),
        "given_up": report["quarantined"],
        "dropped": report["dropped"],
        "issues": manifest["issues"],
    }


def _check(ws: Workspace, request: Request) -> None:
    if not request.data_dir.is_dir():
        raise InputError("there is no such folder", where=str(request.data_dir), fix="give the folder of raw files")
    if request.parent == request.version:
        raise UsageError(f"{request.version} cannot be its own parent")
    if request.parent is not None:
        read_manifest(ws, request.parent)


def worker_memory_bytes(workers: int) -> int:
    """What one of `workers` may hold: `Limits`' own bound, less where the machine has not that much for each."""
    share = int(0.9 * _machine_bytes() / max(1, workers))
    return max(_LEAST_MEMORY_BYTES, min(Limits().memory_bytes, share))


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _build(ws: Workspace, programme: Programme, request: Request, lease: Lease, under_way: UnderWay) -> None:
    try:
        _Builder(ws, programme, request, lease, under_way).run()
    except BaseException as error:
        under_way.fail(error)
        raise
    under_way.finish()


class _Builder:
    """One build under way. Holds no state that a rerun would need: all of that is in folders."""

    def __init__(
        self,
        ws: Workspace,
        programme: Programme,
        request: Request,
        lease: Lease,
        under_way: UnderWay,
    ) -> None:
        self.ws, self.programme, self.request = ws, programme, request
        self.lease, self.phase = lease, under_way.phase
        self.events = ws.events("data")
        self.scratch = self.workdir = ws.scratch(f"build/{request.version}")

    def run(self) -> None:
        request, started = self.request, time.monotonic()
        self._event("data.build.started", parent=request.parent, scope=request.scope)
        with self.phase("approve"):
            approved = approved_sources(
                self.ws, request.data_dir, request.version, request.scope, skip_unapproved=request.skip_unapproved
            )
        with self.phase("prepare") as limits:
            shards = prepare(self.ws, self.programme, approved, limits)
            self.workdir = self.scratch / self._identity(approved, shards)
        with self.phase("compare") as limits:
            copies = self._compare(approved, shards, limits)
            prepared, lines = strip_site_lines(
                shards.without(copies),
                self.programme.data.site_lines,
                self.workdir / "site-lines",
                limits,
                shards.text_bytes,
            )
            caps = {source.name: source.handling.caps for source in approved.used if source.handling.caps}
            prepared = cap(prepared, caps, self.workdir / "caps", limits)
        with self.phase("vocabulary") as limits:
            tokenizer = self._vocabulary(prepared, limits)
            prepared = cap(prepared, caps, self.workdir / "caps-tokens", limits, tokenizer)
            share = self.programme.data.mix.max_synthetic_share
            if share is not None:
                kinds = {source.name: source.folder.kind for source in approved.used}
                prepared = hold_share(prepared, kinds, share, self.workdir / "synthetic", limits, tokenizer)
        with self.phase("assemble") as limits:
            plan = self._plan(shards)
            work = Tokenise(tokenizer, self.programme.media, plan)
            outcomes = assemble(prepared, work, self.workdir / "assemble", limits)
        with self.phase("seal") as limits:
            dropped = gather_dropped(list(shards.losses(prepared, copies)), self.workdir / "dropped", limits)
            report = shards.report(approved, dropped.late, lines)
            report["models"] = model_cards(self.programme.data)
            manifest = self._seal(approved, report, dropped, plan, outcomes, tokenizer, limits)
            report_leaks(self.ws, request.version, approved.benchmarks)
        self._event(
            "data.build.finished",
            documents=manifest["documents"],
            tokens=manifest["tokens"],
            content_hash=manifest["content_hash"],
            wall_s=round(time.monotonic() - started, 3),
        )
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _identity(self, approved: Approved, shards: PreparedShards) -> str:
        """Names all that decides what comes after `prepare`: what was done before a decision of the ledger changed, or
        another file came in, is not gone on with."""
        told = [
            code_version(),
            self.programme.data.model_dump_json(),
            self.programme.media.model_dump_json(),
            self.request.parent,
            [(item.name, repr(item.handling)) for item in approved.by_age()],
            [str(path) for path in shards.paths()],
        ]
        return sha256_json(told)[:16]

    def _compare(self, approved: Approved, shards: PreparedShards, limits: Limits) -> Copies:
        plan = self.programme.data.dedup
        rule = NearRule(
            threshold=plan.threshold,
            shingle_tokens=plan.shingle,
            bands=plan.bands,
            band_values=plan.permutations // plan.bands,
            seed=self.programme.data.seed,
            media_with_other_words=plan.media_with_other_words,
        )
        repeats = Repeats(rule, tuple(source.name for source in approved.by_age()))
        kept = self.ws.scratch("fingerprints")
        return find_repeats(shards.paths(), shards.text_bytes, repeats, self.workdir / "repeats", limits, kept)

    def _vocabulary(self, prepared: list[Prepared], limits: Limits) -> Path:
        data = self.programme.data
        return tokenizer_for(
            self.ws,
            data.tokenizer,
            self.request.parent,
            prepared,
            data.heldout_fraction,
            self.workdir / "vocabulary",
            limits,
        )

    def _plan(self, shards: PreparedShards) -> ShardPlan:
        data = self.programme.data
        return plan_shards(shards.bytes_by_kind, data.shard_bytes, data.heldout_fraction, layout.DATASET)

    def _seal(
        self,
        approved: Approved,
        report: dict[str, Any],
        dropped: Dropped,
        plan: ShardPlan,
        outcomes: list[Outcome],
        tokenizer: Path,
        limits: Limits,
    ) -> dict[str, Any]:
        data = self.programme.data
        findings = _findings(report)
        open_issues = record_findings(self.ws, self.request.version, findings, next_version(self.request.version))
        fixed = [issue.id for issue in list_issues(self.ws) if issue.fixed_in == self.request.version]
        build_of = Build(
            identity={
                "version": self.request.version,
                "parent": self.request.parent,
                "seed": data.seed,
                "stages": _stage_lists(data.stages, {unit.kind for unit in plan.units}),
                "tokenizer_fingerprint": loaded_tokenizer(tokenizer).fingerprint,
                "code_version": f"{expedition.__version__}+{code_version()}",
                "scope": self.request.scope,
                "issues": [issue.id for issue in open_issues],
                "issues_fixed": fixed,
            },
            provenance={item.name: Provenance(item.acquired, item.approval.id) for item in approved.used},
            sources=[item.row() for item in approved.used],
            dropped=dropped.parts,
            report=report,
            tokenizer_folder=tokenizer,
        )
        manifests = seal(self.ws, self.lease, build_of, plan, outcomes, self.workdir, limits)
        for shard in manifests[layout.DATASET]["shards"]:
            self._event("data.build.shard", shard=shard["path"], documents=shard["documents"], tokens=shard["tokens"])
        return manifests[layout.DATASET]

    def _event(self, kind: str, **fields: Any) -> None:
        self.events.append(kind, dataset=layout.DATASET, version=self.request.version, **fields)


def _stage_lists(stages: Mapping[Any, Sequence[str]], held: set[str]) -> dict[str, list[str]]:
    """The stage list of every kind. A kind that came later is named only where it has documents: a version without it
    keeps its content hash."""
    listed = sorted((str(kind), list(names)) for kind, names in stages.items())
    return {kind: names for kind, names in listed if kind not in _LATER_KINDS or kind in held}


def _findings(report: Mapping[str, Any]) -> dict[str, str]:
    """What a build sees that a later version should mend: key → title."""
    findings: dict[str, str] = {}
    if report["unreadable_count"]:
        findings["unreadable files"] = f"{report['unreadable_count']} files or parts could not be read"
    if report["quarantined"]:
        findings["quarantined work"] = f"{len(report['quarantined'])} pieces of work were given up"
    for name in report["unapproved"]:
        findings[f"unapproved {name}"] = f"source {name} is left out: {report['left_out'].get(name, 'no approval')}"
    return findings


def status(ws: Workspace, programme: Programme, version: str | None = None) -> dict[str, Any]:
    """Finished versions with planned against achieved shares of the newest (or `version`), and builds under way.

    `builds` has a row for each unfinished build: running (in which process) or stopped (and what to do), its phase,
    tasks done of all, rates, rejects by reason, what was given up, and the time that is left.
    """
    from expedition.data.versions.manifest import versions

    finished = versions(ws)
    chosen = version or (finished[-1] if finished else None)
    started = [event.fields["version"] for event in ws.events_all("data.build.started")]
    return {
        "versions": finished,
        "unfinished": sorted(set(started) - set(finished)),
        "builds": builds_under_way(ws, finished),
        "version": chosen,
        "mixture": shares(programme.data.mix, read_manifest(ws, chosen)) if chosen is not None else [],
    }


def acquire_folder(ws: Workspace, data_dir: Path | str, source: str, *, scope: str = "training") -> dict[str, Any]:
    """Register the files of one source folder below `data_dir`, under its approval; writes data/acquired/<source>/.

    Raises ComplianceRefused without an approval, InputError if the folder is no source. Idempotent: files that are
    registered keep their time.
    """
    from expedition.data.versions.approved import acquire_source

    found = acquire_source(ws, Path(data_dir), source, scope)
    return {
        "source": source,
        "acquired_first": found.first,
        "later": len(found.later),
        "acquisitions": found.acquisitions,
    }
