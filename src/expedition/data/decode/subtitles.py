"""SubRip and WebVTT to cues: broken times are dropped and counted, order is restored, markup is removed.

A cue's words are data, never markup: tags go, scripts and styles go with what they hold, entities are resolved once and
what comes out of them is stripped again. Nothing here takes more than linear time.
"""

from __future__ import annotations

import html
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from expedition.data.decode.charset import readable_text
from expedition.data.decode.clean import clean
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_ARROW = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_TIMELIKE = re.compile(r"^\s*[\d:.,]{5,14}\s*-{1,3}>?\s*[\d:.,]{5,14}\s*$|-->")
_ESCAPED_ARROW = re.compile(r"--&gt;")
_MARKUP = re.compile(r"<(?:[A-Za-z/!?]|\d\d:)[^<>]*>|\{\\[^{}]*\}")
_HOLDS_CODE = re.compile(r"<(script|style|iframe|object|svg|template)\b", re.IGNORECASE)
_KNOWN_TAG = re.compile(
    r"</?(?:script|style|iframe|object|embed|svg|img|link|meta|template|b|i|u|s|em|strong|font|span|div|p|br|a|v|c|lang|"
    r"ruby|rt)\b[^<>]*>",
    re.IGNORECASE,
)
_CUE_CHARACTERS = 2_000
_PASSES = 4
_BLOCKS = re.compile(r"\n[ \t]*\n+")
_SKIPPED = ("WEBVTT", "NOTE", "STYLE", "REGION", "X-TIMESTAMP-MAP")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; times in seconds from the clip's start."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Track:
    """The usable cues of a file in order of time, and how many were dropped, by cause."""

    cues: tuple[Cue, ...]
    dropped: dict[str, int]
    repairs: tuple[Repair, ...] = ()


def read_track(data: bytes, limit: int = Limits().cues) -> Track:
    """Cues of an SRT or WebVTT file, at most `limit`. Raises Refused(ENCODING).

    A cue is dropped when its time line is broken, when minutes or seconds pass 59, when it ends before it starts,
    when it has no text or more than 2,000 characters, or when it repeats another.
    """
    text, repairs = readable_text(data)
    text = _ESCAPED_ARROW.sub("-->", text)
    cues: list[Cue] = []
    dropped: Counter[str] = Counter()
    blocks = _BLOCKS.split(text.strip(), maxsplit=limit)
    if len(blocks) > limit:
        del blocks[limit:]
        repairs += (Repair(Reason.CUT, 1, f"more than {limit} cues"),)
    for block in blocks:
        lines = [line for line in block.split("\n") if line.strip()]
        if not lines or (lines[0].lstrip().startswith(_SKIPPED) and not any("-->" in line for line in lines)):
            continue
        at = next((index for index, line in enumerate(lines[:3]) if _TIMELIKE.search(line)), None)
        if at is None:
            dropped["no time"] += 1
            continue
        found = _cue(lines[at], lines[at + 1 :])
        if isinstance(found, Cue):
            cues.append(found)
        else:
            dropped[found] += 1
    ordered = sorted(cues, key=lambda cue: (cue.start_s, cue.end_s))
    late = sum(after.start_s < before.start_s for before, after in itertools.pairwise(cues))
    if late:
        repairs += (Repair(Reason.REORDERED, late, "cues begin before the one above them"),)
    once = tuple(dict.fromkeys(ordered))
    if len(once) < len(ordered):
        dropped["repeated"] += len(ordered) - len(once)
    if dropped:
        detail = ", ".join(f"{count} {cause}" for cause, count in sorted(dropped.items()))
        repairs += (Repair(Reason.BAD_CUES, sum(dropped.values()), detail),)
    return Track(once, dict(dropped), repairs)


def cue_text(cues: Sequence[Cue]) -> str:
    """The cues' texts, one a line; a line that repeats the one before it (rolling captions) is left out."""
    lines: list[str] = []
    for cue in cues:
        for line in cue.text.split("\n"):
            if not lines or line != lines[-1]:
                lines.append(line)
    return "\n".join(lines)


def cue_rows(cues: Sequence[Cue]) -> list[list[Any]]:
    """Cues as JSON rows [start_s, end_s, text]."""
    return [[round(cue.start_s, 3), round(cue.end_s, 3), cue.text] for cue in cues]


def track_piece(data: bytes, inner: str = "") -> Piece:
    """Subtitles without their clip, as text. Raises Refused(NO_TEXT) where no cue is usable."""
    track = read_track(data)
    if not track.cues:
        raise Refused(Reason.NO_TEXT, f"no usable cue, {sum(track.dropped.values())} dropped")
    repairs = (*track.repairs, Repair(Reason.MISSING_MEDIA, 1, "subtitles without a clip: text only"))
    meta = {"cues": cue_rows(track.cues)}
    return Piece(cue_text(track.cues), inner=inner, kind="video-text", meta=meta, repairs=repairs)


def _cue(times: str, lines: list[str]) -> Cue | str:
    found = _ARROW.match(times)
    if found is None:
        return "broken time"
    groups = found.groups()
    start, end = _seconds(groups[:4]), _seconds(groups[4:])
    if start is None or end is None:
        return "impossible time"
    if end <= start:
        return "ends before it starts"
    text = plain_words("\n".join(lines))
    if len(text) > _CUE_CHARACTERS:
        return "too many words"
    return Cue(start, end, text) if text else "no words"


def plain_words(text: str) -> str:
    """Words of a cue as lines without markup, code, control characters and placeholders."""
    # Characters that are taken out go first: between two letters they would hide a tag from every later rule.
    bare = html.unescape(_MARKUP.sub("", _without_code(clean(text)[0])))
    lines = (" ".join(line.split()) for line in _without_tags(clean(bare)[0]).split("\n"))
    return "\n".join(line for line in lines if line)


def _without_tags(text: str) -> str:
    """The text without code and known tags, nor what taking one out puts together; brackets go where that never ends."""
    for _ in range(_PASSES):
        bare = _KNOWN_TAG.sub("", _without_code(text))
        if bare == text:
            return text
        text = bare
    return text.replace("<", "")


def _without_code(text: str) -> str:
    """The text without elements that hold code, and without all after one that is not closed."""
    kept, at = [], 0
    while (found := _HOLDS_CODE.search(text, at)) is not None:
        kept.append(text[at : found.start()])
        closed = _ends(found[1]).search(text, found.end())
        if closed is None:
            return "".join(kept)
        at = closed.end()
    return "".join([*kept, text[at:]])


def _seconds(parts: Sequence[str | None]) -> float | None:
    hours, minutes, seconds, fraction = (int(part or 0) for part in parts)
    if minutes > 59 or seconds > 59:
        return None
    return hours * 3600.0 + minutes * 60.0 + seconds + fraction / float(10 ** len(parts[3] or "000"))


@lru_cache(maxsize=64)
def _ends(element: str) -> re.Pattern[str]:
    return re.compile(rf"</{element}[^<>]*>", re.IGNORECASE)
