"""Printed pages back to running text: running heads, page numbers, lines of a fixed width, words that were divided."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from expedition.data.decode.chapters import is_heading

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_DIVIDED = re.compile(r"([^\W\d_]+)(?:-|\u00ad|\u2010)[ \t]*\n[ \t]*([^\W\d_]+)([,.;:!?)\"\u201d\u2019]*)[ \t]?")
_PAGE_MARK = re.compile(r"\[(?:Pg|Page|p)\.? ?[\divxlc]{1,6}\][ \t]?|\{(?:Pg |p\. ?)?\d{1,4}\}[ \t]?", re.IGNORECASE)
_PAGE_NUMBER = re.compile(
    r"(?:page|seite|p\.|第)?\s*[-\u2013\u2014|\[(]?\s*(?:\d{1,4}|[ivxlc]{1,7})\s*[-\u2013\u2014|\])]?\s*(?:页|頁)?",
    re.IGNORECASE,
)


def without_running_lines(pages: Sequence[str]) -> list[str]:
    """Pages without the first or last lines that recur (numbers ignored) on more than a third of the pages, and without
    page numbers alone on such a line."""
    split = [[line for line in page.split("\n") if line.strip()] for page in pages]
    edges = Counter(key for lines in split for key in {_running(line) for line in (*lines[:2], *lines[-2:])})
    common = {key for key, count in edges.items() if count > max(2, len(pages) / 3)}
    numbered = sum(
        bool(lines) and any(_PAGE_NUMBER.fullmatch(line.strip()) for line in (lines[0], lines[-1])) for lines in split
    )
    kept = []
    for lines in split:
        size = len(lines)
        drop = {i for i in range(size) if (i < 2 or i >= size - 2) and _running(lines[i]) in common}
        if numbered > max(2, len(pages) / 3):
            drop |= {i for i in (0, size - 1) if size and _PAGE_NUMBER.fullmatch(lines[i].strip())}
        kept.append("\n".join(line for i, line in enumerate(lines) if i not in drop))
    return kept


def reflowed(pages: Sequence[str]) -> str:
    """Lines joined to paragraphs: a line goes on where the one before is nearly full and does not end a sentence; a heading
    begins a paragraph, and takes a short line below it along."""
    lines = [line.strip() for page in pages for line in page.split("\n") if line.strip()]
    lengths = sorted(map(len, lines))
    full = 0.75 * lengths[int(len(lengths) * 0.7)] if lengths else 0
    known = vocabulary("\n".join(lines))
    paragraphs: list[list[str]] = []
    before, headed = "", False
    for number, line in enumerate(lines):
        ends = before.endswith((".", "!", "?", "\u201d", '"', ":", "\u3002")) and len(before) < 1.1 * full
        heads = len(line) < full and is_heading(line)
        if headed and not heads and _goes_on(line, lines[number + 1 : number + 2], full):
            paragraphs[-1].append(line)
            headed = False
            before = ""
            continue
        if before and len(before) >= full and not ends and not heads:
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
        before, headed = line, heads
    return "\n\n".join(_joined(paragraph, known) for paragraph in paragraphs)


def _goes_on(line: str, after: Sequence[str], full: float) -> bool:
    """Whether a line below a heading is the rest of it: short, no sentence, and a full line follows."""
    plain = not line.endswith((".", "!", "?", "\u3002")) and not line.startswith(
        ("'", '"', "\u2018", "\u201c", "\u300c")
    )
    return plain and len(line) < 0.6 * full and bool(after) and len(after[0]) >= full


def undivided(text: str) -> str:
    """A hard-wrapped text with the words whole that were divided at line ends; they end the line that they began on.

    Soft hyphens and page marks ([Pg 12]) go. A hyphen stays unless the text has the word without it elsewhere.
    """
    text = _PAGE_MARK.sub("", text)
    if "-\n" in text or "\u00ad" in text or "\u2010\n" in text:
        known = vocabulary(text)

        def whole(match: re.Match[str]) -> str:
            first, then, marks = match.groups()
            soft = match.group()[len(first)] == "\u00ad"
            return f"{first}{then}{marks}\n" if soft or known[f"{first}{then}".lower()] else match.group()

        text = _DIVIDED.sub(whole, text).replace("\u00ad", "")
    return text


def vocabulary(text: str) -> Counter[str]:
    """Words of a text in lower case with their counts, hyphenated ones whole; what a line end divides is not counted."""
    return Counter(
        word.lower() for word in _WORD.findall(re.sub(r"[^\W\d_]+[-\u00ad\u2010]\s*\n\s*[^\W\d_]+", " ", text))
    )


def hyphen_stays(first: str, then: str, known: Counter[str]) -> bool:
    """Whether a word that a line end divides is written with a hyphen: as the rest of the text writes it, else where both
    parts are words of their own."""
    whole, apart = known[f"{first}{then}".lower()], known[f"{first}-{then}".lower()]
    if whole or apart:
        return apart > whole
    return known[first.lower()] > 1 and known[then.lower()] > 1


def _running(line: str) -> str:
    return re.sub(r"\d+|\b[ivxlc]{1,7}\b", "#", " ".join(line.split())).lower()


def _joined(lines: Sequence[str], known: Counter[str]) -> str:
    """One paragraph from its lines."""
    text = lines[0]
    for line in lines[1:]:
        before, after = re.search(r"([^\W\d_]+)[-\u00ad\u2010]$", text[-60:]), re.match(r"[^\W\d_]+", line)
        if before and after and (line[:1].islower() or text[-1:] == "\u00ad"):
            stays = text[-1:] != "\u00ad" and hyphen_stays(before.group(1), after.group(), known)
            text = text + line if stays else text[:-1] + line
        else:
            wide = text[-1:] > "\u2e80" and line[:1] > "\u2e80"
            text = text + line if wide else f"{text} {line}"
    return text
