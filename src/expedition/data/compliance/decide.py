"""What a person does: a decision with the paper it rests on, kept beside the ledger, and the stages it names checked."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from expedition.data.compliance.ledger import Entry, Statement, append, parse_time
from expedition.errors import InputError, UsageError
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_file

DOCUMENTS = "compliance/documents"
MOST_BYTES = 256 << 20
_HASH = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_URL = re.compile(r"https?://\S+")


def decide(ws: Workspace, statement: Statement) -> Entry:
    """Record a decision as a person states it; returns its entry.

    `document` may be a file (its bytes are copied to compliance/documents/ under their hash), a URL, or a SHA-256.
    `expires` may be a date. Raises UsageError for a stage that no build knows or a date that is past, InputError for a
    document that is none of these.
    """
    if statement.expires is not None:
        expires = parse_time(statement.expires, "--expires")
        statement = replace(statement, expires=expires)
    _check_stages(statement.stages)
    if statement.document is not None:
        place, digest = keep_document(ws, statement.document)
        statement = replace(statement, document=place, document_sha256=digest)
    return append(ws, statement)


def keep_document(ws: Workspace, document: str) -> tuple[str, str | None]:
    """(where it is, its SHA-256 if known) of the paper that a decision rests on; a file's bytes are copied."""
    digest = _HASH.fullmatch(document.strip())
    if digest:
        return f"sha256:{digest[1].lower()}", digest[1].lower()
    if _URL.fullmatch(document.strip()):
        return document.strip(), None
    path = Path(document).expanduser()
    if not path.is_file():
        raise InputError(
            f"document {document!r} is no file, URL or SHA-256",
            fix="give the path of the signed paper, https://…, or sha256:HASH",
        )
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"the document has {path.stat().st_size} bytes, at most {MOST_BYTES} are kept",
            where=document,
            fix=f"keep it elsewhere and give its hash: sha256:{sha256_file(path)}",
        )
    found = sha256_file(path)
    suffix = path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
    key = f"{DOCUMENTS}/{found}{suffix}"
    if not ws.store.exists(key) or ws.hash(key) != found:
        ws.store.write(key, path.read_bytes())
    return key, found


def _check_stages(stages: tuple[str, ...]) -> None:
    if not stages:
        return
    from expedition.data.stages.catalogue import STAGES

    for name in stages:
        if name not in STAGES:
            raise UsageError(f"{name!r} is no stage", where="--stage", fix=f"choose from: {', '.join(STAGES)}")
