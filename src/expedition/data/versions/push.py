"""`push` and `pull`: a version copied to another place and back, so that a reader there sees all of it or nothing.

    claim      create-only: two versions are never mixed in one place
    files      shards, tables, signature; several at a time, each read back and hashed before it counts
    manifest   last, create-only: it makes the version exist

What is there already is not sent again: what a journal says was verified (same ETag) is believed, anything else is
read and hashed. So the same command after a kill, a denial or a full disk goes on. The place has the layout of a
workspace, so every verb that takes a workspace's keys reads it.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from expedition.data.compliance import require_approval
from expedition.data.versions.index import LINEAGE
from expedition.data.versions.manifest import read_manifest
from expedition.data.versions.sign import MANIFEST, PULLED, read_envelope, signed_hashes
from expedition.data.versions.verification import (
    CLAIM,
    BytesProgress,
    Expected,
    datasets_of,
    given_key,
    mismatch,
    read_ahead,
)
from expedition.errors import CheckFailed, ExpeditionError, StorageError, UsageError
from expedition.workspace import AlreadyExists, NotFound, Store, Workspace, layout, store_at
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors
from expedition.workspace.hashes import canonical_json, sha256_bytes
from expedition.workspace.signing import key_ids
from expedition.workspace.store import FolderStore
from expedition.workspace.workspace import ARTEFACT_WRITTEN

Check = Literal["read", "head"]
"""How a sent file is verified: `read` hashes every byte that comes back, `head` compares size and ETag only."""

SEND_TRIES = 3
"""Times a file is sent when what comes back is not what was sent."""
THREADS = 4
_AGAIN = "run the same command again: it goes on where it was"


@dataclass(slots=True)
class _Counts:
    """What a transfer did; changed under its lock."""

    total: int
    progress: BytesProgress | None
    files: int = 0
    bytes: int = 0
    sent_files: int = 0
    sent_bytes: int = 0
    resent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def done(self, size: int, *, sent: bool) -> None:
        with self.lock:
            self.files += 1
            self.bytes += size
            if sent:
                self.sent_files += 1
                self.sent_bytes += size
            if self.progress is not None:
                self.progress(self.bytes, self.total)

    def again(self) -> None:
        with self.lock:
            self.resent += 1

    def row(self) -> dict[str, int]:
        names = ("files", "bytes", "sent_files", "sent_bytes", "resent")
        return {name: getattr(self, name) for name in names}


def push_version(
    ws: Workspace,
    version: str,
    place: str,
    *,
    dataset: str | None = None,
    check: Check = "read",
    threads: int | None = None,
    progress: BytesProgress | None = None,
) -> dict[str, Any]:
    """Copy a version (every data set of it, or one) to a folder or `s3://bucket/prefix?endpoint=…`; blocking.

    Idempotent and resumable; holds at most `threads` × `objects.UPLOAD_PARTS` parts in memory. Raises
    ComplianceRefused if a source has no approval in force now, UsageError if another version of this name is there,
    AccessDenied or StorageError (what is sent is kept), CheckFailed if the version itself was damaged.
    Records data.push.* events.
    """
    names = [dataset] if dataset is not None else datasets_of(ws.store, version) or [layout.DATASET]
    manifests = {name: read_manifest(ws, version, name) for name in names}
    for manifest in manifests.values():
        for source in manifest["sources"]:
            require_approval(ws, source["name"], scope=str(manifest.get("scope", "training")))
    target = store_at(place, create=True)
    if isinstance(target, FolderStore) and isinstance(ws.store, FolderStore) and target.root == ws.store.root:
        raise UsageError("a workspace cannot be pushed to itself", where=place)
    done = {}
    for name in names:
        pusher = _Pusher(ws, target, version, name, check, threads or THREADS, progress)
        pusher.endpoint = parse_qs(urlsplit(place).query).get("endpoint", [None])[0]
        done[name] = pusher.run(manifests[name])
    return {
        "version": version,
        "place": target.describe(),
        "check": check,
        "checked_by": _SAID[check],
        "content_hash": manifests[names[-1]]["content_hash"],
        "datasets": done,
    }


_SAID = {
    "read": "every file was read back and its SHA-256 compared",
    "head": "size and ETag only: the bytes were not read back",
}


class _Pusher:
    """One data set on its way to one place."""

    def __init__(
        self,
        ws: Workspace,
        target: Store,
        version: str,
        dataset: str,
        check: Check,
        threads: int,
        progress: BytesProgress | None,
    ) -> None:
        self.ws, self.target, self.version, self.dataset = ws, target, version, dataset
        self.check, self.threads, self.progress = check, threads, progress
        self.folder = layout.dataset(version, dataset)
        self.endpoint: str | None = None
        """Address of a store that is not its cloud's own; stands in the events."""
        identity = sha256_bytes(f"{target.describe()}\0{self.folder}".encode())[:24]
        self.journal = _Journal(ws.scratch("push") / f"{identity}.jsonl")

    def run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        body = self.ws.store.read(f"{self.folder}/{MANIFEST}")
        files = files_of(self.ws.store, self.version, self.dataset, manifest)
        counts = _Counts(sum(item.bytes or 0 for item in files), self.progress)
        published = self._claim(body)
        self._event("data.push.started", published=published, files=len(files))
        there = {key for top in (self.folder, "data/signatures", "keys") for key in self.target.list(top)}
        try:
            run_all(files, lambda item: self._one(item, item.path in there, counts), self.threads)
            self._publish(body)
        except ExpeditionError as error:
            self._event("data.push.failed", error=error.what, **counts.row())
            again = f"{_AGAIN} ({counts.files} of {len(files)} files are there)"
            error.fix = again if error.fix is None else f"{error.fix}; then {again}"
            raise
        finally:
            self.journal.close()
        self._event("data.push.finished", manifest_sha256=sha256_bytes(body), **counts.row())
        return {**counts.row(), "manifest_sha256": sha256_bytes(body), "was_published": published}

    def _claim(self, body: bytes) -> bool:
        """Take the place for this manifest; True if it is published there already."""
        key, digest = f"{self.folder}/{MANIFEST}", sha256_bytes(body)
        refusal = f"{self.dataset} {self.version} is there already with other content: a version is never replaced"
        fix = "push to another prefix, or build the next version"
        with suppress(NotFound):
            if self.target.read(key) != body:
                raise UsageError(refusal, where=self.target.describe(), fix=fix)
            return True
        claim = canonical_json({"manifest_sha256": digest}) + b"\n"
        try:
            create_once(self.target, f"{self.folder}/{CLAIM}", claim)
        except AlreadyExists as error:
            raise UsageError(
                f"another {self.dataset} {self.version} is being pushed there",
                where=f"{self.target.describe()}/{self.folder}/{CLAIM}",
                fix=f"{fix}; if that push was given up, delete this file",
            ) from error
        return False

    def _one(self, item: Expected, maybe_there: bool, counts: _Counts) -> None:
        """Bring one file there, and be sure of it."""
        size = item.bytes or 0
        if self._believed(item) or (maybe_there and self._is_there(item)):
            counts.done(size, sent=False)
            return
        for _ in range(SEND_TRIES):
            self._send(item)
            wrong = self._wrong(item)
            if wrong is None:
                counts.done(size, sent=True)
                return
            counts.again()
            self._refuse_damaged_source(item)
        raise StorageError(
            f"the store took {item.path} {SEND_TRIES} times without complaint, and then: {wrong}",
            where=self.target.describe(),
            fix="look after the store: it loses or changes what it acknowledges",
        )

    def _believed(self, item: Expected) -> bool:
        """Whether the journal knows this very object as verified, by its ETag."""
        entry = self.journal.entries.get(item.path)
        if entry is None or entry["sha256"] != item.sha256 or (self.check == "read" and entry["check"] != "read"):
            return False
        try:
            return self.target.tag(item.path) == entry["tag"]
        except NotFound:
            return False

    def _is_there(self, item: Expected) -> bool:
        try:
            return self.target.size(item.path) == item.bytes and self._wrong(item) is None
        except NotFound:
            return False

    def _wrong(self, item: Expected) -> str | None:
        """Why the target's file is not the version's, or None; what is right goes into the journal."""
        try:
            tag = self.target.tag(item.path)
        except NotFound:
            return "it is not there"
        if self.check == "head" and not isinstance(self.target, FolderStore):
            wrong = self._wrong_head(item, tag)
        else:
            wrong = mismatch(self.target, item.path, item)
        if wrong is None:
            self.journal.add(item, tag, self.check)
        return wrong

    def _wrong_head(self, item: Expected, tag: str) -> str | None:
        from expedition.workspace.objects import expected_etag

        if self.target.size(item.path) != item.bytes:
            return f"{self.target.size(item.path)} bytes instead of {item.bytes}"
        expected = expected_etag(self.ws.store.local(item.path))
        found = tag.strip('"')
        return None if found == expected else f"ETag {found} instead of {expected} (an encrypting store: --verify read)"

    def _send(self, item: Expected) -> None:
        if isinstance(self.ws.store, FolderStore):
            self.target.upload(item.path, self.ws.store.local(item.path), keep=True)
            return
        # From store to store by a file on this machine: what is damaged is found before it is sent.
        aside = self.ws.scratch("push") / sha256_bytes(item.path.encode())[:24]
        try:
            fetch(self.ws.store, item, aside)
            self.target.upload(item.path, aside)
        finally:
            aside.unlink(missing_ok=True)

    def _refuse_damaged_source(self, item: Expected) -> None:
        wrong = mismatch(self.ws.store, item.path, item)
        if wrong is not None:
            raise CheckFailed(
                wrong, where=item.path, fix=f"expedition data verify {self.version}: restore it, then push"
            )

    def _publish(self, body: bytes) -> None:
        key = f"{self.folder}/{MANIFEST}"
        for _ in range(SEND_TRIES):
            create_once(self.target, key, body)
            with suppress(NotFound):
                if self.target.read(key) == body:
                    self.target.delete(f"{self.folder}/{CLAIM}")
                    return
        raise StorageError(
            f"the store acknowledged the manifest {SEND_TRIES} times and does not have it",
            where=f"{self.target.describe()}/{key}",
        )

    def _event(self, kind: str, **fields: Any) -> None:
        self.ws.events("data").append(
            kind,
            dataset=self.dataset,
            version=self.version,
            place=self.target.describe(),
            endpoint=self.endpoint,
            check=self.check,
            **fields,
        )


