"""Licence texts by the SPDX matching guidelines: which licences a text *is*, how much of it, and what else it says.

Matching (case, white space, quotes, comment signs, copyright lines, optional and replaceable words; SPDX specification
2.3, annex B) is `licenseclassifier`'s port of google/licensecheck: word patterns made from the SPDX templates,
leftmost longest, without overlap. This file adds the decision: one licence, a choice, several at once, or NOASSERTION.
"""

from __future__ import annotations

import functools
import gzip
import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

from expedition.data.decode.code import header_licence

Evidence = Literal["tag", "text", "notice", "metadata", "readme", "none"]
NOASSERTION: Final = "NOASSERTION"
ADDED_TERMS: Final = "LicenseRef-additional-terms"

_MIN_COVERAGE: Final = 0.75
"""Share of a licence file's words that must belong to licence texts; licensecheck's own default."""
_MAX_NOTICE_WORDS: Final = 60
"""A licence file of more words than this states terms of its own: naming a licence does not make it that licence."""
_MAX_CHARACTERS: Final = 1 << 18

_WORD: Final = re.compile(r"[^\W_]+")
_CHOICE: Final = re.compile(
    r"\bdual[- ]?licen[sc]ed?\b|\beither (?:of|the|license)\b|\bat your (?:option|choice)\b|\byou may choose\b"
    r"|\bchoice of licen[sc]e|\balternatively\b|\bone of the following licen[sc]es\b",
    re.IGNORECASE,
)
_ADDED: Final = re.compile(
    r"commons clause|non-?commercial|commercial use (?:is )?(?:not|prohibited|forbidden)|not for commercial"
    r"|(?:additional|further) (?:restriction|condition|term)s?\b|may not (?:be )?(?:use|sell|sold|train)"
    r"|machine[- ]learning|train(?:ing)? (?:of )?(?:an? )?(?:ai|model)|shall not be used for|(?:academic|research) use only",
    re.IGNORECASE,
)
_COPYRIGHT_LINE: Final = re.compile(
    r"(?:copyright|\(c\)|©)[^\n]{0,120}|^.{0,20}all rights reserved[^\n]{0,60}", re.IGNORECASE | re.MULTILINE
)

