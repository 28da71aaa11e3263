"""What a child of the soak does beside the command line: approve, read batches into a journal, look at what is there."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expedition.errors import ExpeditionError
from expedition.workspace import Workspace, layout
from expedition.workspace.atomic import ASIDE_PREFIX, write_atomic

VERSION = "v0.1"
HELDOUT = "heldout"


def run(task: str, arguments: dict[str, Any]) -> int:
    """Do one task; its answer goes to stdout as JSON, an error for people to stderr with its exit code."""
    try:
        json.dump(TASKS[task](**arguments), sys.stdout)
    except ExpeditionError as error:
        sys.stderr.write(f"expedition: {error}\n")
        return error.exit_code
    return 0


def make_workspace(place: str) -> dict[str, Any]:
    """A workspace, if there is none yet."""
    Workspace.open(place, create=True)
    return {}


def approve(place: str, source: str) -> dict[str, Any]:
    """Approve a source unless that is on record: a second decision would be another decision."""
    from expedition.data.compliance import Statement, append, read

    ws = Workspace.open(place)
    if any(entry.source == source for entry in read(ws)):
        return {}
    return {"id": append(ws, Statement("approve", source, "Ada", "made for tests")).id}


def load(place: str, sets: list[str], steps: int, journal: str) -> dict[str, Any]:
    """Read the batches whose record is not in the journal yet; each record is written once, atomically."""
    from expedition.data.loading import Loader
    from expedition.plan import load_programme

    folder = Path(journal)
    folder.mkdir(parents=True, exist_ok=True)
    loader = Loader(Workspace.open(place), load_programme("rehearsal", sets), "main")
    written = 0
    for step in range(steps):
        path = folder / f"{step:06d}.json"
        if path.exists():
            continue
        batch = loader.batch(step)
        rows = {
            str(int(sample)): hashlib.sha256(batch.tokens_BS[row].tobytes()).hexdigest()
            for row, sample in enumerate(batch.sample_ids)
        }
        record = {"step": step, "rows": rows, "fingerprint": loader.fingerprint_at(step)}
        write_atomic(path, json.dumps(record, sort_keys=True).encode())
        written += 1
    return {"written": written, "replaced": len(loader.statistics()["replaced"])}


def examine(place: str, journal: str, planted: list[str]) -> dict[str, Any]:
    """Everything that must be the same after a round, and everything that must not be there."""
    import pyarrow.parquet as pq

    from expedition.data.compliance import audit
    from expedition.data.versions import examine_version

    ws = Workspace.open(place)
    folders = (layout.dataset(VERSION), layout.dataset(VERSION, HELDOUT))
    keys = [key for folder in folders for key in ws.store.list(folder)]
    # When an item came in is of the round; packs and mapped indexes are derived, and judged by what is read.
    of_round = ("/lineage", "/pack-", "/documents-")
    hashes = {key: ws.hash(key) for key in keys if not any(name in key for name in of_round)}
    manifests = {folder: ws.read_json(f"{folder}/manifest.json") for folder in folders}
    documents: list[str] = []
    for folder in folders:
        documents += pq.read_table(ws.store.local(f"{folder}/index/documents.parquet"), columns=["id"])[
            "id"
        ].to_pylist()
    report = ws.read_json(f"{folders[0]}/report.json")
    unreadable = {row["path"] for row in report["unreadable"]}
    return {
        "hashes": hashes,
        "content": {folder: manifest["content_hash"] for folder, manifest in manifests.items()},
        "documents": len(documents),
        "duplicate_documents": len(documents) - len(set(documents)),
        "document_set": hashlib.sha256("\n".join(sorted(documents)).encode()).hexdigest(),
        "quarantined": report["quarantined"],
        "planted_not_found": sorted(set(planted) - unreadable),
        "problems": [f"{p.where}: {p.what}" for part in examine_version(VERSION, ws=ws) for p in part.problems],
        "chain": ws.verify_events(),
        "audit": [] if (found := audit(ws))["ok"] else found["findings"],
        "journal": read_journal(Path(journal)),
        "acquired": acquired_rows(ws),
        "builds_left": list(ws.store.list(layout.BUILDS)),
    }


def acquired_rows(ws: Workspace) -> dict[str, int]:
    """Registered items, and how many rows name one that another row names as well; listings without a record.

    A record (JSON) makes its listing (Parquet) count: a kill between the two leaves one that nothing reads.
    """
    import io

    import pyarrow.parquet as pq

    rows: list[tuple[str, str]] = []
    keys = list(ws.store.list("data/acquired"))
    stems = [key.removesuffix(".json") for key in keys if key.endswith(".json")]
    for stem in stems:
        table = pq.read_table(io.BytesIO(ws.store.read(f"{stem}.parquet")), columns=["path"])
        rows += [(stem.split("/")[2], path) for path in table["path"].to_pylist()]
    unused = sum(key.endswith(".parquet") for key in keys) - len(stems)
    return {"items": len(set(rows)), "duplicates": len(rows) - len(set(rows)), "unused_listings": unused}


def read_journal(folder: Path) -> dict[str, Any]:
    """Hash over the records, and how many sequences they name, twice ones apart."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    samples = [sample for record in records for sample in record["rows"]]
    return {
        "steps": len(records),
        "sequences": len(samples),
        "duplicates": len(samples) - len(set(samples)),
        "sha256": hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest(),
    }


def leftovers(place: str) -> dict[str, int]:
    """Files of a folder workspace that killed writers left, by kind: hidden asides, and work that can be lost."""
    counts = {"aside": 0, "build_scratch": 0, "other_scratch": 0}
    root = Path(place)
    for path in root.rglob("*") if root.is_dir() else []:
        if not path.is_file():
            continue
        inner = path.relative_to(root).parts
        if ".scratch" in inner:
            counts["build_scratch" if "build" in inner else "other_scratch"] += 1
        elif path.name.startswith(ASIDE_PREFIX):
            counts["aside"] += 1
    return counts


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "make_workspace": make_workspace,
    "approve": approve,
    "load": load,
    "examine": examine,
    "leftovers": leftovers,
}
