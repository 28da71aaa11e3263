"""Connector `folder`: files of a local folder or mounted disk, copied and hashed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.part import Part
from expedition.data.connectors.paths import key_of_path, taken
from expedition.data.sources.walk import walk
from expedition.errors import InputError

_PIECE_BYTES = 4 << 20


class FolderConfig(BaseModel):
    """Settings of `folder`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """The folder."""
    include: tuple[str, ...] = ("*",)
    """Patterns of paths below it that are taken; `*` also crosses "/"."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths that are left out."""


class Folder:
    """The connector."""

    name = "folder"
    config: type[BaseModel] = FolderConfig

    def items(self, context: Context, config: FolderConfig) -> Iterator[RemoteItem]:
        """The files below the folder, sorted; no hidden ones, no links that lead out. Raises InputError."""
        folder = _folder(context, config)
        for file in walk(folder):
            if taken(file.path, config.include, config.exclude):
                url = (folder / file.path).as_uri()
                yield RemoteItem(key_of_path(file.path), url, file.size, meta={"from": file.path})

    def fetch(self, context: Context, config: FolderConfig, item: RemoteItem, target: Path) -> Downloaded:
        """Copy one file. Raises FetchFailed: CHANGED where its size is another than when it was listed."""
        origin = _folder(context, config) / str(item.meta["from"])
        part = Part(target, context.client.policy.sync_bytes)
        part.restart()
        try:
            with origin.open("rb") as file:
                while piece := file.read(_PIECE_BYTES):
                    part.write(piece)
        except OSError as error:
            part.discard()
            raise FetchFailed(FetchReason.UNREACHABLE, str(error.strerror or error), item.url) from error
        if item.expect_bytes is not None and part.size != item.expect_bytes:
            part.discard()
            raise FetchFailed(FetchReason.CHANGED, f"{part.size} bytes, not {item.expect_bytes}", item.url)
        part.commit()
        return Downloaded(item.url, item.url, part.size, part.sha256)


CONNECTOR = Folder()


def _folder(context: Context, config: FolderConfig) -> Path:
    folder = (context.base / Path(config.path).expanduser()).absolute()
    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder), fix="give the folder that holds the files: path")
    return folder