# Sentences that only one licence's text or customary notice holds, in order: the first that fits names it.
_NOTICES: Final = tuple(
    (spdx, re.compile(pattern, re.IGNORECASE))
    for spdx, pattern in (
        ("AGPL-3.0", r"gnu affero general public license"),
        ("LGPL-3.0", r"gnu lesser general public license[\s\S]{0,200}version 3|lgpl[- ]?v?3"),
        ("LGPL-2.1", r"gnu (?:lesser|library) general public license|lgpl"),
        ("GPL-3.0", r"gnu general public license[\s\S]{0,200}version 3|gpl[- ]?v?3|either version 3 of the license"),
        ("GPL-2.0", r"gnu general public license|gpl[- ]?v?2|either version 2 of the license"),
        ("MPL-2.0", r"mozilla public license"),
        ("EPL-2.0", r"eclipse public license"),
        (
            "Apache-2.0",
            r"apache license,? ?(?:[\s#/*;-]{0,12})version 2|apache\.org/licenses/license-2\.0"
            r"|licensed under the apache license|apache[- ]2\.0",
        ),
        ("BSL-1.0", r"boost software license"),
        ("Unlicense", r"this is free and unencumbered software released into the public domain"),
        ("CC0-1.0", r"cc0 1\.0|creativecommons\.org/publicdomain/zero"),
        ("CC-BY-NC-4.0", r"creative ?commons[^\n]{0,60}non-?commercial|cc[- ]by[- ]nc"),
        ("CC-BY-SA-4.0", r"creative ?commons[^\n]{0,60}share-?alike|cc[- ]by[- ]sa"),
        ("CC-BY-4.0", r"creative ?commons attribution|cc[- ]by[- ]4"),
        ("BSD-3-Clause", r"redistribution and use in source and binary forms[\s\S]{0,1800}neither the names? of"),
        ("BSD-2-Clause", r"redistribution and use in source and binary forms"),
        (
            "ISC",
            r"permission to use, copy, modify, and/?(?:or)? distribute this software for any purpose with or without"
            r" fee"
            r"|\bisc license",
        ),
        (
            "MIT",
            r"permission is hereby granted, free of charge, to any person obtaining a copy|\bmit license"
            r"|licensed under (?:the )?mit\b",
        ),
        ("Zlib", r"this software is provided 'as-is', without any express or implied"),
        ("BSD-3-Clause", r"\bbsd 3-clause|bsd-style licen[sc]e|3-clause bsd|bsd licen[sc]e"),
        ("WTFPL", r"do what the fuck you want to public license"),
        (
            "LicenseRef-Public-Domain",
            r"(?:placed|released|dedicated|is) (?:in|into|to) the public domain|public domain\.",
        ),
        ("LicenseRef-Proprietary", r"all rights reserved\.[\s\S]{0,200}(?:proprietary|confidential)|proprietary and confidential"),
    )
)  # fmt: skip
_HINT: Final = re.compile(
    r"licen[sc]|permission|redistribut|public domain|free software|proprietary|gpl", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Region:
    """Characters [start, end) of a text that are the text, or the standard header, of one licence."""

    spdx: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LicenceMatch:
    """What a text was found to be.

    `spdx` is an id, an expression, or NOASSERTION; `score` the share (0 to 1) of the text's words, copyright lines
    left out, that belong to licence texts. Without assertion `nearest` is the frequent licence that the text comes
    closest to, and `score` the share of its word triples that this licence's text has too.
    """

    spdx: str
    score: float
    evidence: Evidence
    nearest: str | None = None
    regions: tuple[Region, ...] = ()
    choice: bool = False
    """Whether its own words offer a choice between licences."""
    added: bool = False
    """Whether words around its licences restrict them."""

    @property
    def asserted(self) -> bool:
        """Whether a licence was recognised."""
        return self.spdx != NOASSERTION


def match_licence_text(text: str) -> LicenceMatch:
    """What the text of a licence file is.

    A tag wins; then the licence texts that cover three quarters of the words: joined by OR where the words around
    them offer a choice, else by AND. Terms added around them (a Commons Clause, "non-commercial") make
    `… AND LicenseRef-additional-terms`. A short file may name its licence in a sentence. Anything else is NOASSERTION.
    Only the first 256 Ki characters are read.
    """
    text = text[:_MAX_CHARACTERS]
    tag = header_licence(text)
    if tag is not None:
        return LicenceMatch(tag, 1.0, "tag")
    regions = _regions(text)
    rest = _outside(text, regions)
    score = _covered(text, rest)
    choice = _CHOICE.search(rest) is not None
    if regions and score >= _MIN_COVERAGE:
        spdx = joined([region.spdx for region in regions], choice)
        if _ADDED.search(rest):
            spdx = f"({spdx}) AND {ADDED_TERMS}" if " OR " in spdx else f"{spdx} AND {ADDED_TERMS}"
        return LicenceMatch(spdx, score, "text", regions=regions, choice=choice)
    named = joined([region.spdx for region in regions], choice) if regions else _named(text)
    terms_added = _ADDED.search(rest) is not None and "-NC" not in (named or "")
    if named and not terms_added and len(_WORD.findall(text)) <= _MAX_NOTICE_WORDS:
        return LicenceMatch(named, score, "notice", choice=choice)
    if regions:
        largest = max(regions, key=lambda region: region.end - region.start)
        return LicenceMatch(NOASSERTION, score, "none", largest.spdx, regions, choice, _ADDED.search(rest) is not None)
    nearest, score = _nearest(text)
    return LicenceMatch(NOASSERTION, score, "none", nearest, choice=choice)


def match_header(text: str) -> LicenceMatch:
    """What the head of a source file declares: a tag, a whole licence text or standard header, or a customary notice.

    The code around a licence text does not count against it. `text` is the head of the file, some thousand characters.
    """
    tag = header_licence(text)
    if tag is not None:
        return LicenceMatch(tag, 1.0, "tag")
    # Comment signs at the beginnings of lines must not split a sentence.
    plain = re.sub(r"[ \t]*\n[ \t]{0,8}(?://+|#+|\*+|;+|--)?[ \t]*", " ", text)
    if _HINT.search(plain) is None:
        return LicenceMatch(NOASSERTION, 0.0, "none")
    regions = _regions(plain)
    if regions:
        rest = _outside(plain, regions)
        spdx = joined([region.spdx for region in regions], _CHOICE.search(rest) is not None)
        return LicenceMatch(spdx, _covered(plain, rest), "text", regions=regions)
    named = _named(plain)
    return LicenceMatch(named or NOASSERTION, 0.0, "notice" if named else "none")


def joined(ids: list[str], choice: bool) -> str:
    """Several licences as one expression, each once, in the order of the text.

    The GPL's text beside the LGPL of its version is part of the LGPL, which is written as an addition to it.
    """
    distinct = list(dict.fromkeys(ids))
    for lesser in [name for name in distinct if name.startswith("LGPL-3")]:
        distinct = [name for name in distinct if name != lesser.removeprefix("L").removesuffix("-or-later")]
    if len(distinct) == 1:
        return distinct[0]
    return (" OR " if choice else " AND ").join(f"({name})" if " " in name else name for name in distinct)


_FREQUENT_TEXT: Final = (
    "MIT MIT-0 Apache-2.0 Apache-1.1 BSD-1-Clause BSD-2-Clause BSD-3-Clause BSD-4-Clause 0BSD ISC Zlib Unlicense "
    "CC0-1.0 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-4.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0 GPL-2.0 GPL-3.0 "
    "LGPL-2.1 LGPL-3.0 AGPL-3.0 MPL-1.1 MPL-2.0 EPL-1.0 EPL-2.0 CDDL-1.0 EUPL-1.2 BSL-1.0 BUSL-1.1 Elastic-2.0 "
    "SSPL-1.0 WTFPL NCSA PostgreSQL Python-2.0 Artistic-2.0 OFL-1.1 MulanPSL-2.0 UPL-1.0 AFL-3.0 MS-PL ECL-2.0 "
    "PolyForm-Noncommercial-1.0.0 JSON BlueOak-1.0.0 Unicode-DFS-2016"
)
_FREQUENT: Final = frozenset(_FREQUENT_TEXT.split())


def _nearest(text: str) -> tuple[str | None, float]:
    """The frequent licence whose text shares most word triples with `text`, and their share of the text's."""
    triples = _triples(_COPYRIGHT_LINE.sub(" ", text))
    if not triples:
        return None, 0.0
    shares = {
        spdx: (len(triples & known) / len(triples), -len(known)) for spdx, known in sorted(_frequent_triples().items())
    }
    best = max(shares, key=lambda spdx: shares[spdx], default=None)
    return (None, 0.0) if best is None or not shares[best][0] else (best, shares[best][0])


@functools.cache
def _frequent_triples() -> dict[str, frozenset[tuple[str, ...]]]:
    """Word triples of the frequent licences' patterns; empty where the package keeps them elsewhere."""
    try:
        packed = resources.files("licenseclassifier").joinpath("_engine/licenses.json.gz").read_bytes()
        entries = json.loads(gzip.decompress(packed))
    except (OSError, ValueError):
        return {}
    found: dict[str, frozenset[tuple[str, ...]]] = {}
    for entry in entries:
        if entry["id"] in _FREQUENT and entry.get("lre"):
            # `//** … **//` is a comment of the pattern, `__7__` stands for any seven words.
            plain = re.sub(r"//\*\*[\s\S]*?\*\*//|__\d+__", " ", entry["lre"])
            found[entry["id"]] = found.get(entry["id"], frozenset()) | _triples(plain)
    return found


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    words = [word.lower() for word in _WORD.findall(text)]
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _regions(text: str) -> tuple[Region, ...]:
    from licenseclassifier import identify_license

    return tuple(Region(found.id, found.start, found.end) for found in identify_license(text, 0.0))


def _outside(text: str, regions: tuple[Region, ...]) -> str:
    """The words that belong to no licence text, copyright lines left out."""
    parts: list[str] = []
    at = 0
    for region in regions:
        parts.append(text[at : region.start])
        at = max(at, region.end)
    return _COPYRIGHT_LINE.sub(" ", "\n".join([*parts, text[at:]]))


def _covered(text: str, rest: str) -> float:
    whole = len(_WORD.findall(_COPYRIGHT_LINE.sub(" ", text)))
    return max(0.0, 1.0 - len(_WORD.findall(rest)) / whole) if whole else 0.0


def _named(text: str) -> str | None:
    return next((spdx for spdx, pattern in _NOTICES if pattern.search(text)), None)
