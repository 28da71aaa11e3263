"""Find personal data in a text and replace it by typed placeholders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expedition.data.stages.pii.detectors import DETECTORS


@dataclass(frozen=True, slots=True)
class Span:
    """Personal data of `type` at text[start:end], in characters."""

    start: int
    end: int
    type: str


def find_pii(text: str, types: frozenset[str] | None = None) -> list[Span]:
    """All personal data of the given types (None: every type), sorted, without overlap.

    Where two findings overlap, the one whose detector stands first in the table wins: a checksum outranks a shape.
    """
    taken: list[Span] = []
    for type_, detector in DETECTORS.items():
        if types is not None and type_ not in types:
            continue
        for start, end in detector(text):
            if all(end <= other.start or start >= other.end for other in taken):
                taken.append(Span(start, end, type_))
    return sorted(taken, key=lambda span: span.start)


def redact(text: str, spans: Iterable[Span]) -> str:
    """Replace each span by `<TYPE>`; the rest of the text stays as it is."""
    parts: list[str] = []
    position = 0
    for span in sorted(spans, key=lambda span: span.start):
        parts += (text[position : span.start], f"<{span.type}>")
        position = span.end
    parts.append(text[position:])
    return "".join(parts)


def count_by_type(spans: Sequence[Span]) -> dict[str, int]:
    """How many spans of each type."""
    counts: dict[str, int] = {}
    for span in spans:
        counts[span.type] = counts.get(span.type, 0) + 1
    return counts
