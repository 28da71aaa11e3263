"""Licences of files and repositories: the SPDX expression that was found, and the class that decides on training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from expedition.data.stages.code.declared import ids_of, metadata_licence, readme_licence, tagged_licence, tells_licence
from expedition.data.stages.code.spdx import NOASSERTION, LicenceMatch, joined, match_header, match_licence_text

LicenceClass = Literal["permissive", "copyleft", "restricted", "unknown"]

_PERMISSIVE_TEXT: Final = (
    "MIT MIT-0 MIT-CMU MIT-feh MIT-Modern-Variant X11 Apache-2.0 Apache-1.1 Apache-1.0 BSD-2-Clause BSD-3-Clause "
    "BSD-1-Clause BSD-4-Clause BSD-4-Clause-UC BSD-2-Clause-Patent BSD-3-Clause-Clear BSD-3-Clause-LBNL "
    "BSD-Source-Code 0BSD ISC Zlib zlib-acknowledgement Libpng Unlicense CC0-1.0 CC-PDDC CC-BY-4.0 CC-BY-3.0 "
    "CC-BY-2.5 CC-BY-2.0 PDDL-1.0 BSL-1.0 Python-2.0 Python-2.0.1 PSF-2.0 CNRI-Python WTFPL NCSA PostgreSQL "
    "UPL-1.0 AFL-2.1 AFL-3.0 MulanPSL-1.0 MulanPSL-2.0 JSON Ruby PHP-3.0 PHP-3.01 Artistic-2.0 BlueOak-1.0.0 curl "
    "OpenSSL libpng-2.0 libtiff Unicode-3.0 Unicode-TOU Unicode-DFS-2015 Unicode-DFS-2016 HPND ICU Public-Domain "
    "ECL-2.0 MS-PL NTP TCL W3C W3C-20150513 Xnet ZPL-2.0 ZPL-2.1 FTL IJG Info-ZIP Beerware EFL-2.0 SMLNJ Vim "
    "bzip2-1.0.6 BSD-3-Clause-Open-MPI BSD-3-Clause-Modification BSD-4-Clause-Shortened libpng-1.6.35 MIT-open-group "
    "MIT-Wu MIT-enna MIT-testregex MIT-advertising MIT-Festival HPND-sell-variant blessing NIST-PD NIST-Software Fair "
    "Naumen Intel SGI-B-2.0 ISC-Veillard OLDAP-2.8 Zend-2.0 X11-distribute-modifications-variant SSH-short SSH-OpenSSH "
    "TU-Berlin-2.0 Spencer-86 Spencer-94 Spencer-99 Plexus Linux-OpenIB DOC NLPL CNRI-Jython MirOS FSFUL FSFULLR FSFAP "
    "XFree86-1.1 Xerox W3C-19980720 Bitstream-Vera ANTLR-PD Clips Crossword Latex2e NAIST-2003 TCP-wrappers UMich-Merit"
)
_CASE: Final = {name.lower(): name for name in _PERMISSIVE_TEXT.split()}
_COPYLEFT: Final = re.compile(
    r"^(?:A?GPL|LGPL|MPL|EPL|CDDL|EUPL|OSL|CC-BY-SA|CPL|IPL|CECILL|SSPL|GFDL|ODbL|OFL|MS-RL|Sleepycat|QPL|RPL|APSL|NPL)\b",
    re.IGNORECASE,
)
_RESTRICTED: Final = re.compile(r"-(?:NC|ND)\b|^(?:BUSL|Elastic|Commons-Clause|Proprietary|LicenseRef)", re.IGNORECASE)
_LICENCE_FILE: Final = re.compile(
    r"(?:^|/)(?:(?:mit-|apache-)?licen[cs]e|copying|unlicense)(?:[._-][\w.-]{1,24})?$|(?:^|/)LICENSES/[\w.+-]{1,40}\.txt$",
    re.IGNORECASE,
)
_OF_OTHERS: Final = re.compile(r"3rd|third", re.IGNORECASE)
_HEADER_CHARACTERS: Final = 4000
_POINTER_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Licence:
    """An SPDX id (or expression, or NOASSERTION) and the class that decides whether it may be trained on."""

    spdx: str
    klass: LicenceClass


def class_of(spdx: str) -> LicenceClass:
    """Class of an SPDX expression: the strictest part of an AND, the mildest of an OR; AND binds closer."""
    choices = _split(spdx, " OR ")
    if len(choices) > 1:
        return min(map(class_of, choices), key=_STRICTNESS.index)
    parts = _split(spdx, " AND ")
    if len(parts) > 1:
        return max(map(class_of, parts), key=_STRICTNESS.index)
    inner = spdx.strip()
    if inner.startswith("(") and inner.endswith(")"):
        return class_of(inner[1:-1])
    name = inner.split(" WITH ")[0].strip("() ").removesuffix("+")
    if name.lower().removeprefix("licenseref-") == "public-domain":
        return "permissive"
    if _RESTRICTED.search(name):
        return "restricted"
    if _COPYLEFT.match(name):
        return "copyleft"
    return "permissive" if name.lower() in _CASE else "unknown"


_STRICTNESS: Final[list[LicenceClass]] = ["permissive", "copyleft", "restricted", "unknown"]


def _split(expression: str, operator: str) -> list[str]:
    """Parts of an expression at an operator outside of parentheses."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(expression):
        depth += {"(": 1, ")": -1}.get(expression[at], 0)
        if depth <= 0 and expression[at : at + len(operator)].upper() == operator:
            parts.append(expression[start:at])
            start = at = at + len(operator)
            continue
        at += 1
    return [*parts, expression[start:]]


