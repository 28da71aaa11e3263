"""What queries look at: all that a workspace holds of data at a moment, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.data.compliance import Entry
    from expedition.data.versions.issues import Issue
    from expedition.plan.data import DataPlan


@dataclass(frozen=True, slots=True)
class VersionHeld:
    """A finished version, without its documents. Immutable, as the version is."""

    version: str
    built_at: str | None
    """When its build finished, ISO 8601 UTC; None where no event says so (a version that was pulled)."""
    manifest: Mapping[str, Any]
    report: Mapping[str, Any]
    statistics: tuple[Mapping[str, Any], ...]
    """Rows of the statistics table: sums by source, kind and language."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is there at `as_of`."""

    as_of: str
    """ISO 8601 UTC."""
    versions: tuple[VersionHeld, ...]
    """In the order in which they were built."""
    plan: DataPlan | None
    """What the programme plans; None: no programme is known."""
    entries: tuple[Entry, ...]
    """The compliance ledger, oldest first."""
    ledger_problems: tuple[str, ...]
    acquisitions: tuple[Mapping[str, Any], ...]
    issues: tuple[Issue, ...]
    builds: tuple[Mapping[str, Any], ...]
    """Builds that have not finished: see `under_way.builds_under_way`."""
    judged: Mapping[str, Any] | None
    """The newest comparison with truth and labelled sets: see `versions.judge`."""

    @property
    def newest(self) -> VersionHeld | None:
        """The version that was built last."""
        return self.versions[-1] if self.versions else None

    def age_s(self, moment: str | None) -> float | None:
        """Seconds from `moment` to `as_of`, never negative; None where it is unknown."""
        if moment is None:
            return None
        return max(0.0, round(seconds(self.as_of) - seconds(moment), 3))


def seconds(moment: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; one without a zone is UTC."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
