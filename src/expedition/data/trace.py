"""`trace`: from a token, a document or a training step back to raw bytes, with every decision on the way.

raw item → acquisition → approval → decode → compliance → the stages of its kind → copies → shard → token → step
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from expedition.data.compliance import Entry, Listed, listed, read, statement_fields
from expedition.data.versions.clean import COMPLIANCE
from expedition.data.versions.decisions import parse_decisions
from expedition.data.versions.lineage import copies_of, of_documents, of_source, of_token
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.plan import HELDOUT
from expedition.errors import InputError, UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace

DECODE, DEDUP = "decode", "dedup"
HOLD_OUT = "hold out"
MOST_COPIES = 100


def trace_document(ws: Workspace, version: str, document: str) -> dict[str, Any]:
    """Everything on record about a document of a version, kept, held out or dropped. Raises UsageError for another.

    Returns {version, document, kept, dataset, source, kind, item, acquisition, approval, decisions, copies, place}:
    `item` is the raw file, its hash and the place in it; `decisions` has a row a stage in order, each kept, changed
    (with what and how often) or dropped (with the reason); `copies` are documents dropped in favour of this one;
    `place` is shard, byte offsets, and token range of a kept one.
    """
    return trace_documents(ws, version, [document])[0]


def trace_documents(ws: Workspace, version: str, documents: Sequence[str]) -> list[dict[str, Any]]:
    """`trace_document` for several at once: each table is gone through once."""
    found = of_documents(ws, version, documents)
    unknown = [name for name in documents if name not in found]
    if unknown:
        raise UsageError(f"{version} has never seen a document {unknown[0]!r}", fix="an id has 32 hex digits")
    manifest, copies = read_manifest(ws, version), copies_of(ws, version, documents)
    entries = {entry.id: entry for entry in read(ws)}
    rows = [found[name].get("lineage") or found[name]["dropped"] for name in documents]
    files = {source: _files(ws, source) for source in sorted({row["source"] for row in rows})}
    return [
        _told(manifest, found[name], copies.get(name, []), files[row["source"]], entries)
        for name, row in zip(documents, rows, strict=True)
    ]


def trace_token(ws: Workspace, version: str, position: int) -> dict[str, Any]:
    """`trace_document` of the document that holds a stored token, with the token's place in it."""
    row = of_token(ws, version, position)
    told = trace_document(ws, version, row["id"])
    return {**told, "token": position, "token_in_document": position - row["token_first"]}


def trace_source(ws: Workspace, version: str, source: str) -> dict[str, Any]:
    """What a version holds of a source: documents, tokens, times of acquisition, ids."""
    return of_source(ws, version, source)


def trace_step(
    ws: Workspace, programme: Programme, run: str, step: int, *, world: int = 1, rank: int | None = None
) -> dict[str, Any]:
    """What a training step read: each of its sequences, its documents and the trace of each.

    `rank` of `world`: only the sequences that this rank worked on. The ledger is not asked: what was trained on can be
    traced after a revocation too.
    """
    from expedition.data.loading import Loader, LoadingConfig
    from expedition.data.loading.assign import assign

    if rank is not None and not 0 <= rank < world:
        raise UsageError(f"rank {rank} is not below world {world}", fix=f"give --rank 0 to {world - 1}, or --world")
    loader = Loader(ws, programme, run, LoadingConfig(ask_ledger=False))
    parts = assign(loader.costs(step), world, loader.plan.micro_batches)
    ranks = {position: number for number, micro in enumerate(parts) for part in micro for position in part}
    sequences = []
    for position, index in enumerate(loader.global_batch_ids(step).tolist()):
        if rank is not None and ranks[position] != rank:
            continue
        sample = loader.sample(index)
        sequences.append(
            {
                "index": index,
                "rank": ranks[position],
                "segment": sample.segment,
                "version": sample.version,
                "kind": sample.kind,
                "epoch": sample.epoch,
                "tokens": sample.tokens,
                "pieces": [
                    {"document": name, "first_token": piece.start, "end_token": piece.end}
                    for name, piece in zip(sample.document_ids, sample.pieces, strict=True)
                ],
            }
        )
    return {"run": run, "step": step, "world": world, "rank": rank, **_documents_of(ws, sequences)}