def licence_of(text: str) -> Licence | None:
    """The licence that the head of a source file declares; None where it declares none."""
    return _licence(match_header(text[:_HEADER_CHARACTERS]))


def is_licence_file(path: str) -> bool:
    """Whether a path is customarily a repository's licence text. Says where to look, never what the licence is."""
    return _LICENCE_FILE.search(path) is not None


def is_licence_evidence(path: str) -> bool:
    """Whether a file at the top of a repository can say something of its licence: `repository_match` wants these."""
    return is_licence_file(path) or ("/" not in path and tells_licence(path))


def repository_match(files: Mapping[str, str]) -> LicenceMatch | None:
    """What a repository (path → text, of all its files or of those that `is_licence_evidence` names) is licensed under.

    Evidence in this order: the licence files at its top; without any, its LICENSES folder (REUSE), its package metadata,
    the SPDX tags of its source files, its README. None where there is none of these: nothing is licensed.

    Licence files that stand side by side as LICENSE-MIT and LICENSE-APACHE, or one whose words offer a choice, are joined
    by OR; others all apply (AND), and so does a stricter one beside two that are permissive. Where the metadata name the
    same licences, theirs is the expression. A file that only names licences says nothing beside one that holds a text. The
    score is that of the weakest file. Texts that are not known stay NOASSERTION, unless they hold the whole text of the
    licence that the metadata declare.
    """
    depth = min((path.count("/") for path in files), default=0)
    top = {path.rsplit("/", 1)[-1]: text for path, text in files.items() if path.count("/") == depth}
    texts = {name: text for name, text in top.items() if is_licence_file(name) and not _OF_OTHERS.search(name)}
    texts = texts or {path: text for path, text in files.items() if re.search(r"(?:^|/)LICENSES/[^/]+$", path)}
    declared = metadata_licence(top)
    if texts:
        return _declared_form(_of_licence_files(texts), declared)
    if declared:
        return LicenceMatch(declared, 1.0, "metadata")
    if tagged := tagged_licence(files):
        return LicenceMatch(tagged, 1.0, "tag")
    told = readme_licence(top)
    return LicenceMatch(told, 0.0, "readme") if told else None


def _of_licence_files(files: Mapping[str, str]) -> LicenceMatch:
    """What licence files (one or more) say together."""
    found = {path: match_licence_text(text) for path, text in sorted(files.items())}
    texts = {path: match for path, match in found.items() if match.evidence != "notice"} or found
    pointers = {path for path, match in texts.items() if not match.asserted and _points_to(files[path], files, path)}
    if len(texts) > len(pointers):
        texts = {path: match for path, match in texts.items() if path not in pointers}
    if len(texts) == 1:
        return next(iter(texts.values()))
    weakest = min(texts.values(), key=lambda match: (match.asserted, match.score))
    if not weakest.asserted:
        return weakest
    names = [path.rsplit("/", 1)[-1].lower() for path in texts]
    side_by_side = all(re.match(r"(?:un)?licen[cs]e[._-](?!md$|txt$|rst$)|mit-licen|unlicense", name) for name in names)
    choice = any(match.choice for match in found.values())
    ids = [match.spdx for match in texts.values()]
    mild = [spdx for spdx in ids if class_of(spdx) == "permissive"]
    if side_by_side and not choice and 2 < len(ids) != len(mild) > 1:
        ids, choice = [joined(mild, choice=True), *(spdx for spdx in ids if spdx not in mild)], False
    else:
        choice = choice or side_by_side
    return LicenceMatch(joined(ids, choice), weakest.score, weakest.evidence)


def _points_to(text: str, files: Mapping[str, str], path: str) -> bool:
    """Whether a short licence file only sends the reader to others that lie beside it."""
    others = [name.rsplit("/", 1)[-1] for name in files if name != path]
    # "LICENSE" alone is a word of many texts.
    return len(text) < _POINTER_CHARACTERS and any(name in text for name in others if not name.isalpha())


def _declared_form(match: LicenceMatch, declared: str | None) -> LicenceMatch:
    """The same licences in the expression that the metadata give; or their licence, where an unknown text holds it whole."""
    if declared is None:
        return match
    if match.asserted:
        same = " " in match.spdx and ids_of(match.spdx) == ids_of(declared)
        return replace(match, spdx=declared) if same else match
    held = ids_of(" AND ".join(region.spdx for region in match.regions))
    return replace(match, spdx=declared, evidence="text") if ids_of(declared) <= held and not match.added else match


def repository_licence(files: Mapping[str, str]) -> Licence | None:
    """The licence of a repository (see `repository_match`): NOASSERTION where its licence files match no known text."""
    match = repository_match(files)
    return None if match is None else Licence(match.spdx, class_of(match.spdx))


def _licence(match: LicenceMatch) -> Licence | None:
    if match.spdx == NOASSERTION:
        return None
    spdx = _CASE.get(match.spdx.lower(), match.spdx)
    return Licence(spdx, class_of(spdx))
