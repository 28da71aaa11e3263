"""`verify`: everything that a version is made of hashed again, in a workspace or in a copy anywhere, all faults listed.

What is believed, from the ground up: the event chain says which manifest was written and which key signed it; the
signature vouches for manifest and lineage table; the manifest for every other file; the content hash follows from the
manifest's own fields. A list of a store is only a hint: what it lacks is asked for, what it has too much is looked at.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from expedition.data.versions.index import LINEAGE
from expedition.data.versions.manifest import SCHEMA, content_hash, read_manifest
from expedition.data.versions.plan import HELDOUT
from expedition.data.versions.sign import MANIFEST, signed_hashes, signing_keys
from expedition.errors import CheckFailed, InputError, UsageError
from expedition.workspace import NotFound, Store, Workspace, layout, store_at
from expedition.workspace.hashes import sha256_bytes
from expedition.workspace.store import checked_key
from expedition.workspace.workspace import ARTEFACT_WRITTEN

CLAIM = "push.claim.json"
"""Left in a destination by a push that is not finished; gone when the version is whole there."""
DERIVED_PREFIXES = ("index/documents-", "index/pack-")
"""Index and pack plans: made by whoever reads the version, can be deleted and made again."""
AHEAD_BYTES = 16 << 20
"""From this size on, hashing a file overlaps reading it."""

BytesProgress = Callable[[int, int], None]
"""Called from worker threads, one at a time, with bytes done and bytes in all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was when the version was built."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file should be; None where nothing vouches for it."""

    path: str
    sha256: str
    bytes: int | None


@dataclass(slots=True)
class Examination:
    """What was found in one data set of a version. `conditions` say what could not be judged."""

    dataset: str
    version: str
    place: str
    content_hash: str | None = None
    public_key_sha256: str | None = None
    files: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """The examination as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known from elsewhere: hashes of the manifest on the event chain, keys that signed, a key that was given."""

    manifests: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    public_key: bytes | None = None
    chain_problems: tuple[str, ...] = ()


def verify(ws: Workspace, version: str, dataset: str = layout.DATASET, *, threads: int | None = None) -> dict[str, Any]:
    """Examine a version of the workspace. Raises CheckFailed that lists every problem; UsageError for an unknown one."""
    read_manifest(ws, version, dataset)
    found = examine(ws.store, version, dataset, trust=trust_of(ws, version, dataset), threads=threads)
    if found.problems:
        first, *others = found.problems
        more = "".join(f"\n  also {item.where}: {item.what}" for item in others)
        raise CheckFailed(
            first.what + more,
            where=first.where,
            fix="restore it from a copy, or build another version: a version is never rebuilt in place",
        )
    return {**found.row(), "problems": []}


def examine_version(
    version: str,
    *,
    ws: Workspace | None = None,
    at: str | None = None,
    dataset: str | None = None,
    public_key: Path | None = None,
    threads: int | None = None,
    progress: BytesProgress | None = None,
) -> list[Examination]:
    """Examine every data set of a version (or one): in the workspace, or in the copy at a place.

    With both, the copy is also held against what the workspace knows. Raises UsageError if there is no such version,
    StorageError if the store cannot be asked; problems are in the answer, not raised.
    """
    if ws is None and at is None:
        raise UsageError("nothing to verify", fix="give --workspace, --at, or both")
    store = ws.store if at is None and ws is not None else store_at(str(at))
    names = [dataset] if dataset is not None else datasets_of(store, version)
    if not names or (dataset is not None and not _there(store, version, dataset)):
        raise UsageError(f"there is no {dataset or 'data set'} {version}", where=store.describe())
    given = given_key(public_key)
    found = []
    for name in names:
        known = ws is not None and (at is None or ws.store.exists(layout.manifest(version, name)))
        trust = trust_of(ws, version, name, given) if known and ws is not None else Trust(public_key=given)
        found.append(examine(store, version, name, trust=trust, threads=threads, progress=progress))
    return found


def datasets_of(store: Store, version: str) -> list[str]:
    """The data sets of a finished version; the training data set last, and without it none: it is published last."""
    found = [name for name in (HELDOUT, layout.DATASET) if _there(store, version, name)]
    return found if layout.DATASET in found else []