def raw_of(ws: Workspace, told: Mapping[str, Any], programme: Programme, data_dir: Path | None = None) -> Any:
    """The raw bytes of a traced document, with the proof that they are its own: (`sources.raw.RawBytes`, proof).

    The proof is {registered: the file's hash is the one that was registered when it came in, or None where none was;
    follows: decoding the item again gives a document of this id}. Raises InputError where the file is gone.
    """
    from expedition.data.decode import DecodeRules
    from expedition.data.sources import survey
    from expedition.data.sources.raw import document_follows, raw_bytes

    item = told["item"]
    root = data_dir or (Path(item["folder"]) if item["folder"] else None)
    if root is None:
        raise InputError("it is not on record where the raw files are", where=item["path"], fix="give --data DIR")
    found = raw_bytes(root, item["path"], item["inner"])
    sources = {source.name: source for source in survey(root).sources}
    rules = DecodeRules.for_media(programme.media, programme.data.extraction)
    source = sources.get(told["source"])
    follows = source is not None and document_follows(source, item["path"], item["inner"], told["document"], rules)
    registered = None if item["sha256"] is None else item["sha256"] == found.file_sha256
    return found, {"registered": registered, "follows": follows}


def _documents_of(ws: Workspace, sequences: list[dict[str, Any]]) -> dict[str, Any]:
    by_version: dict[str, set[str]] = {}
    for sequence in sequences:
        by_version.setdefault(sequence["version"], set()).update(piece["document"] for piece in sequence["pieces"])
    traced = [told for version, names in sorted(by_version.items()) for told in _all(ws, version, names)]
    return {"sequences": sequences, "documents": traced}


def _all(ws: Workspace, version: str, names: Collection[str]) -> list[dict[str, Any]]:
    return trace_documents(ws, version, sorted(names))


def _files(ws: Workspace, source: str) -> dict[str, tuple[Listed, dict[str, Any]]]:
    records: dict[str, dict[str, Any]] = {}
    files = {}
    for item in listed(ws, source):
        if item.acquisition not in records:
            records[item.acquisition] = ws.read_json(item.acquisition)
        files[item.path] = (item, records[item.acquisition])
    return files


def _told(
    manifest: Mapping[str, Any],
    found: Mapping[str, Any],
    copies: Sequence[Mapping[str, Any]],
    files: Mapping[str, tuple[Listed, Mapping[str, Any]]],
    entries: Mapping[str, Entry],
) -> dict[str, Any]:
    kept = "lineage" in found
    row = found["lineage"] if kept else found["dropped"]
    file, record = files.get(row["path"], (None, {}))
    used = row.get("approval_id") or record.get("approval_id")
    approval = entries.get(used) if used else None
    return {
        "version": manifest["version"],
        "document": row["id"],
        "kept": kept,
        "dataset": found.get("dataset"),
        "source": row["source"],
        "kind": row["kind"],
        "item": {
            "path": row["path"],
            "inner": row["inner"],
            "folder": record.get("folder"),
            "bytes": None if file is None else file.bytes,
            "sha256": None if file is None else file.sha256,
            "url": row["url"],
            "licence": row.get("licence") or record.get("licence"),
            **{name: value for name, value in row.items() if name in ("retrieved_at", "final_url", "connector")},
        },
        "acquisition": None if file is None else _acquisition(file, record),
        "approval": None if approval is None else statement_fields(approval),
        "approval_id": used,
        "decisions": decisions(manifest, row, kept, found.get("dataset")),
        "copies": {
            "documents": len(copies),
            "first": [
                {name: copy[name] for name in ("id", "source", "path", "reason")} for copy in copies[:MOST_COPIES]
            ],
        },
        "place": _place(found) if kept else None,
    }


def _acquisition(file: Listed, record: Mapping[str, Any]) -> dict[str, Any]:
    names = ("origin", "approval_id", "scope", "licence")
    return {**asdict(file), **{name: record.get(name) for name in names}}


def _place(found: Mapping[str, Any]) -> dict[str, Any]:
    index, lineage = found["index"], found["lineage"]
    names = ("doc", "shard", "tokens_offset", "tokens_bytes", "json_offset", "json_bytes")
    return {
        **{name: index[name] for name in names},
        "token_first": lineage["token_first"],
        "token_end": lineage["token_end"],
        "media": [{name: item[name] for name in ("kind", "offset", "bytes")} for item in index["media"] or ()],
    }


