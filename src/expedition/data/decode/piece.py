"""What decoding yields: pieces (documents that have no name yet) and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from expedition.data.decode.reasons import Reason
from expedition.data.records import Insert


@dataclass(frozen=True, slots=True)
class Repair:
    """Something in a document that was put right: why, how many times, and a word on it."""

    reason: Reason
    count: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A decoded document before it is named.

    `text` holds one U+FFFC for each of `inserts`. `inner` says where in its file it was found ("" for the whole
    file). `kind` is None where the source decides.
    """

    text: str
    inserts: tuple[Insert, ...] = ()
    inner: str = ""
    kind: str | None = None
    url: str | None = None
    licence: str | None = None
    language: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A part that yields no document, and why. `inner` says which part of the file ("" for all of it)."""

    reason: Reason
    detail: str = ""
    inner: str = ""


Decoded = Iterator[Piece | Fault]
"""What a decoder gives: lazily, so that a large container never stands in memory as a whole."""


class Refused(Exception):
    """Raised inside a decoder when nothing of the input can be used; the router turns it into a `Fault`."""

    def __init__(self, reason: Reason, detail: str = "", inner: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.inner = inner
