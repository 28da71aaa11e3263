"""The seam to any origin: what a connector is, how it is found by name, and how its configuration is read.

A connector lists items; the room fetches them, checks approvals, verifies, resumes and keeps the record. Add one by an
entry point of the group `expedition.connectors` that names an object with this interface, or by a line in BUILT_IN.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from expedition.data.connectors.client import Client, Downloaded
from expedition.errors import InputError, UsageError

ENTRY_POINTS = "expedition.connectors"
BUILT_IN = {
    "common-crawl": "expedition.data.connectors.common_crawl:CONNECTOR",
    "folder": "expedition.data.connectors.folder:CONNECTOR",
    "generator": "expedition.data.connectors.generator:CONNECTOR",
    "github": "expedition.data.connectors.github:CONNECTOR",
    "object-store": "expedition.data.connectors.object_store:CONNECTOR",
    "url-list": "expedition.data.connectors.url_list:CONNECTOR",
    "youtube": "expedition.data.connectors.youtube:CONNECTOR",
}
"""Name → module:object of the connectors that come with the package."""


@dataclass(frozen=True, slots=True)
class RemoteItem:
    """One file that an origin offers."""

    key: str
    """Path below the source's folder, "/" between names; the same item has the same key in every run."""
    url: str
    """Where it is, for the client or the connector's own fetch; stands in the record."""
    expect_bytes: int | None = None
    expect_sha256: str | None = None
    licence: str | None = None
    range: tuple[int, int] | None = None
    """First and last byte of `url`, both included, where the item is a part of it."""
    meta: dict[str, Any] = field(default_factory=dict)
    """JSON values that stand in the record, and whatever the connector's own fetch needs."""
    refused: str | None = None
    """Why it must not be fetched (a licence that does not allow it): recorded, never fetched."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a connector works with in one run."""

    client: Client
    base: Path
    """Folder that relative paths of the configuration are meant from."""
    state_dir: Path
    """The connector's own folder beside the source's files: listings, page tokens, quotas. Kept across runs."""
    note: Callable[[str], None]
    """A line of progress for people."""


class Connector(Protocol):
    """An origin of raw files. Holds no state of its own; `items` is called in one thread, `fetch` in several."""

    @property
    def name(self) -> str:
        """What `from:` and `--from` say."""
        ...

    @property
    def config(self) -> type[BaseModel]:
        """The pydantic model of its settings."""
        ...

    def items(self, context: Context, config: Any) -> Iterator[RemoteItem]:
        """What there is, lazily, in a fixed order. Raises FetchFailed, InputError, Interrupted (resumable)."""
        ...

    def fetch(self, context: Context, config: Any, item: RemoteItem, target: Path) -> Downloaded:
        """Bring one item to `target`, verified and committed by rename. Most connectors: `download_item`."""
        ...


def download_item(
    client: Client, item: RemoteItem, target: Path, headers: Mapping[str, str] | None = None
) -> Downloaded:
    """Fetch `item` with the client as its fields say. Raises as `Client.download`."""
    return client.download(
        item.url,
        target,
        expect_bytes=item.expect_bytes,
        expect_sha256=item.expect_sha256,
        range=item.range,
        headers=headers,
    )


def connector_names() -> list[str]:
    """Every connector that is installed, sorted."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def find_connector(name: str) -> Connector:
    """The connector of this name. Raises UsageError with the nearest name."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: Connector = getattr(import_module(module), attribute)
        return found
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            loaded: Connector = point.load()
            return loaded
    known = connector_names()
    close = difflib.get_close_matches(name, known, n=1)
    raise UsageError(
        f"no connector {name!r}", fix=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    )


Where = Callable[[tuple[Any, ...]], str]
"""From the path of a key (such as ("policy", "attempts")) to the place it was written at, for messages."""


def read_config(model: type[BaseModel], values: Mapping[str, Any], where: Where) -> Any:
    """A connector's configuration. Raises InputError for each wrong key, with its place, value and what would fit."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_explain(dict(detail), model, where) for detail in error.errors()[:5]]
        what, place, fix = problems[0]
        more = "".join(f"\n{other_place}: {other}" for other, other_place, _ in problems[1:])
        raise InputError(what + more, where=place, fix=fix) from None


def _explain(detail: dict[str, Any], model: type[BaseModel], where: Where) -> tuple[str, str, str | None]:
    location = tuple(detail["loc"])
    name = ".".join(str(part) for part in location)
    place = where(location)
    if detail["type"] == "extra_forbidden":
        known = [field_name for field_name in model.model_fields]
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return f"unknown key {name!r}", place, fix
    if detail["type"] == "missing":
        return f"{name!r} is missing", place, f"add it: {name}: …, or --set {name}=…"
    message = str(detail["msg"]).removeprefix("Value error, ")
    value = detail.get("input")
    shown = f" (the value is {value!r})" if not isinstance(value, dict | list) else ""
    return f"{name}: {message[:1].lower()}{message[1:]}{shown}", place, None