def trust_of(ws: Workspace, version: str, dataset: str, public_key: bytes | None = None) -> Trust:
    """What this workspace knows of a version, apart from the version's own files."""
    key = layout.manifest(version, dataset)
    events = [event for event in ws.events_all(ARTEFACT_WRITTEN) if event.fields["key"] == key]
    chains = {event.chain for event in events}
    damaged = [text for text in ws.verify_events() if any(chain in text for chain in chains)]
    last = frozenset(str(event.fields["sha256"]) for event in events[-1:])
    return Trust(last, frozenset(signing_keys(ws)), public_key, tuple(damaged))


def examine(
    store: Store,
    version: str,
    dataset: str,
    *,
    trust: Trust,
    threads: int | None = None,
    progress: BytesProgress | None = None,
) -> Examination:
    """Hash every file of one data set's version in `threads` threads (hashing and reading overlap); bounded memory."""
    found = Examination(dataset, version, store.describe())
    folder = layout.dataset(version, dataset)
    body = store.read(f"{folder}/{MANIFEST}")
    manifest = _manifest(body, folder, found)
    signed = _check_manifest(store, manifest, body, trust, found)
    expected = list(_expected(manifest, signed, folder, found))
    if store.exists(f"{folder}/{CLAIM}"):
        found.conditions.append("a push to this place has not said that it is finished")
    _hash_files(store, folder, expected, found, threads, progress)
    _find_extra(store, folder, {item.path for item in expected}, found)
    found.files = len(expected) + 1
    found.problems.sort(key=lambda item: (item.where, item.what))
    return found


def _manifest(body: bytes, folder: str, found: Examination) -> dict[str, Any]:
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError) as error:
        found.problems.append(Problem(f"{folder}/{MANIFEST}", f"not readable as JSON: {error}"))
        return {}
    if not isinstance(manifest, dict) or not str(manifest.get("schema", "")).startswith(f"{SCHEMA}/"):
        found.problems.append(Problem(f"{folder}/{MANIFEST}", "this is not a manifest"))
        return {}
    return manifest


def _check_manifest(
    store: Store, manifest: dict[str, Any], body: bytes, trust: Trust, found: Examination
) -> dict[str, str]:
    """Hold the manifest against chain, signature and its own fields; returns the hashes that the signature names."""
    where = f"{layout.dataset(found.version, found.dataset)}/{MANIFEST}"
    digest = sha256_bytes(body)
    found.problems.extend(Problem("events", text) for text in trust.chain_problems)
    if trust.manifests is None:
        found.conditions.append("no workspace knows this version: whole, but not compared with the one that was built")
    elif digest not in trust.manifests:
        found.problems.append(Problem(where, "the manifest was changed after it was written: the event log says so"))
    found.content_hash = str(manifest.get("content_hash")) if "content_hash" in manifest else None
    try:
        if manifest and content_hash(manifest) != found.content_hash:
            found.problems.append(Problem(where, "the content hash does not follow from the manifest's own fields"))
    except (KeyError, TypeError, ValueError) as error:
        found.problems.append(Problem(where, f"the manifest lacks {error}"))
    return _check_signature(store, digest, trust, found)


def _check_signature(store: Store, manifest_sha256: str, trust: Trust, found: Examination) -> dict[str, str]:
    where = layout.signature(found.version, found.dataset)
    try:
        signed, fingerprint = signed_hashes(store, found.version, found.dataset, trust.public_key)
    except (CheckFailed, NotFound) as error:
        what = "the version is not signed" if isinstance(error, NotFound) else error.what
        found.problems.append(Problem(where, what))
        return {}
    found.public_key_sha256 = fingerprint
    if signed.get(MANIFEST) != manifest_sha256:
        found.problems.append(Problem(where, "the signature is over another manifest"))
    if trust.public_key is None:
        if trust.keys is None:
            found.conditions.append("public key from the place itself: whole, but no proof of who signed")
        elif fingerprint not in trust.keys:
            found.problems.append(Problem(where, f"signed by a key that is not known here ({fingerprint[:16]}…)"))
    return signed


