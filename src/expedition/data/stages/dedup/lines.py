"""Lines and paragraphs that repeat over documents: which they are, and a document without them. Pure.

Lines that stand in many documents of one site are removed from all of them; paragraphs that stand in several
documents of any site stay in one.

It runs over all documents that are left after copies of whole documents are gone, since the lines of a copy repeat for
another reason. A line is compared without case and digits. It is its site's template if it stands in at least
`min_documents` documents of the host and in at least `min_share` of them; long lines are removed wherever they stand,
short ones at the beginning or end of a document or beside a removed line. A paragraph is a line of 200 characters, 80 in
scripts without spaces; one that stands in `min_documents` documents stays in the one whose hashed id is smallest. The
counts come from one exchange (hosts share a partition), so memory is bounded whatever the corpus.

Reasons:
    template lines of the site: lines removed (a change; no document is dropped)
    paragraphs of other documents: paragraphs removed (a change)
    left alone: nothing would have been left of the document (counted)

Thresholds:
    min_documents, 4 documents: own choice; headings that two or three articles share are left
    min_share, 0.1 of a host's documents: large sites repeat quotations in a few of thousands
    long line, 30 characters (12 in scripts without spaces): FineWeb 3.6 calls shorter ones short
    paragraph, 200 characters: mC4 (Xue et al. 2021, section 3.1)

Keeps: rows of tables, lines of code and lines with an insert are never removed; documents without a URL are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import xxhash

from expedition.data.stages.dedup import line_scan
from expedition.data.stages.text.characters import character_table, code_points, lower_table

STAGE: Final = "site_lines"
LINES, PARAGRAPHS = "template lines of the site", "paragraphs of other documents"
ANY_SITE: Final = 0
"""In place of a host: paragraphs are compared over all documents."""
_KEYWORD: Final = re.compile(r"(?:import|from|def|class|return|include|const|let|var|else|end|try|using|package)\b")
"""What a line of code begins with. Such lines, and those with the signs of `line_scan.CODE`, repeat in sound documents and
are never removed."""
_LONG_CHARACTERS, _LONG_UNSPACED = 30, 12
"""A line from which on it is removed wherever it stands."""
PARAGRAPH_CHARACTERS, _PARAGRAPH_UNSPACED = 200, 80
_LEAST_CHARACTERS = 2
_WIDE: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
Numbers = npt.NDArray[np.int64]
Repeated = Callable[[Numbers, Numbers], npt.NDArray[np.bool_]]
"""`repeated(sites, keys)`: which of these lines stand in enough documents."""


def site_of(url: str | None) -> int | None:
    """The host of a URL, as a number, without `www.`; None for none."""
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return None if not host else _hash("host", host.removeprefix("www.")) or 1


def line_keys(text: str, site: int) -> tuple[Numbers, Numbers]:
    """Site and key of each different line of a document that may be removed; paragraphs under `ANY_SITE`."""
    _, sites, keys = _keyed(text.split("\n"), text, site)
    _, first = np.unique(keys, return_index=True)
    return sites[first], keys[first]


@dataclass(frozen=True, slots=True)
class Stripped:
    """A document's text without template lines."""

    text: str
    lines: int
    paragraphs: int
    characters: int
    """That were removed."""


def strip_lines(text: str, site: int, repeated: Repeated) -> Stripped:
    """Remove the lines for which `repeated` holds. Linear; idempotent if `repeated` is constant."""
    lines = text.split("\n")
    places, sites, keys = _keyed(lines, text, site)
    found = repeated(sites, keys)
    if not found.any():
        return Stripped(text, 0, 0, 0)
    template = [False] * len(lines)
    for place in places[found].tolist():
        template[place] = True
    gone = [mark and _is_long(line) for mark, line in zip(template, lines, strict=True)]
    for order in (range(len(lines)), range(len(lines) - 1, -1, -1)):
        beside = True
        for number in order:
            if not lines[number].strip():
                continue
            gone[number] = gone[number] or (beside and template[number])
            beside = gone[number]
    if not any(gone):
        return Stripped(text, 0, 0, 0)
    kept = [line for line, out in zip(lines, gone, strict=True) if not out]
    paragraphs = sum(gone[place] for place in places[sites == ANY_SITE].tolist())
    left = "\n".join(kept).strip("\n")
    return Stripped(
        left, sum(gone) - paragraphs, paragraphs, sum(len(line) for line, out in zip(lines, gone, strict=True) if out)
    )


def document_number(name: str) -> int:
    """A document's id as a number; of equal paragraphs the one in the document with the smallest stays."""
    return _hash("document", name)


def _keyed(lines: list[str], text: str, site: int) -> tuple[Numbers, Numbers, Numbers]:
    """Place, site and key (63 bits) of each line that may be removed."""
    codes = code_points(text)
    found = np.empty((3, len(lines)), np.int64)
    line_scan.scan_lines(codes, len(codes), character_table(), lower_table(), found)
    number, size, signs = found
    removable = (size >= _LEAST_CHARACTERS) & (signs & (line_scan.CODE | line_scan.INSERT) == 0)
    for place in np.flatnonzero(removable & (signs & line_scan.WORD_FIRST != 0)).tolist():
        removable[place] = _KEYWORD.match(lines[place]) is None
    places = np.flatnonzero(removable)
    wide = signs[places] & line_scan.WIDE != 0
    long = size[places] >= np.where(wide, _PARAGRAPH_UNSPACED, PARAGRAPH_CHARACTERS)
    sites = np.where(long, ANY_SITE, site)
    keys = number[places].astype(np.uint64) + sites.astype(np.uint64) * _FACTOR
    keys = (keys ^ (keys >> np.uint64(32))) * _FACTOR
    return places, sites, ((keys ^ (keys >> np.uint64(29))) >> np.uint64(1)).astype(np.int64)


def _is_long(line: str) -> bool:
    bare = line.strip()
    return len(bare) >= (_LONG_UNSPACED if _WIDE.search(bare) else _LONG_CHARACTERS)


def _hash(kind: str, text: str) -> int:
    """A number of 63 bits."""
    return xxhash.xxh3_64_intdigest(f"{kind}\0{text}".encode("utf-8", "surrogatepass")) >> 1