class _Journal:
    """What was verified at a place, one JSON line a file: a shortcut only, it can be lost or torn at any moment."""

    def __init__(self, path: Path) -> None:
        self.path, self.lock = path, threading.Lock()
        self.entries: dict[str, dict[str, str]] = {}
        with suppress(FileNotFoundError):
            for line in path.read_bytes().split(b"\n"):
                with suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    self.entries[entry["path"]] = {name: entry[name] for name in ("sha256", "tag", "check")}
        self._file = path.open("ab")
        # A line that was torn by a kill must not swallow the next one.
        self._file.write(b"\n")

    def add(self, item: Expected, tag: str, check: str) -> None:
        line = canonical_json({"path": item.path, "sha256": item.sha256, "tag": tag, "check": check}) + b"\n"
        with self.lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def files_of(store: Store, version: str, dataset: str, manifest: dict[str, Any]) -> list[Expected]:
    """Every file that makes a version up but the manifest, by its key in the store, with what vouches for it.

    Raises CheckFailed if the version is not signed: nobody could tell later whether a copy is whole.
    """
    folder = layout.dataset(version, dataset)
    rows = [Expected(f"{folder}/{item['path']}", item["sha256"], item["bytes"]) for item in manifest["shards"]]
    rows += [
        Expected(f"{folder}/{path}", item["sha256"], item["bytes"])
        for path, item in sorted(manifest.get("files", {}).items())
    ]
    try:
        signed, _ = signed_hashes(store, version, dataset)
        envelope = read_envelope(store, version, dataset)
    except (CheckFailed, NotFound) as error:
        raise CheckFailed(
            f"the signature of {dataset} {version} does not hold: {error.what}",
            where=layout.signature(version, dataset),
            fix=f"expedition data verify {version}",
        ) from error
    rows.append(Expected(f"{folder}/{LINEAGE}", signed[LINEAGE], store.size(f"{folder}/{LINEAGE}")))
    for key in (layout.public_key(key_ids(envelope)[0]), layout.signature(version, dataset)):
        body = store.read(key)
        rows.append(Expected(key, sha256_bytes(body), len(body)))
    return rows


