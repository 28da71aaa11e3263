"""A store under an object-store prefix: S3 and what speaks its protocol, through `obstore`.

URL form: `s3://bucket/prefix?endpoint=http://host:port&region=…`; keys and secrets come from the usual environment
variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from the URL. Further options of the URL: `retry_s`, for how
long a failing request is tried again (default 180); `checksum=sha256`, the store checks each part as it arrives.

Large files travel in parts; a body that breaks off is gone on with from the byte where it broke, under the same ETag.
An upload holds at most `part_bytes(size) * UPLOAD_PARTS` in memory, a download one piece of `PIECE_BYTES`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from expedition.errors import MissingExtra, StorageError, UsageError
from expedition.workspace.atomic import ASIDE_PREFIX, storage_errors
from expedition.workspace.store import AccessDenied, AlreadyExists, NotFound, checked_key

PIECE_BYTES = 4 << 20
MIN_PART_BYTES = 8 << 20
MAX_PARTS = 9000
"""S3 takes at most 10,000 parts."""
UPLOAD_PARTS = 4
"""Parts of one file that are under way at once; several files are uploaded by several threads."""
STREAM_TRIES = 4
"""Attempts in a row that bring no byte before a download is given up."""
MAX_RETRIES = 1000
"""The time is the limit, not the number of tries."""

Answer = TypeVar("Answer")


class ObjectStore:
    """A store under `s3://bucket/prefix`. Downloads for `local` are kept in a cache folder by key and ETag."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise UsageError(f"not an object store that is known: {url!r}", fix="use s3://bucket/prefix?endpoint=…")
        self.prefix = parts.path.strip("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self._retry_s = _seconds(query.get("retry_s", "180"))
        self._store = _connect(parts.netloc, query, MAX_RETRIES)
        # Tries a request once: a second try of a create-only put would meet what the first one made.
        self._once = _connect(parts.netloc, query, 0)
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.cache = Path(tempfile.gettempdir()) / f"expedition-cache-{os.getuid()}" / name

    def describe(self) -> str:
        return self.url.split("?")[0]

    def _key(self, key: str) -> str:
        key = checked_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def read(self, key: str) -> bytes:
        return self._again(key, lambda: bytes(self._store.get(self._key(key)).bytes()))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        return self._again(key, lambda: bytes(self._store.get_range(self._key(key), start=start, length=length)))

    def _again(self, key: str, ask: Callable[[], Answer]) -> Answer:
        """What `ask` gives. The client tries requests again, but not answers whose body breaks off: that is done here,
        within the same time."""
        until, failures = time.monotonic() + self._retry_s, 0
        while True:
            try:
                with _object_errors(self, key):
                    return ask()
            except (AccessDenied, AlreadyExists):
                raise
            except StorageError:
                failures += 1
                wait_s = 0.05 * 2**failures
                if failures == STREAM_TRIES or time.monotonic() + wait_s > until:
                    raise
                time.sleep(wait_s)

    def write(self, key: str, data: bytes) -> None:
        with _object_errors(self, key):
            self._store.put(self._key(key), data)

    def create(self, key: str, data: bytes) -> None:
        """See `Store.create`. An answer that was lost leaves open who made the key: then its content says so."""
        until, failures = time.monotonic() + self._retry_s, 0
        while True:
            try:
                with _object_errors(self, key):
                    self._once.put(self._key(key), data, mode="create", use_multipart=False)
                return
            except AccessDenied:
                raise
            except AlreadyExists:
                if failures and self.read(key) == data:
                    return
                raise
            except StorageError:
                failures += 1
                wait_s = min(5.0, 0.05 * 2**failures)
                if time.monotonic() + wait_s > until:
                    raise
                time.sleep(wait_s)

    def stream(self, key: str) -> Iterator[bytes]:
        done, tag, failures = 0, "", 0
        while True:
            # Opening is tried again by the client; a body that breaks off is not, and is gone on with here.
            size, tag, pieces = self._open(key, done, tag)
            try:
                while (piece := self._next(key, pieces)) is not None:
                    done, failures = done + len(piece), 0
                    yield piece
                if done == size:
                    return
                raise StorageError(f"{key} broke off after {done} of {size} bytes", where=self.describe())
            except StorageError:
                failures += 1
                if failures == STREAM_TRIES:
                    raise
                time.sleep(0.05 * 2**failures)

    def _open(self, key: str, start: int, tag: str) -> tuple[int, str, Iterator[bytes]]:
        """Size and ETag of the whole object, and its bytes from `start` on."""
        options: dict[str, Any] = {"if_match": tag, "range": {"offset": start}} if start else {}
        with _object_errors(self, key):
            answer = self._store.get(self._key(key), options=options)
            size, found = int(answer.meta["size"]), str(answer.meta["e_tag"])
            return size, found, iter(answer.stream(min_chunk_size=PIECE_BYTES)) if size > start else iter(())

    def _next(self, key: str, pieces: Iterator[bytes]) -> bytes | None:
        with _object_errors(self, key):
            return next(pieces, None)

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        size = path.stat().st_size
        with _object_errors(self, key):
            self._store.put(self._key(key), path, chunk_size=part_bytes(size), max_concurrency=UPLOAD_PARTS)

    def local(self, key: str) -> Path:
        with _object_errors(self, key):
            head = self._store.head(self._key(key))
        tag = hashlib.sha256(f"{key}\0{head['e_tag']}\0{head['size']}".encode()).hexdigest()[:32]
        path = self.cache / tag / Path(key).name
        if not path.exists():
            aside = path.with_name(f"{ASIDE_PREFIX}{path.name[:100]}-{uuid.uuid4().hex[:8]}")
            try:
                with storage_errors(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with aside.open("wb") as file:
                        for piece in self.stream(key):
                            file.write(piece)
                    os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        return path

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except NotFound:
            return False
        return True

    def size(self, key: str) -> int:
        with _object_errors(self, key):
            return int(self._store.head(self._key(key))["size"])

    def tag(self, key: str) -> str:
        with _object_errors(self, key):
            return str(self._store.head(self._key(key))["e_tag"])

    def list(self, prefix: str = "") -> Iterator[str]:
        whole = self._key(prefix) if prefix else self.prefix
        cut = len(self.prefix) + 1 if self.prefix else 0

        def ask() -> list[str]:
            return [str(item["path"]) for page in self._store.list(whole or None) for item in page]

        yield from sorted(key[cut:] for key in self._again(prefix, ask))

    def entries(self, prefix: str = "") -> Iterator[tuple[str, int, str]]:
        """(key, bytes, ETag) of everything under `prefix`, in the store's order, a page in memory at a time."""
        whole = self._key(prefix) if prefix else self.prefix
        cut = len(self.prefix) + 1 if self.prefix else 0
        with _object_errors(self, prefix):
            for page in self._store.list(whole or None):
                for item in page:
                    yield str(item["path"])[cut:], int(item["size"]), str(item["e_tag"])

    def read_unchanged(self, key: str, start: int, length: int, tag: str) -> bytes:
        """`length` bytes from `start` of the content whose ETag is `tag`. Raises AlreadyExists if it was replaced."""
        options: Any = {"range": (start, start + length), "if_match": tag}
        with _object_errors(self, key):
            return bytes(self._store.get(self._key(key), options=options).bytes())

    def folders(self, prefix: str) -> Iterator[str]:
        whole = self._key(prefix)
        found = self._again(prefix, lambda: self._store.list_with_delimiter(whole)["common_prefixes"])
        yield from sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, key: str) -> None:
        try:
            with _object_errors(self, key):
                self._store.delete(self._key(key))
        except NotFound:
            return


def part_bytes(size: int) -> int:
    """Bytes of each part but the last of a file of `size` bytes: whole MiB, few enough parts."""
    return max(MIN_PART_BYTES, -(-size // (MAX_PARTS << 20)) << 20)


def expected_etag(path: Path) -> str:
    """The ETag that S3 gives a file uploaded by `upload`: MD5, or MD5 of the parts' MD5s and their number.

    A store that encrypts with keys of its own (SSE-KMS) gives others. Source: the S3 user guide, "Checking object
    integrity". No protection against an attacker: MD5 only tells chance from damage.
    """
    size = path.stat().st_size
    part = part_bytes(size)
    digests: list[Any] = []
    with path.open("rb") as file:
        while len(digests) * part < size or not digests:
            digest, left = hashlib.md5(usedforsecurity=False), part
            while left and (piece := file.read(min(left, 1 << 20))):
                digest.update(piece)
                left -= len(piece)
            digests.append(digest)
    if size <= part:
        return str(digests[0].hexdigest())
    joined = b"".join(digest.digest() for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def _connect(bucket: str, query: dict[str, str], max_retries: int) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise MissingExtra("object stores need obstore", fix="pip install 'expedition-programme[s3]'") from error
    endpoint = query.get("endpoint")
    options: dict[str, Any] = {"region": query.get("region", os.environ.get("AWS_REGION", "us-east-1"))}
    if endpoint:
        options["endpoint"] = endpoint
        options["virtual_hosted_style_request"] = False
    if "checksum" in query:
        options["checksum_algorithm"] = query["checksum"]
    # A large body may take long; what must not happen is that nothing comes for a minute.
    client: dict[str, Any] = {"timeout": "1h", "read_timeout": "60s", "connect_timeout": "10s"}
    if endpoint and endpoint.startswith("http://"):
        client["allow_http"] = True
    retry: Any = {"max_retries": max_retries, "retry_timeout": timedelta(seconds=_seconds(query.get("retry_s", "180")))}
    return S3Store(bucket, config=options, client_options=client, retry_config=retry)  # type: ignore[arg-type]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"not a number of seconds: retry_s={text!r}", fix="retry_s=180") from error


@contextmanager
def _object_errors(store: ObjectStore, key: str) -> Iterator[None]:
    """Turn the client's exceptions into ours."""
    try:
        yield
    except (StorageError, NotFound):
        raise
    except Exception as error:
        name = type(error).__name__
        if name in ("NotFoundError", "FileNotFoundError"):
            raise NotFound(f"no such artefact: {key}", where=store.describe()) from error
        if name in ("AlreadyExistsError", "FileExistsError", "PreconditionError"):
            raise AlreadyExists(f"already there, or replaced meanwhile: {key}", where=store.describe()) from error
        if name in ("PermissionDeniedError", "PermissionError", "UnauthenticatedError"):
            raise AccessDenied(
                f"access denied to {key}",
                where=store.describe(),
                fix="check the rights of these credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) on this prefix",
            ) from error
        if (type(error).__module__ or "").startswith(("obstore", "_obstore")) or isinstance(error, OSError):
            raise StorageError(
                f"the object store refused {key}: {str(error).splitlines()[0][:300]}",
                where=store.describe(),
                fix="check endpoint, bucket and credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
            ) from error
        raise
