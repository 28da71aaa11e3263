"""Which decisions differ between two programmes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expedition.plan.models import Programme


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that differs; None where it is absent."""

    path: str
    before: Any
    after: Any


def difference(before: Programme, after: Programme) -> list[Change]:
    """Every leaf that differs, by path. Records in lists are matched by `id` or `kind`, not by place."""
    old, new = _leaves(before.model_dump(mode="json")), _leaves(after.model_dump(mode="json"))
    return [
        Change(path, old.get(path), new.get(path)) for path in sorted({*old, *new}) if old.get(path) != new.get(path)
    ]


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        items = [(str(item.get("id", item.get("kind", number))), item) for number, item in enumerate(value)]
    else:
        return {path: value}
    return {
        leaf: found for key, item in items for leaf, found in _leaves(item, f"{path}.{key}" if path else key).items()
    }