def decisions(
    manifest: Mapping[str, Any], row: Mapping[str, Any], kept: bool, dataset: str | None
) -> list[dict[str, Any]]:
    """A row a stage in the order of the document's way: {stage, outcome, changed, reason, of}. Pure.

    `outcome` is kept, changed or dropped; a dropped document's list ends with the stage that dropped it.
    """
    changed = {item["stage"]: item["changed"] for item in parse_decisions(row.get("decisions"))}
    end = None if kept else row["stage"]
    told: list[dict[str, Any]] = []
    for stage in (DECODE, COMPLIANCE, *manifest["stages"].get(row["kind"], ()), DEDUP):
        # A cap is applied after the stages and the search for copies, a share and a required stage before them.
        late = stage == COMPLIANCE and end == COMPLIANCE and _is_cap(str(row["reason"]))
        if stage == end and not late:
            return [*told, _dropped(row)]
        outcome = "changed" if stage in changed else "kept"
        told.append({"stage": stage, "outcome": outcome, "changed": changed.get(stage, [])})
    if not kept:
        return [*told, _dropped(row)]
    if dataset == HELDOUT:
        told.append({"stage": HOLD_OUT, "outcome": "kept", "changed": ["held out of training"]})
    return told


def _is_cap(reason: str) -> bool:
    return any(f"{name} ≤" in reason for name in ("documents", "tokens", "bytes"))


def _dropped(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {"stage": row["stage"], "outcome": "dropped", "changed": [], "reason": row["reason"]}
    return {**told, "of": row["of"]} if row["of"] else told


def report_lines(told: Mapping[str, Any]) -> list[str]:
    """A traced document for a person."""
    item, place = told["item"], told["place"]
    inside = f", {item['inner']}" if item["inner"] else ""
    lines = [
        f"document     {told['document']} ({told['kind']}, {told['version']}, "
        f"{told['dataset'] or 'not in the version'})",
        f"source       {told['source']}: {item['path']}{inside}",
    ]
    lines += [f"url          {item['url']}"] if item["url"] else []
    lines.append(f"raw file     {item['bytes'] or 'unknown'} bytes, sha256 {item['sha256'] or 'unknown'}")
    lines.append(f"licence      {item['licence'] or 'unknown'}")
    acquired, approval = told["acquisition"], told["approval"]
    lines.append(
        f"acquired     {acquired['acquired_at']} from {acquired['origin']}" if acquired else "acquired     unknown"
    )
    lines.append(
        f"approval     {approval['id']} by {approval['who']} on {approval['when']}: {approval['why']}"
        if approval
        else f"approval     {told['approval_id'] or 'unknown'}"
    )
    for row in told["decisions"]:
        more = row.get("reason") or ", ".join(row["changed"])
        of = f" (copy of {row['of']})" if row.get("of") else ""
        lines.append(f"  {row['stage']:<14} {row['outcome']}{f': {more}' if more else ''}{of}")
    if told["copies"]["documents"]:
        lines.append(f"copies       {told['copies']['documents']} dropped in favour of this one")
        lines += [
            f"  {copy['id']} {copy['source']}: {copy['path']} ({copy['reason']})" for copy in told["copies"]["first"]
        ]
    if place is not None:
        lines.append(
            f"shard        {place['shard']}, tokens at byte {place['tokens_offset']} (+{place['tokens_bytes']})"
        )
        lines.append(f"tokens       {place['token_first']}..{place['token_end'] - 1} of the version")
    return lines


def step_lines(found: Mapping[str, Any]) -> list[str]:
    """A traced step for a person: its sequences with their documents, then each document."""
    lines = [f"{found['run']} step {found['step']}: {len(found['sequences'])} sequences"]
    for sequence in found["sequences"]:
        lines.append(
            f"sequence {sequence['index']} ({sequence['kind']}, {sequence['version']}, pass {sequence['epoch']}, "
            f"rank {sequence['rank']}): {sequence['tokens']} tokens"
        )
        lines += [
            f"  {item['document']} tokens {item['first_token']}..{item['end_token']}" for item in sequence["pieces"]
        ]
    for told in found["documents"]:
        lines += ["", *report_lines(told)]
    return lines
