"""A text as a reader sees it: what hides personal data from a pattern is taken away, and every offset is kept.

Full-width letters and digits become ASCII, zero-width characters and inline tags vanish, character references of one
character become that character. A text that holds none of these is its own view, at no cost.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

_TAGS: Final = "a|abbr|b|big|bdi|bdo|code|em|font|i|ins|mark|nobr|s|samp|small|span|strong|sub|sup|tt|u|wbr"
_UNSEEN: Final = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
_OTHER: Final = (
    "\uff08\uff09\uff0b\uff0d\uff0e\uff10-\uff19\uff20-\uff3a\uff3f\uff41-\uff5a"
    "\u00a0\u2002-\u200a\u202f\u205f\u2010-\u2015\u2212"
    "\U0001d7ce-\U0001d7ff"
)
# A plain set of characters stands first: a search for such a set is cheap.
_HIDING: Final = re.compile(
    f"[<&{_UNSEEN}{_OTHER}](?:(?<=<)(?:/?(?i:{_TAGS})(?:\\s[^<>]{{0,200}})?/?>|!--[^<>]{{0,200}}?-->)"
    "|(?<=&)(?:#\\d{2,6}|#[xX][0-9a-fA-F]{2,5}|commat|period|nbsp|ensp|emsp|thinsp|zwj|zwnj|shy|lowbar|hyphen|plus|colon);"
    f"|(?<=[{_UNSEEN}])[{_UNSEEN}]*|(?<=[{_OTHER}]))"
)


@dataclass(frozen=True, slots=True)
class View:
    """`text` and where it came from: view position `marks[i]` and after stands `shifts[i]` further left than it was."""

    text: str
    marks: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that text[start:end] was seen in; start < end."""
        if not self.marks:
            return start, end
        return self._start(start), self._end(end - 1)

    def _start(self, position: int) -> int:
        index = bisect_right(self.marks, position) - 1
        return self.starts[index] + position - self.marks[index]

    def _end(self, position: int) -> int:
        """End of the original of one view character."""
        index = bisect_right(self.marks, position) - 1
        offset = position - self.marks[index]
        # A character that stands for several (a reference) is one run of its own.
        single = index + 1 < len(self.marks) and self.marks[index + 1] - self.marks[index] == 1
        return self.ends[index] if single else self.starts[index] + offset + 1


def view_of(text: str) -> View:
    """The view of a text. Linear in its length."""
    if text.isascii() and "<" not in text and "&" not in text:
        return View(text)
    match = _HIDING.search(text)
    if match is None:
        return View(text)
    parts: list[str] = []
    marks, starts, ends = [0], [0], [1]
    length = position = 0
    while match is not None:
        piece = text[position : match.start()]
        seen = _seen(match.group())
        if piece:
            parts.append(piece)
            length += len(piece)
        if seen:
            _run(marks, starts, ends, (length, match.start(), match.end()))
            parts.append(seen)
            length += 1
        position = match.end()
        _run(marks, starts, ends, (length, position, position + 1))
        match = _HIDING.search(text, position)
    parts.append(text[position:])
    return View("".join(parts), tuple(marks), tuple(starts), tuple(ends))


def _run(marks: list[int], starts: list[int], ends: list[int], run: tuple[int, int, int]) -> None:
    """Begin a run of view characters; one that would begin where the last did takes its place."""
    mark, start, end = run
    if marks[-1] == mark:
        starts[-1], ends[-1] = start, end
    else:
        marks.append(mark)
        starts.append(start)
        ends.append(end)


def _seen(hiding: str) -> str:
    """The one character that is seen, or nothing."""
    first = hiding[0]
    if first == "<":
        return ""
    if first == "&":
        seen = html.unescape(hiding)
        return (" " if seen.isspace() else seen) if (len(seen) == 1 and seen.isprintable()) or seen.isspace() else ""
    if first in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212":
        return "-"
    if first.isspace():
        return " "
    if unicodedata.category(first) in ("Cf", "Mn"):
        return ""
    seen = unicodedata.normalize("NFKC", first)
    return seen if len(seen) == 1 and seen.isascii() else first