def pull_version(
    ws: Workspace,
    version: str,
    place: str,
    *,
    dataset: str | None = None,
    public_key: Path | None = None,
    threads: int | None = None,
    progress: BytesProgress | None = None,
) -> dict[str, Any]:
    """Copy a version from a place into the workspace, every byte hashed on the way; idempotent and resumable.

    The ledger does not come with it: a load asks for the approvals of this workspace. The signer's key is believed
    from now on; give `public_key` if it came another way. Raises UsageError if there is no such version, or another
    one of this name here; CheckFailed if what is there is not as it was signed.
    """
    source = store_at(place)
    names = [dataset] if dataset is not None else datasets_of(source, version)
    if not names or not source.exists(layout.manifest(version, names[0])):
        raise UsageError(f"there is no {dataset or layout.DATASET} {version}", where=source.describe())
    given = given_key(public_key)
    done = {}
    for name in names:
        with ws.lease(layout.dataset(version, name)):
            done[name] = _pull_one(ws, source, version, name, given, threads or THREADS, progress)
    return {"version": version, "place": source.describe(), "datasets": done}


def _pull_one(
    ws: Workspace,
    source: Store,
    version: str,
    dataset: str,
    given: bytes | None,
    threads: int,
    progress: BytesProgress | None,
) -> dict[str, Any]:
    key = layout.manifest(version, dataset)
    body = source.read(key)
    signed, fingerprint = signed_hashes(source, version, dataset, given)
    if signed.get(MANIFEST) != sha256_bytes(body):
        raise CheckFailed("the manifest is not the one that was signed", where=f"{source.describe()}/{key}")
    if ws.store.exists(key) and ws.store.read(key) != body:
        raise UsageError(f"another {dataset} {version} is here already", where=key, fix="pull into another workspace")
    files = files_of(source, version, dataset, json.loads(body))
    counts = _Counts(sum(item.bytes or 0 for item in files), progress)

    def one(item: Expected) -> None:
        with suppress(NotFound):
            if ws.store.size(item.path) == item.bytes and mismatch(ws.store, item.path, item) is None:
                counts.done(item.bytes or 0, sent=False)
                return
        aside = ws.scratch("pull") / f"{sha256_bytes(item.path.encode())[:24]}"
        fetch(source, item, aside)
        ws.store.upload(item.path, aside)
        aside.unlink(missing_ok=True)
        counts.done(item.bytes or 0, sent=True)

    run_all(files, one, threads)
    ws.events("artefacts").append(ARTEFACT_WRITTEN, key=key, sha256=sha256_bytes(body))
    ws.events("data").append(
        PULLED, dataset=dataset, version=version, place=source.describe(), public_key_sha256=fingerprint
    )
    create_once(ws.store, key, body)
    return {**counts.row(), "manifest_sha256": sha256_bytes(body), "public_key_sha256": fingerprint}


