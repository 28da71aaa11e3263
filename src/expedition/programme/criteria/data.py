"""Compliance, dataset versions, pipeline, governance page, lead time and runway."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from expedition.programme.evidence import Changed, Measured, NoEvidence, Query, Reader, dataset_versions
from expedition.programme.schedule import data_lead_weeks
from expedition.workspace import Event, layout
from expedition.workspace.hashes import sha256_json

FIRST_VERSION = "v0.1"
TEXT_KINDS = ("web", "code", "books", "synthetic")
MODALITIES = {
    "text": TEXT_KINDS,
    "image": ("image-text",),
    "audio": ("audio-text",),
    "video": ("video-text", "driving"),
}
GOVERNANCE_PANELS = ("shares", "languages", "safety", "alignment")


def ledger(reader: Reader) -> list[dict[str, Any]]:
    """The ledger's records. Raises Changed if its hash chain is broken, NoEvidence if there is none."""
    records = reader.lines(layout.LEDGER)
    previous: str | None = None
    for number, record in enumerate(records):
        body = {key: value for key, value in record.items() if key != "hash"}
        if record.get("hash") != sha256_json(body) or (previous is not None and record.get("previous") != previous):
            raise Changed(f"{layout.LEDGER}: record {number} was changed")
        previous = record["hash"]
    if not records:
        raise NoEvidence("the compliance ledger is empty")
    return records


