"""One acquisition through a connector with a real ledger, landing and client, against local servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from expedition.data.compliance import Statement, append
from expedition.data.connectors.connector import Connector
from expedition.data.connectors.fetching import Order, run
from expedition.data.connectors.policy import FetchPolicy
from expedition.data.sources.provenance import ItemRecord, records
from expedition.workspace import Workspace

LOCAL = FetchPolicy(
    allow_private=True,
    requests_per_s=10_000,
    burst=10_000,
    backoff_s=0.01,
    max_backoff_s=0.05,
    attempts=4,
    connections=4,
)
SOURCE = "fetched"


def approved(tmp_path: Path, source: str = SOURCE) -> Workspace:
    """A workspace whose ledger approves one source."""
    ws = Workspace.open(tmp_path / "ws", create=True)
    append(ws, Statement("approve", source, "Ada", "terms read"))
    return ws


def acquire(ws: Workspace, data: Path, connector: Connector, config: BaseModel, **how: Any) -> dict[str, Any]:
    """Run the connector into `data/fetched`."""
    return run(ws, data, Order(SOURCE, connector, config, base=data, policy=how.pop("policy", LOCAL), **how))


def kept(data: Path) -> dict[str, ItemRecord]:
    """Records of what is there, by key."""
    return {record.path: record for record in records(data / SOURCE) if record.status == "kept"}


def turned_down(data: Path) -> dict[str, ItemRecord]:
    """Records of what was refused or has failed, by key."""
    return {record.path: record for record in records(data / SOURCE) if record.status != "kept"}


def files_below(folder: Path) -> Iterator[Path]:
    """Every file, hidden ones too."""
    yield from (path for path in folder.rglob("*") if path.is_file())
