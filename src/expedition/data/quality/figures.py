"""Recall and precision, with the counts that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Tally:
    """Counts of one detector: planted things, those found, all findings, findings that are right."""

    planted: int = 0
    recalled: int = 0
    found: int = 0
    right: int = 0

    def figures(self) -> dict[str, Any]:
        """{recall, precision, planted, found}; None where a figure has no denominator."""
        return {
            "recall": ratio(self.recalled, self.planted),
            "precision": ratio(self.right, self.found),
            "planted": self.planted,
            "found": self.found,
        }


def ratio(part: float, whole: float) -> float | None:
    """part / whole to four digits, or None for an empty whole."""
    return round(part / whole, 4) if whole else None


def f1(precision: float | None, recall: float | None) -> float | None:
    """Harmonic mean of both; None where one is missing or both are 0."""
    if not precision or not recall:
        return None if precision is None or recall is None else 0.0
    return round(2 * precision * recall / (precision + recall), 4)
