"""Licences: SPDX ids, their class, and how a text names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

LicenceClass = Literal["permissive", "copyleft", "restricted", "unknown"]

_PERMISSIVE_TEXT: Final = (
    "MIT MIT-0 X11 Apache-2.0 Apache-1.1 BSD-2-Clause BSD-3-Clause BSD-1-Clause BSD-4-Clause 0BSD ISC Zlib "
    "Unlicense CC0-1.0 CC-BY-4.0 CC-BY-3.0 CC-BY-2.0 BSL-1.0 Python-2.0 PSF-2.0 WTFPL NCSA PostgreSQL "
    "UPL-1.0 AFL-3.0 MulanPSL-2.0 JSON Ruby PHP-3.01 Artistic-2.0 BlueOak-1.0.0 curl OpenSSL libpng-2.0 "
    "Unicode-3.0 Unicode-DFS-2016 HPND ICU Public-Domain ECL-2.0 MS-PL"
)
_PERMISSIVE: Final = frozenset(_PERMISSIVE_TEXT.split())
_COPYLEFT: Final = re.compile(
    r"^(?:A?GPL|LGPL|MPL|EPL|CDDL|EUPL|OSL|CC-BY-SA|CPL|CECILL|SSPL|GFDL|ODbL|MS-RL|Sleepycat)\b", re.IGNORECASE
)
_RESTRICTED: Final = re.compile(r"-(?:NC|ND)\b|^(?:BUSL|Elastic|Commons-Clause|Proprietary|LicenseRef)", re.IGNORECASE)
_SPDX_HEADER: Final = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([\w.()+ -]{2,100})")
_CASE: Final = {name.lower(): name for name in _PERMISSIVE}

# Sentences that only one licence's text or customary header holds, in order: the first that fits names it.
_TEXTS: Final = tuple(
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
        ("Public-Domain", r"(?:placed|released|dedicated|is) (?:in|into|to) the public domain|public domain\."),
        ("Proprietary", r"all rights reserved\.[\s\S]{0,200}(?:proprietary|confidential)|proprietary and confidential"),
    )
)
_LICENCE_FILE: Final = re.compile(r"(?:^|/)(?:licen[cs]e|copying|unlicense)(?:[.-][\w.-]{1,24})?$", re.IGNORECASE)
_HEADER_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Licence:
    """An SPDX id (or expression) and the class that decides whether it may be trained on."""

    spdx: str
    klass: LicenceClass


def class_of(spdx: str) -> LicenceClass:
    """Class of an SPDX expression: the strictest part of an AND, the mildest of an OR."""
    if " OR " in spdx:
        classes = [class_of(part) for part in spdx.strip("()").split(" OR ")]
        return min(classes, key=_STRICTNESS.index)
    if " AND " in spdx:
        return max((class_of(part) for part in spdx.strip("()").split(" AND ")), key=_STRICTNESS.index)
    name = spdx.split(" WITH ")[0].strip("() ").removesuffix("+")
    if name.lower().removeprefix("licenseref-") == "public-domain":
        return "permissive"
    if _RESTRICTED.search(name):
        return "restricted"
    if _COPYLEFT.match(name):
        return "copyleft"
    return "permissive" if name.lower() in _CASE else "unknown"


_STRICTNESS: Final[list[LicenceClass]] = ["permissive", "copyleft", "restricted", "unknown"]


def licence_of(text: str) -> Licence | None:
    """The licence that a file's header or a licence text names; None where it names none."""
    head = text[:_HEADER_CHARACTERS]
    declared = _SPDX_HEADER.search(head)
    if declared:
        spdx = re.split(r"\*/|-->|#", declared.group(1))[0].strip(" -")
        return Licence(_CASE.get(spdx.lower(), spdx), class_of(spdx))
    # Comment signs at the beginnings of lines must not split a sentence.
    head = re.sub(r"[ \t]*\n[ \t]{0,8}(?://+|#+|\*+|;+|--)?[ \t]*", " ", head)
    for spdx, pattern in _TEXTS:
        if pattern.search(head):
            return Licence(spdx, class_of(spdx))
    return None


def is_licence_file(path: str) -> bool:
    """Whether a path is customarily a repository's licence text."""
    return _LICENCE_FILE.search(path) is not None


def repository_licence(files: Mapping[str, str]) -> Licence | None:
    """The licence of a repository from its licence files (path → text); the mildest where several are offered."""
    found = [
        licence
        for path, text in sorted(files.items())
        if is_licence_file(path) and (licence := licence_of(text)) is not None
    ]
    return min(found, key=lambda licence: _STRICTNESS.index(licence.klass), default=None)
