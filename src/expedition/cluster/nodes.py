"""The ledger of nodes: state and history of each, one file a node, changed only with a reason.

States: `in service` may train; `suspect` failed a test once and may not; `isolated` is out until somebody returns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from expedition.errors import UsageError
from expedition.workspace import NotFound, layout

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "cluster.node/1"
State = Literal["in service", "suspect", "isolated"]
ALLOWED: dict[str, tuple[State, ...]] = {
    "unknown": ("in service", "suspect", "isolated"),
    "in service": ("in service", "suspect", "isolated"),
    "suspect": ("in service", "suspect", "isolated"),
    "isolated": ("isolated",),
}
"""From which state which may follow by a test; only `return_node` leads out of isolation."""


def record_node(
    ws: Workspace, node: str, state: State, reason: str, gpus: int = 0, evidence: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a node's new state with its reason; returns its document. Raises UsageError for a way out of isolation."""
    document = _node(ws, node) or {"node": node, "state": "unknown", "gpus": gpus, "history": []}
    if state not in ALLOWED[document["state"]]:
        raise UsageError(
            f"node {node} is {document['state']} and cannot become {state} by itself",
            where=layout.node(node),
            fix=f"expedition cluster nodes --return {node} --reason …",
        )
    return _write(ws, document, state, reason, gpus, evidence)


def return_node(ws: Workspace, node: str, reason: str) -> dict[str, Any]:
    """A person puts a repaired node back: it is suspect until its next burn-in passes. Raises UsageError if unknown."""
    document = _node(ws, node)
    if document is None:
        known = ", ".join(entry["node"] for entry in list_nodes(ws)) or "none yet"
        raise UsageError(f"no node {node!r}", where="cluster/nodes", fix=f"known: {known}")
    return _write(ws, document, "suspect", f"returned: {reason}", document["gpus"], None)


def list_nodes(ws: Workspace) -> list[dict[str, Any]]:
    """All nodes by name."""
    return [ws.read_json(key) for key in ws.store.list("cluster/nodes") if key.endswith(".json")]


def serving(ws: Workspace) -> list[str]:
    """Names of the nodes that may train."""
    return [document["node"] for document in list_nodes(ws) if document["state"] == "in service"]


def _node(ws: Workspace, node: str) -> dict[str, Any] | None:
    try:
        return ws.read_json(layout.node(node))
    except NotFound:
        return None


def _write(
    ws: Workspace, document: dict[str, Any], state: State, reason: str, gpus: int, evidence: Mapping[str, Any] | None
) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    entry = {"time": now, "from": document["state"], "to": state, "reason": reason, "evidence": dict(evidence or {})}
    changed = {**document, "state": state, "gpus": gpus, "history": [*document["history"], entry]}
    ws.write_json(layout.node(document["node"]), changed, schema=SCHEMA)
    ws.events("cluster").append("node.state", node=document["node"], state=state, reason=reason)
    return changed