def _expected(manifest: dict[str, Any], signed: dict[str, str], folder: str, found: Examination) -> Iterator[Expected]:
    """Every file that the manifest and the signature name; entries that are no such thing become problems."""
    rows: list[tuple[Any, Any]] = []
    for name in ("shards", "files", "tables"):
        value = manifest.get(name, {} if name != "shards" else [])
        if isinstance(value, list):
            rows.extend((item.get("path"), item) if isinstance(item, dict) else (None, item) for item in value)
        elif isinstance(value, dict):
            rows.extend(value.items())
    rows.extend((path, digest) for path, digest in signed.items() if path != MANIFEST)
    seen: dict[str, Expected] = {}
    for path, value in rows:
        try:
            digest, size = (value["sha256"], int(value["bytes"])) if isinstance(value, dict) else (value, None)
            wanted = Expected(checked_key(path), str(digest), size)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError):
            found.problems.append(Problem(f"{folder}/{MANIFEST}", f"not an entry for a file: {path!r}"))
            continue
        before = seen.get(wanted.path)
        if before is not None and before.sha256 != wanted.sha256:
            found.problems.append(Problem(f"{folder}/{wanted.path}", "the manifest gives it two hashes"))
        seen[wanted.path] = wanted if before is None else before
    if manifest and LINEAGE not in seen:
        found.conditions.append(f"nothing vouches for {LINEAGE}")
    yield from seen.values()


def _hash_files(
    store: Store,
    folder: str,
    expected: list[Expected],
    found: Examination,
    threads: int | None,
    progress: BytesProgress | None,
) -> None:
    total, lock = sum(item.bytes or 0 for item in expected), threading.Lock()

    def count(size: int) -> None:
        with lock:
            found.bytes += size
            if progress is not None:
                progress(found.bytes, total)

    def check(item: Expected) -> Problem | None:
        what = mismatch(store, f"{folder}/{item.path}", item, count)
        return None if what is None else Problem(f"{folder}/{item.path}", what)

    with ThreadPoolExecutor(threads or max(2, min(16, os.cpu_count() or 2))) as pool:
        try:
            for problem in pool.map(check, expected):
                if problem is not None:
                    found.problems.append(problem)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def mismatch(store: Store, key: str, wanted: Expected, count: Callable[[int], None] | None = None) -> str | None:
    """Why `key` is not what is wanted, or None: every byte is read and hashed. Raises AccessDenied, StorageError."""
    from hashlib import sha256

    digest, size = sha256(), 0
    try:
        for piece in read_ahead(store.stream(key), wanted.bytes):
            digest.update(piece)
            size += len(piece)
            if count is not None:
                count(len(piece))
    except NotFound:
        return "the file is missing"
    if wanted.bytes is not None and size != wanted.bytes:
        return f"{size} bytes long instead of {wanted.bytes}: it was changed after the version was built"
    if digest.hexdigest() != wanted.sha256:
        return "its bytes were changed after the version was built (SHA-256 differs)"
    return None


def read_ahead(pieces: Iterator[bytes], size: int | None) -> Iterator[bytes]:
    """The same pieces, the next one read while the last is worked on; small files are not worth a thread."""
    if size is None or size < AHEAD_BYTES:
        yield from pieces
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = pool.submit(next, pieces, None)
            yield piece


def _find_extra(store: Store, folder: str, known: set[str], found: Examination) -> None:
    cut = len(folder) + 1
    for key in store.list(folder):
        path = key[cut:]
        if path in known or path in (MANIFEST, CLAIM, LINEAGE) or path.startswith(DERIVED_PREFIXES):
            continue
        # A list may be older than a deletion.
        with suppress(NotFound):
            store.size(key)
            found.problems.append(Problem(key, "the file is no part of the version"))


def _there(store: Store, version: str, dataset: str) -> bool:
    return store.exists(layout.manifest(version, dataset))


def given_key(path: Path | None) -> bytes | None:
    """The PEM in a file that a user gave. Raises InputError."""
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError("there is no such key", where=str(path), fix="give the signer's public key (PEM)") from error