def fetch(store: Store, wanted: Expected, path: Path) -> None:
    """Download to `path`, hashed on the way; nothing is there unless it is right. Raises CheckFailed, StorageError."""
    digest = sha256()
    aside = path.with_name(f"{ASIDE_PREFIX}{path.name[:100]}-{uuid.uuid4().hex[:8]}")
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                for piece in read_ahead(store.stream(wanted.path), wanted.bytes):
                    digest.update(piece)
                    file.write(piece)
            if digest.hexdigest() != wanted.sha256:
                raise CheckFailed(
                    "its bytes are not those that were signed (SHA-256 differs)",
                    where=f"{store.describe()}/{wanted.path}",
                    fix="push it there again",
                )
            commit_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def create_once(store: Store, key: str, body: bytes) -> None:
    """Create `key`, or find it there with the same content. Raises AlreadyExists if it has another."""
    try:
        store.create(key, body)
    except AlreadyExists:
        if store.read(key) != body:
            raise


def run_all(items: Iterable[Expected], work: Callable[[Expected], None], threads: int) -> None:
    """Work on items in threads; at the first that fails no further one starts, and its error is raised."""
    left = iter(items)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        running: set[Future[None]] = set()
        try:
            while True:
                while len(running) < 2 * threads and (item := next(left, None)) is not None:
                    running.add(pool.submit(work, item))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
