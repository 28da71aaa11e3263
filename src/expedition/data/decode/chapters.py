"""Where the chapters of a book begin, and its table of contents, which says the same twice."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBER = (
    r"(?:[IVXLCDM]{1,8}|[ivxlcdm]{1,8}|\d{1,4}|(?:the )?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last)"
    r"|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen"
    r"|nineteen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:[- ](?:one|two|three|four|five|six|seven|eight|nine))?))"
)
_LABEL = (
    r"(?:chapter|book|part|canto|act|scene|section|letter|stave|volume|kapitel|buch|teil|chapitre|livre|partie|cap[ií]tulo"
    r"|capitolo|libro|parte|глава|часть|книга)"
)
_CHINESE = r"[一二三四五六七八九十百千零〇两兩0-9０-９]{1,7}"
# A number, then an end or a mark: "Part of the ship …" and "Book two rooms for us" are sentences.
_LABELLED = re.compile(
    rf"(?i:{_LABEL}\s+{_NUMBER})(?:\s*[.:\u2014\u2013-]|\s*$|\s{{2,}}|\s+(?=[A-Z\u0410-\u042f\"\u201c]))"
)
_HEADINGS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"第{_CHINESE}[章回节節卷篇部集折出幕](?:$|[\s:：·、].{{0,40}}$)",
        rf"卷(?:之)?{_CHINESE}(?:$|\s.{{0,30}}$)",
        r"[《〈].{1,40}[》〉](?:\s{1,4}\S{1,12})?$",
        r"(?:序|序言|自序|前言|引子|楔子|后记|後記|跋|尾声|尾聲|附录|附錄)$",
        r"(?i:preface|foreword|introduction|prologue|epilogue|afterword|appendix(?: [A-Z\d]{1,3})?|conclusion)[.:]?$",
        r"[IVXLC]{1,7}\.(?:\s+[A-Z\u00c0-\u00de][A-Z\u00c0-\u00de '\u2019,.;&-]{2,70})?$",
    )
)
_CONTENTS = re.compile(
    r"^[ \t#*]*(?:(?:table of )?contents|inhalt(?:sverzeichnis)?|table des mati[eè]res|[ií]ndice|indice|sommario|содержание"
    r"|оглавление|目[ \u3000]*[录錄次])[.: \t*]*$",
    re.IGNORECASE | re.MULTILINE,
)
_LEADER = re.compile(r"(?:[ \t]*[.\u2026\u00b7_ ]{3,}|\t+|\s{3,})[ \t]*(?:\d{1,4}|[ivxlc]{1,7})[ \t]*$")
_CONTENTS_WITHIN = 60_000
_MOST_ENTRIES = 400
MOST_CHAPTERS = 500
_TITLE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Chapter:
    """A heading and the offset, in characters of the text, at which it begins."""

    title: str
    start: int


def chapters_of(text: str) -> list[Chapter]:
    """Headings of a plain text: a short line of a known form after an empty line; at least two, else none."""
    found: list[Chapter] = []
    at, after_empty = 0, True
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped and after_empty and len(stripped) <= _TITLE_CHARACTERS and is_heading(stripped):
            found.append(Chapter(" ".join(stripped.split()), at))
        after_empty = not stripped
        at += len(line) + 1
    return found if len(found) > 1 else []


def is_heading(line: str) -> bool:
    """Whether a line has the form of a chapter's heading."""
    return _LABELLED.match(line) is not None or any(pattern.match(line) for pattern in _HEADINGS)


def located(titles: Iterable[str], text: str) -> list[Chapter]:
    """Known headings, in order, where they stand in a text as lines of their own; those that do not stand there are left out."""
    places: dict[str, list[int]] = {}
    at = 0
    for line in text.split("\n"):
        if len(line) <= 2 * _TITLE_CHARACTERS and (key := line.strip(" \t#*")):
            places.setdefault(key, []).append(at)
        at += len(line) + 1
    found: list[Chapter] = []
    after = -1
    for title in titles:
        starts = places.get(title.strip(" \t#*"), [])
        place = bisect_right(starts, after)
        if place < len(starts):
            after = starts[place]
            found.append(Chapter(title[:_TITLE_CHARACTERS], after))
    return found


def within(chapters: Sequence[Chapter], start: int, end: int) -> list[dict[str, str | int]]:
    """The chapters that begin in [start, end) of the whole, as records with offsets from `start`; at most 500."""
    inside = [chapter for chapter in chapters if start <= chapter.start < end]
    return [{"title": chapter.title, "start": chapter.start - start} for chapter in inside[:MOST_CHAPTERS]]


def without_contents(text: str) -> tuple[str, int]:
    """A text without its table of contents, and the number of its entries (0 where none was found).

    A table is a heading such as "Contents" and at least three lines of which two thirds end in page numbers, or stand in the
    text again as lines. It ends where the first of its entries stands again, else with the last line that is an entry.
    """
    heading = _CONTENTS.search(text, 0, _CONTENTS_WITHIN)
    if heading is None:
        return text, 0
    lines: list[tuple[str, int, int]] = []
    at = heading.end() + 1
    while at < len(text) and len(lines) < _MOST_ENTRIES:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        key = _key(text[at:end])
        if key and (len(key) > _TITLE_CHARACTERS or (lines and key == lines[0][0])):
            break
        if key:
            lines.append((key, at, end))
        at = end + 1
    rest = {_key(line) for line in text[at:].split("\n") if len(line) <= 2 * _TITLE_CHARACTERS}
    again = [
        key in rest or _label(key) in rest or _LEADER.search(text[start:end]) is not None for key, start, end in lines
    ]
    while again and not again[-1]:
        again.pop()
    if len(again) < 3 or 3 * sum(again) < 2 * len(again):
        return text, 0
    return f"{text[: heading.start()].rstrip()}\n\n{text[lines[len(again) - 1][2] :].lstrip()}", len(again)


def _key(line: str) -> str:
    """A heading as it is compared: no bullets, page numbers, case."""
    return " ".join(re.sub(r"^[ \t]*[-*\u2022][ \t]+", "", _LEADER.sub("", line)).split()).lower()


def _label(key: str) -> str:
    """ "chapter iv" of "chapter iv. the rabbit"; a body may have the title on a line of its own."""
    match = _LABELLED.match(key)
    return match.group().rstrip(" .:\u2014\u2013-") if match else key
