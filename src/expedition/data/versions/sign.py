"""A version's signature: an in-toto statement over the manifest and what it does not hash, in a DSSE envelope.

The manifest is the same bytes wherever and whenever a version is built. When its items were acquired is not, nor by
whom it is signed; so the statement names the manifest and the lineage table by hash, and lies beside the version.
Statement: https://in-toto.io/Statement/v1; any DSSE verifier that is given the public key can check it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from expedition.data.versions.index import LINEAGE
from expedition.errors import CheckFailed
from expedition.workspace import AlreadyExists, NotFound, Store, Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes
from expedition.workspace.signing import key_ids, opened, public_pem, sign, signing_key

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://expedition-programme.dev/dataset-version/v1"
SIGNED = "data.version.signed"
"""Event kind: a version's manifest was signed; says manifest and public key by hash."""
PULLED = "data.pull.finished"
"""Event kind: a version came from another place, signed by a key that was believed then."""

MANIFEST = "manifest.json"


def sign_version(
    ws: Workspace, identity: Mapping[str, Any], manifest_bytes: bytes, lineage_sha256: str, content_hash: str
) -> str:
    """Write signature and public key of a version, before its manifest is there; returns the key's fingerprint.

    Records on the event chain which key signed what: only such keys are believed later. Deterministic for a key.
    """
    dataset, version = str(identity["dataset"]), str(identity["version"])
    manifest_hash = sha256_bytes(manifest_bytes)
    statement = {
        "_type": STATEMENT,
        "subject": [
            {"name": MANIFEST, "digest": {"sha256": manifest_hash}},
            {"name": LINEAGE, "digest": {"sha256": lineage_sha256}},
        ],
        "predicateType": PREDICATE,
        "predicate": {"dataset": dataset, "version": version, "content_hash": content_hash},
    }
    key = signing_key(ws)
    pem = public_pem(key)
    fingerprint = sha256_bytes(pem)
    with suppress(AlreadyExists):
        ws.store.create(layout.public_key(fingerprint), pem)
    ws.events("data").append(
        SIGNED, dataset=dataset, version=version, manifest_sha256=manifest_hash, public_key_sha256=fingerprint
    )
    envelope = sign(canonical_json(statement), PAYLOAD_TYPE, key)
    ws.store.write(layout.signature(version, dataset), canonical_json(envelope) + b"\n")
    return fingerprint


def signing_keys(ws: Workspace) -> set[str]:
    """Fingerprints of the keys that signed versions here, or versions that were pulled, by the event chain."""
    return {str(event.fields["public_key_sha256"]) for kind in (SIGNED, PULLED) for event in ws.events_all(kind)}


def read_envelope(store: Store, version: str, dataset: str) -> dict[str, Any]:
    """The envelope of a version. Raises NotFound, CheckFailed for what is no envelope."""
    try:
        envelope = json.loads(store.read(layout.signature(version, dataset)))
    except ValueError as error:
        raise CheckFailed("the signature is not JSON") from error
    if not isinstance(envelope, dict) or not key_ids(envelope):
        raise CheckFailed("the signature is no DSSE envelope")
    return envelope


def signed_hashes(
    store: Store, version: str, dataset: str, public_key: bytes | None = None
) -> tuple[dict[str, str], str]:
    """({file: sha256} that the signature vouches for, fingerprint of the key under which it holds).

    `public_key` is the PEM that came another way; without it the one that lies in the store under its own hash.
    Raises CheckFailed that says what does not hold, NotFound if there is no signature or key.
    """
    envelope = read_envelope(store, version, dataset)
    if public_key is None:
        named = key_ids(envelope)[0]
        try:
            public_key = store.read(layout.public_key(named))
        except NotFound as error:
            raise CheckFailed(f"the public key {named[:16]}… is not there") from error
        if sha256_bytes(public_key) != named:
            raise CheckFailed(f"the public key {named[:16]}… was changed")
    try:
        statement = json.loads(opened(envelope, PAYLOAD_TYPE, public_key))
        said = (statement["_type"], statement["predicate"]["dataset"], statement["predicate"]["version"])
        hashes = {str(item["name"]): str(item["digest"]["sha256"]) for item in statement["subject"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckFailed("what is signed is no statement about a version") from error
    if said != (STATEMENT, dataset, version):
        raise CheckFailed(f"what is signed is {said[1]} {said[2]}")
    return hashes, sha256_bytes(public_key)
