"""sources.yaml: what a data folder's owner says about its sources, where the content alone cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.data.decode.piece import Refused
from expedition.data.decode.yaml_safe import load_yaml
from expedition.data.records import KINDS
from expedition.errors import InputError

FILE = "sources.yaml"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared about one source; None or empty where nothing is."""

    kind: str | None = None
    licence: str | None = None
    since: str | None = None
    """Dataset version from which on the source takes part, such as "v0.2"."""
    disputed: bool = False
    exclude: tuple[str, ...] = ()
    """Patterns (`*`, `?`, `[…]`) of paths below the source's folder that are left out; "*" leaves out all of it."""
    origin: Mapping[str, Any] | None = None
    """`from`: where its files are fetched from; `connector` and that connector's settings."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """The other keys as they are (approval, policy, reason, languages, …), for the rooms that ask for them."""


Declarations = Mapping[str, Declaration]


def read_declarations(data_dir: Path) -> Declarations:
    """Declarations by source name, from `sources.yaml` in the data folder; empty where there is none.

    Raises InputError where it is not YAML, names an unknown kind, or a value has the wrong type.
    """
    path = data_dir / FILE
    if not path.is_file():
        return {}
    try:
        value = load_yaml(path.read_bytes())
    except Refused as refused:
        raise InputError(f"cannot be read: {refused}", where=str(path), fix="write plain YAML without tags") from None
    entries = value.get("sources", value) if isinstance(value, dict) else value
    if isinstance(entries, list) and all(isinstance(entry, dict) and "name" in entry for entry in entries):
        entries = {str(entry["name"]): entry for entry in entries}
    if entries is None:
        return {}
    if not isinstance(entries, dict):
        raise InputError("holds no sources", where=str(path), fix="write `sources:` and below it one entry a folder")
    return {str(name): _declaration(str(name), entry, path) for name, entry in entries.items()}


def _declaration(name: str, entry: Any, path: Path) -> Declaration:
    where = f"{path}: sources.{name}"
    if entry is None:
        return Declaration()
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, dict):
        raise InputError(
            f"is {type(entry).__name__}, not a mapping", where=where, fix="write keys such as kind, licence"
        )
    kind = entry.get("kind")
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind {kind!r} is unknown", where=f"{where}.kind", fix=f"use one of {', '.join(KINDS)}")
    disputed = entry.get("disputed", False)
    if not isinstance(disputed, bool):
        raise InputError(f"disputed {disputed!r} is no truth value", where=where, fix="write true or false")
    exclude = entry.get("exclude", ())
    patterns = (exclude,) if isinstance(exclude, str) else ("*",) if exclude is True else exclude or ()
    if not isinstance(patterns, list | tuple) or not all(isinstance(item, str) for item in patterns):
        raise InputError("exclude is no list of patterns", where=where, fix='write for example exclude: ["drafts/*"]')
    origin = entry.get("from")
    origin = {"connector": origin} if isinstance(origin, str) else origin
    if origin is not None and not (isinstance(origin, dict) and isinstance(origin.get("connector"), str)):
        raise InputError("from names no connector", where=f"{where}.from", fix="write from: {connector: NAME, …}")
    known = {"kind", "licence", "license", "since", "disputed", "exclude", "name", "from"}
    return Declaration(
        kind=kind,
        licence=_text(entry, "licence", where) or _text(entry, "license", where),
        since=_text(entry, "since", where),
        disputed=disputed,
        exclude=tuple(patterns),
        origin=origin,
        told={str(key): value for key, value in entry.items() if key not in known},
    )


def _text(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is None or isinstance(value, str):
        return value or None
    raise InputError(f"{key} {value!r} is no text", where=where, fix=f'write {key}: "…"')
