"""From what a person wrote — `from:` in sources.yaml, `--from` and `--set` — to an order that can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from expedition.data.connectors.connector import find_connector, read_config
from expedition.data.connectors.fetching import Order, Progress, run
from expedition.data.connectors.landing import key_problem
from expedition.data.connectors.policy import FetchPolicy
from expedition.data.sources.declaration import FILE, Declaration, read_declarations
from expedition.errors import ExpeditionError, InputError, UsageError
from expedition.plan.yaml_lines import Lines, parse_yaml
from expedition.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How one run differs from what sources.yaml says of the source."""

    connector: str | None = None
    """Another connector than the file's; its settings are then `settings` alone."""
    settings: tuple[str, ...] = ()
    """`key=value` texts (values as in YAML; `policy.key=value` for the fetch policy), which override the file."""
    scope: str = "training"
    verify: bool = False
    """Hash what is there before it is taken as there."""
    again: bool = False
    """Ask anew for items that were refused before."""
    limit: int | None = None
    """Stop after so many new items."""


def fetch_source(
    ws: Workspace,
    data_dir: Path | str,
    source: str,
    options: FetchOptions | None = None,
    *,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fetch a source's files into `data_dir/<source>/`, as its `from:` in sources.yaml and `options` say.

    Resumable. Writes the files, their provenance log, and data/acquired/<source>/ in the workspace. Raises as
    `fetching.run`, and InputError or UsageError for a wrong configuration, with file and line.
    """
    asked = options or FetchOptions()
    order = replace(
        order_of(Path(data_dir), source, asked.connector, asked.settings),
        scope=asked.scope,
        verify=asked.verify,
        again=asked.again,
        limit=asked.limit,
    )
    return run(ws, Path(data_dir), order, progress, note)


def order_of(data_dir: Path, source: str, connector: str | None = None, settings: Sequence[str] = ()) -> Order:
    """The order for a source. Raises InputError, UsageError."""
    problem = key_problem(source)
    if problem is not None or "/" in source:
        raise UsageError(f"{source!r} is no name of a source", fix="a source is one folder: --source NAME")
    if not data_dir.is_dir():
        raise InputError("there is no such folder", where=str(data_dir), fix="make the data folder first")
    declared = read_declarations(data_dir).get(source, Declaration())
    written = dict(declared.origin or {})
    if connector is not None and written.get("connector") != connector:
        written = {"connector": connector}
    if "connector" not in written:
        raise UsageError(
            f"nothing says where {source!r} comes from",
            where=str(data_dir / FILE),
            fix="write from: {connector: NAME, …} for it there, or give --from NAME --set key=value",
        )
    overridden = _override(written, settings)
    found = find_connector(str(written.pop("connector")))
    policy = written.pop("policy", None) or {}
    if not isinstance(policy, Mapping):
        raise InputError("policy is no mapping", where=str(data_dir / FILE), fix="write policy: {attempts: 5}")
    lines = _lines(data_dir)

    def place(path: tuple[Any, ...]) -> str:
        name = ".".join(str(part) for part in path)
        if (path and ".".join(str(part) for part in path[:2]) in overridden) or lines is None or connector is not None:
            return f"--set {name}" if name else "--set"
        root = ("sources", source, "from") if ("sources", source) in lines.lines else (source, "from")
        return f"{data_dir / FILE}:{lines.of((*root, *path))}"

    return Order(
        source=source,
        connector=found,
        config=read_config(found.config, written, place),
        base=Path.cwd() if connector is not None else data_dir.absolute(),
        policy=read_config(FetchPolicy, policy, lambda path: place(("policy", *path))),
        licence=declared.licence,
    )


def _override(tree: dict[str, Any], settings: Sequence[str]) -> set[str]:
    """Apply `key=value` and `policy.key=value` texts; the dotted names that were set. Raises UsageError."""
    names = set()
    for text in settings:
        path, equals, raw = text.partition("=")
        if not equals or not path or path.count(".") > 1:
            raise UsageError(f"{text!r} is not of the form key=value", fix="--set key=value, --set policy.key=value")
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise UsageError(f"the value of {path!r} is no YAML: {error}", where=f"--set {text}") from None
        section, _, key = path.rpartition(".")
        inner = tree
        if section:
            inner = tree.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{section!r} is a value, it has no {key!r}", where=f"--set {text}")
        inner[key] = value
        names.add(path)
    return names


def _lines(data_dir: Path) -> Lines | None:
    path = data_dir / FILE
    try:
        return parse_yaml(path.read_bytes().decode("utf-8"), str(path))[1] if path.is_file() else None
    except (ExpeditionError, UnicodeDecodeError, OSError):
        return None
