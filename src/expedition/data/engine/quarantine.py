"""What the engine gave up on: read it, and clear it to try again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from expedition.data.engine.commit import QUARANTINE, read_outcome
from expedition.data.engine.shard import Outcome


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A task that failed every attempt, and why."""

    key: str
    reason: str


def quarantined(outcomes: Iterable[Outcome]) -> list[Quarantined]:
    """The given-up tasks among `outcomes`, in their order."""
    return [Quarantined(item.key, item.quarantined) for item in outcomes if item.quarantined is not None]


def release_quarantine(folder: Path) -> list[str]:
    """Forget every quarantine under `folder`, so that the next run tries those tasks again; returns their keys."""
    released: list[str] = []
    if not folder.is_dir():
        return released
    for marker in sorted(folder.glob(f"*/{QUARANTINE}")):
        outcome = read_outcome(folder, marker.parent.name)
        if outcome is not None and outcome.quarantined is not None:
            shutil.rmtree(marker.parent)
            released.append(outcome.key)
    return released
