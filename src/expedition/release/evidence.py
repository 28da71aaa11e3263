"""Everything that the model card and the technical report may say: artefacts of the voyage, read once, with hashes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from expedition.data.compliance import Entry, audit
from expedition.data.compliance import read as read_ledger
from expedition.data.loading import read_segments
from expedition.model import OmniConfig, PartCounts, count_parameters
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train.checkpoint import CheckpointInfo, load_state
from expedition.watch.segments import Columns, read_metrics
from expedition.workspace import Workspace, layout

REPORTS = ("evaluation", "red-team", "long-context", "cases", "distillation", "performance", "cost", "data-quality")
"""Reports that are quoted where they exist."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset version that the run read."""

    version: str
    manifest: dict[str, Any]
    dropped: dict[str, int]
    """Documents that each stage of its build dropped."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a checkpoint. What is missing is None or empty: the documents then say so."""

    programme: Programme
    plan: RunPlan
    checkpoint: CheckpointInfo
    config: OmniConfig
    counts: PartCounts
    datasets: tuple[Dataset, ...]
    ledger: tuple[Entry, ...]
    violations: tuple[str, ...]
    """What the audit finds used against the ledger's decisions."""
    audited_items: int
    summaries: dict[str, dict[str, Any]]
    """Summaries of all runs of the voyage, by run."""
    results: dict[str, Any] | None
    """The evaluation of this very checkpoint."""
    reports: dict[str, dict[str, Any]]
    incidents: tuple[dict[str, Any], ...]
    metrics: Columns
    hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256 by key of every artefact that was quoted."""

    @property
    def run(self) -> str:
        return self.checkpoint.run

    @property
    def approvals(self) -> dict[str, Entry | None]:
        """The entry that each used source names, by source; None where the ledger has no such entry."""
        sources = [source for dataset in self.datasets for source in dataset.manifest.get("sources", [])]
        return {source["name"]: self.approval(source.get("approval_id")) for source in sources}

    def approval(self, identity: str | None) -> Entry | None:
        """The ledger's entry of that number."""
        return next((entry for entry in self.ledger if entry.id == identity), None)

    def revoked(self, source: str, since: str) -> bool:
        """Whether a later entry takes the approval back."""
        return any(e.source == source and e.decision != "approve" and e.when > since for e in self.ledger)


def gather(ws: Workspace, programme: Programme, plan: RunPlan, info: CheckpointInfo) -> Evidence:
    """Read all artefacts. Raises CheckFailed for a damaged ledger, InputError for one that is no JSON."""
    hashes: dict[str, str] = {}

    def read(key: str) -> dict[str, Any] | None:
        if not ws.store.exists(key):
            return None
        hashes[key] = ws.hash(key)
        return ws.read_json(key)

    config = OmniConfig.from_json(load_state(ws, info)["model"])
    runs = sorted({key.split("/")[1] for key in ws.store.list("runs") if key.endswith("/summary.json")})
    reports = {name: read(layout.report(name)) for name in REPORTS}
    checked = audit(ws)
    incident_keys = [key for key in ws.store.list("incidents") if key.endswith("/incident.json")]
    return Evidence(
        programme=programme,
        plan=plan,
        checkpoint=info,
        config=config,
        counts=count_parameters(config),
        datasets=tuple(
            Dataset(
                version,
                manifest,
                (read(f"{layout.dataset(version, plan.dataset)}/report.json") or {}).get("dropped") or {},
            )
            for version in read_versions(ws, info.run, plan)
            if (manifest := read(layout.manifest(version, plan.dataset))) is not None
        ),
        ledger=tuple(read_ledger(ws)),
        violations=tuple(item["what"] for item in checked["findings"] if item["severity"] == "violation"),
        audited_items=checked["items"],
        summaries={run: found for run in runs if (found := read(layout.run_summary(run))) is not None},
        results=read(f"{layout.evaluation(f'{info.run}-{info.name}')}/results.json"),
        reports={name: found for name, found in reports.items() if found is not None},
        incidents=tuple(found for key in incident_keys if (found := read(key)) is not None),
        metrics=read_metrics(ws, info.run),
        hashes=hashes,
    )


def read_versions(ws: Workspace, run: str, plan: RunPlan) -> list[str]:
    """Dataset versions that the run read, in order: those on record, else the plan's."""
    recorded = [segment.version for segment in read_segments(ws, run)]
    return list(dict.fromkeys(recorded or [segment.version for segment in plan.segments]))