def _last_decisions(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {record["source"]: record for record in records}


def planned_sources(reader: Reader) -> list[str]:
    """Sources that need a decision: those of the last data inventory, else those that the programme names."""
    inventory = reader.optional("data/sources.json")
    if inventory is not None:
        return [source["name"] for source in inventory["sources"]]
    return list(reader.programme.data.sources)


def before_w3(reader: Reader) -> Measured:
    decided = _last_decisions(ledger(reader))
    sources = planned_sources(reader)
    if not sources:
        raise NoEvidence("no sources are planned")
    missing = [name for name in sources if name not in decided]
    share = 100.0 * (len(sources) - len(missing)) / len(sources)
    return Measured(share, f"no decision: {', '.join(missing)}" if missing else f"{len(sources)} sources decided")


def no_use_before_approval(reader: Reader) -> Measured:
    """Items in the lineage of any version whose source had no approval when they were acquired."""
    import io

    import pyarrow.parquet as parquet

    records = ledger(reader)
    items = wrong = 0
    for version, _ in dataset_versions(reader):
        key = f"{layout.dataset(version)}/lineage.parquet"
        reader.file_hash(key)
        table = parquet.read_table(io.BytesIO(reader._archive.ws.store.read(key)), columns=["source", "acquired_at"])
        pairs: dict[tuple[str, str], int] = {}
        for row in table.to_pylist():
            pair = (row["source"], str(row["acquired_at"]))
            pairs[pair] = pairs.get(pair, 0) + 1
        for (source, acquired_at), count in pairs.items():
            items += count
            if not _approved(records, source, acquired_at):
                wrong += count
    return Measured(float(wrong), f"{items} items checked against the ledger")


def _approved(records: list[dict[str, Any]], source: str, at: str) -> bool:
    state = False
    for record in records:
        if record["source"] == source and _time(record["when"]) <= _time(at):
            state = record["decision"] == "approve" and (
                record.get("expires") is None or _time(at) <= _time(record["expires"])
            )
    return state


def _time(text: str) -> datetime:
    from datetime import UTC

    parsed = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def disputed_policy(reader: Reader) -> Measured:
    decided = _last_decisions(ledger(reader))
    inventory = reader.optional("data/sources.json") or {"sources": []}
    disputed = {source["name"] for source in inventory["sources"] if source.get("disputed")}
    disputed |= {name for name, policy in reader.programme.data.sources.items() if policy.disputed}
    if not disputed:
        return Measured(100.0, "no source is disputed")
    # A refused source needs no policy: nothing of it can be used.
    good = [
        name
        for name in disputed
        if name in decided
        and (decided[name]["decision"] != "approve" or decided[name].get("policy") in ("minimal-use", "anonymise"))
    ]
    return Measured(100.0 * len(good) / len(disputed), f"{len(disputed)} disputed sources")


def _first_manifest(reader: Reader) -> dict[str, Any]:
    for version, manifest in dataset_versions(reader):
        if version == FIRST_VERSION:
            return manifest
    raise NoEvidence(f"dataset {FIRST_VERSION} is not built")


def _tokens(manifest: dict[str, Any], kinds: tuple[str, ...] | None = None) -> float:
    found = manifest["kinds"]
    return float(sum(entry["expanded_tokens"] for kind, entry in found.items() if kinds is None or kind in kinds))


def tokens(modality: str | None) -> Query:
    """Tokens in the first version, of one modality or all; media placeholders expanded."""

    def query(reader: Reader) -> Measured:
        manifest = _first_manifest(reader)
        kinds = MODALITIES[modality] if modality is not None else None
        value = _tokens(manifest, kinds)
        if modality is not None and value == 0:
            raise NoEvidence(f"dataset {FIRST_VERSION} holds no {modality} data")
        return Measured(value, f"dataset {FIRST_VERSION}")

    return query


def all_modalities(reader: Reader) -> Measured:
    manifest = _first_manifest(reader)
    empty = [name for name, kinds in MODALITIES.items() if _tokens(manifest, kinds) == 0]
    if empty:
        raise NoEvidence(f"no {', '.join(empty)} data")
    return Measured(True, f"{len(MODALITIES)} modalities")


def pipeline_hours(reader: Reader) -> Measured:
    """Longest stretch between the first and last event of builds without a failure; a short one is a condition only."""
    builds = [event for event in reader.events("data.") if event.kind.startswith("data.build")]
    if not builds:
        raise NoEvidence("no build is on record")
    first = min(_time(event.time) for event in builds)
    last = max(_time(event.time) for event in builds)
    hours = (last - first).total_seconds() / 3600
    asked = next(plan.threshold for plan in reader.programme.criteria if plan.id == "data.pipeline_hours") or 72.0
    if hours < asked:
        raise NoEvidence(f"the pipeline has run for {hours:.2f} h here, {asked:g} h are asked for")
    return Measured(hours)


def load_nodes(reader: Reader) -> Measured:
    nodes = int(reader.field(layout.report("load-test"), "nodes"))
    if nodes < 2:
        raise NoEvidence("the load test ran on one node")
    return Measured(float(nodes))


def load_bandwidth(reader: Reader) -> Measured:
    report = reader.json(layout.report("load-test"))
    ratio = reader.field(layout.report("load-test"), "ratio")
    return Measured(float(ratio), f"{report['tokens_per_s']:,.0f} tokens/s loaded on {report['nodes']} node")


def _page(reader: Reader) -> dict[str, Any]:
    return reader.json(layout.PAGE_HEALTH)


def dashboard_age(reader: Reader) -> Measured:
    from datetime import UTC

    written = _time(reader.field(layout.PAGE_HEALTH, "written"))
    return Measured((datetime.now(UTC) - written).total_seconds() / 3600)


def dashboard_panels(reader: Reader) -> Measured:
    views = _page(reader)["views"]
    present = [name for name in GOVERNANCE_PANELS if views.get(name, {}).get("present")]
    missing = sorted(set(GOVERNANCE_PANELS) - set(present))
    return Measured(float(len(present)), f"missing: {', '.join(missing)}" if missing else "")


def lead_time(reader: Reader) -> Measured:
    reader.file_hash(layout.PROGRAMME)
    return Measured(data_lead_weeks(reader.programme.schedule), "planned readiness to planned start of the main run")


def runway(reader: Reader) -> Measured:
    raise NoEvidence("needs the consumption rate of a run on the planned cluster")


WEB_CONNECTORS = ("common-crawl", "github", "youtube")
_LOCAL = re.compile(r"(?:localhost|127\.[\d.]+|::1)", re.IGNORECASE)
LOCAL_SERVERS = "local servers"


def pipeline_stages(reader: Reader) -> Measured:
    """Whether one version holds what all three web connectors brought, and its push to an object store was read back."""
    found: list[str] = []
    for version, manifest in dataset_versions(reader):
        hosts: dict[str, set[str]] = {name: set() for name in WEB_CONNECTORS}
        for source in manifest["sources"]:
            for record in _acquisitions(reader, source["name"]):
                if record["origin"] in hosts:
                    hosts[record["origin"]] |= set(record.get("hosts") or ())
        lacking = [name for name, asked in hosts.items() if not asked]
        pushes = _read_back(reader, version, manifest)
        if lacking or not pushes:
            missing = ", ".join(lacking) or "nothing"
            found.append(f"{version}: not acquired over the web: {missing}; pushes read back: {len(pushes)}")
            continue
        asked = set().union(*hosts.values())
        stores = [
            str(event.fields.get("endpoint")) for event in pushes if str(event.fields["place"]).startswith("s3://")
        ]
        conditions = []
        if all(map(_LOCAL.fullmatch, asked)) or (stores and all(map(_LOCAL.search, stores))):
            conditions.append(LOCAL_SERVERS)
        if not stores:
            conditions.append("a folder in place of an object store")
        note = f"{version}: {', '.join(WEB_CONNECTORS)}; pushed and read back"
        return Measured(True, note, tuple(conditions))
    raise NoEvidence("; ".join(found))


def _acquisitions(reader: Reader, source: str) -> list[dict[str, Any]]:
    """The records of what came in of a source."""
    return [reader.json(key) for key in reader.keys(f"data/acquired/{source}/", ".json")]


def _read_back(reader: Reader, version: str, manifest: dict[str, Any]) -> list[Event]:
    """Finished pushes of exactly this version of which every byte was read back."""
    digest = reader.file_hash(layout.manifest(version))
    return [
        event
        for event in reader.events("data.push.finished")
        if event.fields["version"] == version
        and event.fields["dataset"] == manifest["dataset"]
        and event.fields["check"] == "read"
        and event.fields["manifest_sha256"] == digest
    ]


def pipeline_stability(reader: Reader) -> Measured:
    if not reader.events("data.build"):
        raise NoEvidence("no build is on record")
    failures = [event for event in reader.events("data.") if event.kind.endswith((".failed", ".quarantined"))]
    return Measured(float(len(failures)), "failed builds and quarantined shards")


def quality_issues(reader: Reader) -> Measured:
    issues = reader.json(layout.report("data-issues"))["issues"]
    if not issues:
        return Measured(100.0, "no known issues")
    planned = [
        issue for issue in issues if issue.get("planned_version") or issue.get("status") in ("fixed", "accepted")
    ]
    return Measured(100.0 * len(planned) / len(issues), f"{len(issues)} known issues")


def storage_bandwidth(reader: Reader) -> Measured:
    needed = reader.field(layout.report("io"), "needed_bytes_per_s")
    rate = reader.field(layout.report("io"), "sequential_read_bytes_per_s")
    return Measured(
        rate / needed, f"{rate / 1e9:.2f} GB/s read here, {needed / 1e9:.0f} GB/s asked of the cluster's storage"
    )


QUERIES: dict[str, Query] = {
    "compliance.before_w3": before_w3,
    "compliance.no_use_before_approval": no_use_before_approval,
    "compliance.disputed_policy": disputed_policy,
    "data.pipeline_hours": pipeline_hours,
    "data.tokens": tokens(None),
    "data.text_tokens": tokens("text"),
    "data.image_tokens": tokens("image"),
    "data.audio_tokens": tokens("audio"),
    "data.video_tokens": tokens("video"),
    "data.all_modalities": all_modalities,
    "data.load_nodes": load_nodes,
    "data.load_bandwidth": load_bandwidth,
    "data.dashboard_age": dashboard_age,
    "data.dashboard_panels": dashboard_panels,
    "data.lead_time": lead_time,
    "data.runway": runway,
    "data.pipeline_stages": pipeline_stages,
    "data.pipeline_stability": pipeline_stability,
    "data.quality_issues": quality_issues,
    "storage.bandwidth": storage_bandwidth,
}
