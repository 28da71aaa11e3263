"""Connector `object-store`: what lies under a prefix of an S3 store, by ranges, resumable, under one ETag."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.part import Part, Validators
from expedition.data.connectors.paths import key_of_path, taken
from expedition.errors import InputError, StorageError
from expedition.workspace.objects import ObjectStore
from expedition.workspace.store import AlreadyExists, NotFound

_PIECE_BYTES = 8 << 20


class ObjectStoreConfig(BaseModel):
    """Settings of `object-store`. Keys come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """`s3://bucket/prefix`, with `?endpoint=…&region=…` for other stores than Amazon's."""
    include: tuple[str, ...] = ("*",)
    """Patterns of keys below the prefix that are taken; `*` also crosses "/"."""
    exclude: tuple[str, ...] = ()
    """Patterns of keys that are left out."""


class ObjectStorePrefix:
    """The connector."""

    name = "object-store"
    config: type[BaseModel] = ObjectStoreConfig

    def items(self, context: Context, config: ObjectStoreConfig) -> Iterator[RemoteItem]:
        """Everything under the prefix, a page of the listing in memory at a time. Raises StorageError, InputError."""
        store, seen = _store(config.url), 0
        for key, size, tag in store.entries():
            seen += 1
            if not key.endswith("/") and taken(key, config.include, config.exclude):
                place = f"{store.describe().rstrip('/')}/{key}"
                yield RemoteItem(key_of_path(key), place, size, meta={"key": key, "etag": tag})
        if not seen:
            raise InputError("nothing lies under this prefix", where=store.describe(), fix="check bucket and prefix")

    def fetch(self, context: Context, config: ObjectStoreConfig, item: RemoteItem, target: Path) -> Downloaded:
        """Bring one object in, range by range under the ETag of the listing. Raises FetchFailed: CHANGED, UNREACHABLE."""
        store, key, tag = _store(config.url), str(item.meta["key"]), str(item.meta["etag"])
        size = item.expect_bytes or 0
        part = Part(target, context.client.policy.sync_bytes)
        validators = Validators(item.url, tag, None, size)
        if part.validators != validators:
            part.begin(validators)
        resumed_from = part.size
        try:
            while part.size < size:
                context.client.require_running(item.url)
                part.write(store.read_unchanged(key, part.size, min(_PIECE_BYTES, size - part.size), tag))
        except (AlreadyExists, NotFound) as error:
            part.discard()
            raise FetchFailed(FetchReason.CHANGED, "replaced or removed since it was listed", item.url) from error
        except StorageError as error:
            part.keep()
            raise FetchFailed(FetchReason.UNREACHABLE, error.what, item.url) from error
        except FetchFailed:
            part.keep()
            raise
        part.commit()
        return Downloaded(item.url, item.url, part.size, part.sha256, etag=tag, resumed_from=resumed_from)


CONNECTOR = ObjectStorePrefix()


@functools.lru_cache(maxsize=8)
def _store(url: str) -> ObjectStore:
    return ObjectStore(url)
