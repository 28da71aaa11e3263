"""What a person would decide before W3: a ledger record for every source that is found, for this rehearsal only."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from expedition.data.compliance import Caps, Statement, append, read
from expedition.data.compliance.policy import POLICIES, Policy, caps_of
from expedition.data.sources import SourceFolder, read_declarations, survey
from expedition.errors import InputError
from expedition.voyage.steps import SCOPE
from expedition.workspace import Workspace

INVENTORY = "data/sources.json"
INVENTORY_SCHEMA = "data.sources/1"
VOYAGE_DAYS = 2
"""A rehearsal takes minutes; an approval that outlives a resumed one by a day ends by itself."""


def approve_for_rehearsal(ws: Workspace, folders: Sequence[Path], data_dir: Path | None = None) -> dict[str, Any]:
    """One record a source of each folder: approved for the rehearsal, or refused where sources.yaml asks for that.

    Sources that already have a record are left as they are. The inventory data/sources.json lists the sources of the
    last folder: what gates expect a decision on; and where they will lie, `data_dir` (None: there already). Raises
    InputError for a folder without any source.
    """
    decided = {entry.source for entry in read(ws)}
    expires = (datetime.now(UTC) + timedelta(days=VOYAGE_DAYS)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made: list[dict[str, str]] = []
    found: list[SourceFolder] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError("there is no such folder", where=str(folder), fix="--data DIR with one folder a source")
        declarations = read_declarations(folder)
        found = list(survey(folder, declarations).sources)
        if not found:
            raise InputError(
                "no source was found", where=str(folder), fix="put the raw files of each source in a folder of its own"
            )
        for source in found:
            if source.name in decided:
                continue
            declared = declarations.get(source.name)
            statement = _statement(source.name, dict(declared.told) if declared is not None else {}, expires)
            append(ws, statement)
            decided.add(source.name)
            made.append({"source": source.name, "decision": statement.decision})
    declarations = read_declarations(folders[-1])
    ws.write_json(
        INVENTORY,
        {
            "data_dir": str((data_dir or folders[-1]).resolve()),
            "sources": [
                {
                    "name": source.name,
                    "kind": source.kind,
                    "disputed": source.name in declarations and declarations[source.name].disputed,
                }
                for source in found
            ],
        },
        schema=INVENTORY_SCHEMA,
    )
    return {"records": made, "sources": len(found)}


def _statement(source: str, told: dict[str, Any], expires: str) -> Statement:
    refuse = told.get("approval") == "refuse"
    policy: Policy = next((known for known in POLICIES if known == told.get("policy") and not refuse), "full")
    return Statement(
        decision="refuse" if refuse else "approve",
        source=source,
        who=getpass.getuser(),
        why=str(told.get("reason") or "rehearsal") + ("" if refuse else "; ends with this voyage"),
        document=None,
        scope="any" if refuse else SCOPE,
        policy=policy,
        caps=_caps(told.get("caps")) if policy == "minimal-use" else Caps(),
        expires=None if refuse else expires,
    )


def _caps(told: Any) -> Caps:
    """The caps that sources.yaml states for a minimal use; without any, all of the source's documents."""
    if told is None:
        return Caps(share=1.0)
    if not isinstance(told, dict):
        raise InputError(f"caps {told!r} are no mapping", where="sources.yaml", fix="write caps: {share: 0.1}")
    try:
        return caps_of({str(name): float(value) for name, value in told.items()})
    except (TypeError, ValueError) as error:
        raise InputError(f"caps {told!r} hold no numbers", where="sources.yaml", fix="caps: {share: 0.1}") from error
