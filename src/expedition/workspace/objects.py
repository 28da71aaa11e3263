"""A store under an object-store prefix: S3 and what speaks its protocol, through `obstore`.

URL form: `s3://bucket/prefix?endpoint=http://host:port&region=…`; keys and secrets come from the usual environment
variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), never from the URL.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from expedition.errors import MissingExtra, StorageError, UsageError
from expedition.workspace.atomic import write_atomic
from expedition.workspace.store import AlreadyExists, NotFound, checked_key


class ObjectStore:
    """A store under `s3://bucket/prefix`. Downloads for `local` are kept in a cache folder by key and ETag."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise UsageError(f"not an object store that is known: {url!r}", fix="use s3://bucket/prefix?endpoint=…")
        self.prefix = parts.path.strip("/")
        self._store = _connect(parts.netloc, {name: values[0] for name, values in parse_qs(parts.query).items()})
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.cache = Path(tempfile.gettempdir()) / f"expedition-cache-{os.getuid()}" / name

    def describe(self) -> str:
        return self.url.split("?")[0]

    def _key(self, key: str) -> str:
        key = checked_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def read(self, key: str) -> bytes:
        with _object_errors(self, key):
            return bytes(self._store.get(self._key(key)).bytes())

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            return b""
        with _object_errors(self, key):
            return bytes(self._store.get_range(self._key(key), start=start, length=length))

    def write(self, key: str, data: bytes) -> None:
        with _object_errors(self, key):
            self._store.put(self._key(key), data)

    def create(self, key: str, data: bytes) -> None:
        with _object_errors(self, key):
            self._store.put(self._key(key), data, mode="create", use_multipart=False)

    def upload(self, key: str, path: Path) -> None:
        with _object_errors(self, key):
            self._store.put(self._key(key), path)

    def local(self, key: str) -> Path:
        with _object_errors(self, key):
            head = self._store.head(self._key(key))
            tag = hashlib.sha256(f"{key}\0{head['e_tag']}\0{head['size']}".encode()).hexdigest()[:32]
            path = self.cache / tag / Path(key).name
            if not path.exists():
                write_atomic(path, self.read(key))
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

    def list(self, prefix: str = "") -> Iterator[str]:
        whole = self._key(prefix) if prefix else self.prefix
        cut = len(self.prefix) + 1 if self.prefix else 0
        keys: list[str] = []
        with _object_errors(self, prefix):
            for page in self._store.list(whole or None):
                keys.extend(str(item["path"]) for item in page)
        yield from sorted(key[cut:] for key in keys)

    def delete(self, key: str) -> None:
        try:
            with _object_errors(self, key):
                self._store.delete(self._key(key))
        except NotFound:
            return


def _connect(bucket: str, query: dict[str, str]) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise MissingExtra("object stores need obstore", fix="pip install 'expedition-programme[s3]'") from error
    endpoint = query.get("endpoint")
    options: dict[str, Any] = {"region": query.get("region", os.environ.get("AWS_REGION", "us-east-1"))}
    if endpoint:
        options["endpoint"] = endpoint
        options["virtual_hosted_style_request"] = False
    client = {"allow_http": True} if endpoint and endpoint.startswith("http://") else {}
    return S3Store(bucket, config=options, client_options=client)  # type: ignore[arg-type]


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
            raise AlreadyExists(f"already there: {key}", where=store.describe()) from error
        if (type(error).__module__ or "").startswith(("obstore", "_obstore")) or isinstance(error, OSError):
            raise StorageError(
                f"the object store refused {key}: {str(error).splitlines()[0][:300]}",
                where=store.describe(),
                fix="check endpoint, bucket and credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
            ) from error
        raise
