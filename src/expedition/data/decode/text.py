"""Plain text to documents: decoded, cleaned, split where it is longer than one document may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from expedition.data.decode.charset import readable_text
from expedition.data.decode.clean import tidy
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits


def text_pieces(data: bytes, limits: Limits, *, inner: str = "", charset: str | None = None) -> Iterator[Piece]:
    """Documents of a plain text. Raises Refused(ENCODING), Refused(NO_TEXT)."""
    text, repairs = readable_text(data, charset)
    yield from split_text(tidy(text), limits, inner=inner, repairs=repairs)


def split_text(
    text: str,
    limits: Limits,
    *,
    inner: str = "",
    repairs: tuple[Repair, ...] = (),
    meta: dict[str, Any] | None = None,
) -> Iterator[Piece]:
    """`text` as documents of at most `limits.text_characters`, cut at empty lines where there are any.

    Parts carry `part` and `parts` in their meta. Raises Refused(NO_TEXT) where the text is empty.
    """
    if not text.strip():
        raise Refused(Reason.NO_TEXT)
    parts = list(_parts(text, limits.text_characters))
    for number, part in enumerate(parts):
        numbered = {} if len(parts) == 1 else {"part": number, "parts": len(parts)}
        place = inner if len(parts) == 1 else f"{inner}#{number}"
        yield Piece(part, inner=place, meta={**(meta or {}), **numbered}, repairs=repairs if number == 0 else ())


def _parts(text: str, limit: int) -> Iterator[str]:
    start = 0
    while len(text) - start > limit:
        end = start + limit
        for mark in ("\n\n", "\n", " "):
            found = text.rfind(mark, start + limit // 2, end)
            if found > 0:
                end = found + len(mark)
                break
        yield text[start:end].strip()
        start = end
    yield text[start:].strip()
