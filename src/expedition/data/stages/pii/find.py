"""Find personal data in a text and replace it by typed placeholders."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from expedition.data.stages.pii.detectors import detectors_for
from expedition.data.stages.pii.postcodes import postcode_behind
from expedition.data.stages.pii.view import view_of


@dataclass(frozen=True, slots=True)
class Span:
    """Personal data of `type` at text[start:end], in characters."""

    start: int
    end: int
    type: str


class Taken:
    """Spans that do not overlap; who comes first holds the place."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._spans: list[Span] = []

    def add(self, span: Span) -> bool:
        """Take the place, if it is free. Logarithmic search."""
        at = bisect_left(self._starts, span.start)
        if at < len(self._spans) and self._spans[at].start < span.end:
            return False
        if at and self._spans[at - 1].end > span.start:
            return False
        self._starts.insert(at, span.start)
        self._spans.insert(at, span)
        return True

    def spans(self) -> list[Span]:
        """In order of the text."""
        return self._spans


def find_pii(text: str, types: frozenset[str] | None = None, *, names: bool = False) -> list[Span]:
    """All personal data of the given types (None: every type), sorted, without overlap.

    Where two findings overlap, the one whose detector stands first in the table wins: a checksum outranks a shape.
    Zero-width characters, inline tags, character references and full-width digits do not hide anything; the offsets are
    those of `text`. `names` adds what the names model and its companions see (`NAME_TYPES`): persons, places,
    organisations, titles, dates.
    """
    view = view_of(text)
    seen = view.text
    taken = Taken()
    # Places are taken in the view; what stands apart there stands apart in the text.
    for type_, detector in detectors_for(seen):
        if types is not None and type_ not in types:
            continue
        for start, end in detector(seen):
            taken.add(Span(start, end, type_))
    if types is None or "ZIP_CODE" in types:
        for address in [span for span in taken.spans() if span.type == "STREET_ADDRESS"]:
            behind = postcode_behind(seen, address.end)
            if behind is not None:
                taken.add(Span(*behind, "ZIP_CODE"))
    if names:
        from expedition.data.stages.pii.names import find_names

        for start, end, type_ in find_names(seen, [(span.start, span.end) for span in taken.spans()]):
            if types is None or type_ in types:
                taken.add(Span(start, end, type_))
    if seen is text:
        return taken.spans()
    return [Span(*view.original(span.start, span.end), span.type) for span in taken.spans()]


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
