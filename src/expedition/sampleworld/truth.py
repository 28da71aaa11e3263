"""The truth file: one line for each thing that was planted, so that a pipeline's report can be judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

TRUTH_KINDS: tuple[str, ...] = (
    "exact_duplicate",
    "near_duplicate",
    "pii",
    "toxic",
    "leak",
    "unapproved",
    "corrupt",
    "misaligned",
    "language",
)


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted thing.

    `path` is relative to the sample's folder; `item` names the inner item where a file holds many (URL of a page,
    id of a line, number of a record) and is None where the file is the item. `details`
    holds what only this kind has: `of` (path and item of the original), `value`, `type`, `jaccard`, `offset_s`,
    `language`, `reason`.
    """

    kind: str
    source: str
    path: str
    item: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """The JSON line, keys in a fixed order, without its line end."""
        head = {"kind": self.kind, "source": self.source, "path": self.path, "item": self.item}
        return json.dumps(head | dict(sorted(self.details.items())), ensure_ascii=False)


def json_line(row: dict[str, Any]) -> str:
    """A row of a JSON-lines file, keys in the order given."""
    return json.dumps(row, ensure_ascii=False) + "\n"
