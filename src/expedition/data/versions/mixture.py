"""Planned against achieved: each kind's share of a version's tokens beside its share in the programme's mix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expedition.plan.data import DataMix


def shares(mix: DataMix, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a kind, planned or found: {kind, planned, achieved, tokens, epochs_at_plan}.

    Shares are of expanded tokens. `epochs_at_plan` is how often the kind would be read for its planned share of one
    pass over the whole version; None where nothing of it is there.
    """
    planned = mix.weights()
    found = {kind: cell["expanded_tokens"] for kind, cell in manifest["kinds"].items()}
    total = sum(found.values())
    rows = []
    for kind in sorted(planned.keys() | found.keys()):
        tokens, plan = found.get(kind, 0), planned.get(kind, 0.0)
        rows.append(
            {
                "kind": kind,
                "planned": plan,
                "achieved": tokens / total if total else 0.0,
                "tokens": tokens,
                "epochs_at_plan": plan * total / tokens if tokens else None,
            }
        )
    return rows
