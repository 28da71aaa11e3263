"""Where a text that is longer than a sequence is cut: after a sentence, in code after a line.

Ends are found in the bytes that the tokens stand for, so that an end is seen whether it is a token, a part of one or
(in a small vocabulary) several; a cut falls between two tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FINAL_PART = 8
"""A cut is looked for in the last 1/8 of a sequence: what is left open is filled with shorter documents."""
_TRIED_TOKENS = (64, 512)

_WIDE = "。！？．｡؟۔।॥።។։…"
_CLOSING = "”’」』）》»"


def _one_of(characters: str) -> bytes:
    return b"(?:" + b"|".join(re.escape(character.encode()) for character in characters) + b")"


_SENTENCE = re.compile(
    rb"[.!?]+(?:[\"')\]]|" + _one_of(_CLOSING) + rb")*(?=\s)|" + _one_of(_WIDE) + rb"+" + _one_of(_CLOSING) + rb"*|\n+"
)
_LINE = re.compile(rb"\n+")
_WORD = re.compile(rb"\S(?=\s)")


@dataclass(frozen=True, slots=True)
class Cut:
    """`end`: first token after the cut. `at_end`: it is the end of a sentence or line."""

    end: int
    at_end: bool


class TextCuts:
    """Cuts of token sequences. `token_bytes[id]` are the bytes of a token; ids beyond it are special and have none."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes

    def cut(self, tokens: npt.NDArray[np.int32], capacity: int, *, by_line: bool) -> list[Cut]:
        """Ends of the parts of `tokens`, each at most `capacity` long; the last is the end of the text. Pure."""
        cuts: list[Cut] = []
        start = 0
        while len(tokens) - start > capacity:
            found = self.last_end(tokens, start, start + capacity, max(1, capacity // FINAL_PART), by_line=by_line)
            cuts.append(found)
            start = found.end
        return [*cuts, Cut(len(tokens), True)]

    def last_end(self, tokens: npt.NDArray[np.int32], start: int, limit: int, room: int, *, by_line: bool) -> Cut:
        """The last place in limit - room..limit where a text that began at `start` may be cut: after a sentence, else
        after a word, else at `limit` (or just before, so that no character is split). Pure."""
        pattern = _LINE if by_line else _SENTENCE
        for tried in (*(size for size in _TRIED_TOKENS if size < room), room):
            end = self._last_match(pattern, tokens, limit - tried, limit)
            if end is not None:
                return Cut(end, True)
        word = self._last_match(_WORD, tokens, limit - min(room, _TRIED_TOKENS[0]), limit)
        return Cut(self._character_end(tokens, start, limit) if word is None else word, False)

    def _last_match(
        self, pattern: re.Pattern[bytes], tokens: npt.NDArray[np.int32], low: int, limit: int
    ) -> int | None:
        """Last token number in low+1..limit before which a match ends exactly."""
        words = self._bytes(tokens[low : limit + 1])
        ends = np.cumsum([len(word) for word in words[: limit - low]])
        place = None
        for match in pattern.finditer(b"".join(words)):
            at = int(ends.searchsorted(match.end(), "right"))
            if at and int(ends[at - 1]) == match.end():
                place = at
        return None if place is None else low + place

    def _character_end(self, tokens: npt.NDArray[np.int32], start: int, limit: int) -> int:
        """The last place at or before `limit` that splits no UTF-8 character; `limit` if there is none near."""
        for end in range(limit, max(start + 1, limit - 4), -1):
            following = self._bytes(tokens[end : end + 1])
            if not following or not following[0] or following[0][0] & 0xC0 != 0x80:
                return end
        return limit

    def _bytes(self, tokens: npt.NDArray[np.int32]) -> list[bytes]:
        known = len(self._token_bytes)
        return [self._token_bytes[token] if token < known else b"" for token in tokens.tolist()]
