"""Licences that a repository declares outside of a licence file: package metadata, its README, tags of its files."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from expedition.data.decode.code import header_licence

_METADATA: Final = re.compile(
    r"^(?:pyproject\.toml|cargo\.toml|package\.json|composer\.json|bower\.json|pom\.xml|setup\.cfg|setup\.py|description"
    r"|[\w.-]+\.(?:gemspec|cabal|nuspec|podspec|rockspec|opam))$",
    re.IGNORECASE,
)
_README: Final = re.compile(r"^(?:readme|copyright)(?:[.-][\w-]{1,12})?$", re.IGNORECASE)
_SOURCE: Final = re.compile(
    r"\.(?:[ch](?:pp|c|h|xx)?|cs|cu|go|java|[cm]?jsx?|tsx?|kt|lua|php|p[lm]|py|rb|rs|s|sh|swift|v|zig)$"
)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}")
_GNU: Final = r"(?:licen[cs]e)?[\s,(]{0,3}(?:gnu )?(?:[al]?gpl)?[\s,)-]{0,3}(?:version |v\.? ?)?"
# Words by which metadata and prose name a licence; all that are found count, each span once, the first row wins.
_NAMES: Final = tuple(
    (spdx, re.compile(pattern, re.IGNORECASE))
    for spdx, pattern in (
        ("AGPL-3.0", r"\bagpl(?:[ -]?v?3(?:\.0)?)?\b|(?:gnu )?affero (?:gnu )?general public licen[cs]e(?:.{0,12}\b3(?:\.0)?\b)?"),
        ("LGPL-2.1", rf"\blgpl[ -]?v?2(?:\.1)?\b|(?:lesser|library) general public {_GNU}2(?:\.[01])?\b"),
        ("LGPL-3.0", rf"\blgpl(?:[ -]?v?3(?:\.0)?)?\b|(?:lesser|library) general public {_GNU}(?:3(?:\.0)?\b)?"),
        ("GPL-2.0", rf"\bgpl[ -]?v?2(?:\.0)?\b|general public {_GNU}2(?:\.0)?\b"),
        ("GPL-3.0", rf"\bgpl[ -]?v?3(?:\.0)?\b|general public {_GNU}3(?:\.0)?\b"),
        ("GPL-1.0-or-later", r"\bgpl\b|general public licen[cs]e"),
        (
            "Apache-2.0",
            r"\bapache(?:[ -](?:software )?licen[cs]e)?,?[ -]{0,2}(?:version |v)?\.?(?:2(?:\.0)?)?\b|\bASL ?2(?:\.0)?\b",
        ),
        ("MIT-0", r"\bmit[ -](?:0|no attribution)\b"),
        ("MIT", r"\b(?:mit|expat)\b(?! press)(?: licen[cs]e)?(?: \(mit\))?"),
        ("BSD-2-Clause", r"\bbsd[ -]2(?:-clause)?\b|\b(?:2-clause|two-clause|simplified|freebsd)[ -]bsd\b"),
        ("0BSD", r"\b0bsd\b|\bzero[ -]clause bsd\b"),
        ("BSD-3-Clause", r"\bbsd[ -]3(?:-clause)?\b|\b(?:3-clause|three-clause|new|modified|revised)[ -]bsd\b|\bbsd\b"),
        ("ISC", r"\bisc\b"),
        ("MPL-2.0", r"\bmpl(?:[ -]?v?2(?:\.0)?)?\b|mozilla public licen[cs]e(?:.{0,10}\b2(?:\.0)?\b)?"),
        ("EPL-2.0", r"\bepl[ -]?v?2(?:\.0)?\b|eclipse public licen[cs]e.{0,12}\b2(?:\.0)?\b"),
        ("EPL-1.0", r"\bepl[ -]?v?1(?:\.0)?\b|eclipse public licen[cs]e"),
        ("CC0-1.0", r"\bcc0\b(?:[ -]1\.0)?"),
        ("CC-BY-NC-SA-4.0", r"\bcc[ -]by[ -]nc[ -]sa\b"),
        ("CC-BY-NC-4.0", r"\bcc[ -]by[ -]nc\b|attribution[ -]noncommercial"),
        ("CC-BY-SA-4.0", r"\bcc[ -]by[ -]sa\b|attribution[ -]share-?alike"),
        ("CC-BY-4.0", r"\bcc[ -]by\b|creative commons attribution"),
        ("BSL-1.0", r"\bboost software licen[cs]e\b|\bbsl-1\.0\b"),
        ("Zlib", r"\bzlib(?: licen[cs]e)?\b"),
        ("Unlicense", r"\bunlicense\b"),
        ("LicenseRef-Public-Domain", r"\bpublic[ -]domain\b"),
        ("PSF-2.0", r"\bpython software foundation licen[cs]e\b|\bpsf\b"),
        ("WTFPL", r"\bwtfpl\b"),
        ("Artistic-2.0", r"\bartistic(?: licen[cs]e)?[ -]2(?:\.0)?\b"),
        ("LicenseRef-Proprietary", r"\bproprietary\b|\ball rights reserved\b"),
    )
)  # fmt: skip
_OTHERWISE: Final = re.compile(r"\bor\b|\beither\b|\bdual\b|\byour (?:option|choice)\b|/", re.IGNORECASE)
_LATER: Final = re.compile(
    r"or (?:\(at your option\) )?(?:any )?(?:later|newer)|\b[al]?gpl[ -]?v?[23](?:\.[01])?\+", re.IGNORECASE
)
_DENIED: Final = re.compile(r"\b(?:not|no|without(?: an?)?)(?: \w+){0,2} licen[cs]ed?\b|\bunlicensed\b", re.IGNORECASE)
_SECTION: Final = re.compile(
    r"^(?:#{1,6}[ \t]*|=+[ \t]+|\*{2})?[^\w\n]{0,6}(?:[\w&]{1,12} (?:and|&) )?(?:licen[cs](?:e|es|ing)|copying)"
    r"(?: (?:and|&) [\w ]{1,20}| information)?[^\w\n]{0,8}$",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_SECTION: Final = re.compile(r"^(?:#{1,6}[ \t]+\S|[^\n]{1,60}\n[=~^-]{4,}[ \t]*$)", re.MULTILINE)
_SENTENCE: Final = re.compile(
    r"(?:licen[cs]ed|released|distributed|available|published)[ \n](?:\w+[ \n]){0,3}(?:under|into|in)[ \n]"
    r"[^\n]{2,60}(?:\n[^\n]{1,60})?",
    re.IGNORECASE,
)
_BADGE: Final = re.compile(r"badge/licen[cs]e-((?:[A-Za-z0-9._]|--|%20)+)-\w+", re.IGNORECASE)
_CLASSIFIER: Final = re.compile(r"License :: (?:OSI Approved :: )?([^\n\"']{2,90})")
_ASSIGNED: Final = re.compile(
    r"^\s*(?:\w+\.)?licen[cs]es?\s*[:=]\s*[\[{(]?\s*[\"']?([^\"'\n\]]{2,100})", re.IGNORECASE | re.MULTILINE
)
_POM: Final = re.compile(r"<licenses>(.{1,4000}?)</licenses>", re.DOTALL)
_POM_NAME: Final = re.compile(r"<name>\s*([^<]{1,120}?)\s*</name>")
_NUSPEC: Final = re.compile(r"<license[^>]{0,60}>\s*([^<]{1,120}?)\s*</license>")
_README_CHARACTERS: Final = 200_000
_SECTION_CHARACTERS: Final = 600


def tells_licence(path: str) -> bool:
    """Whether a file's name is one of package metadata, of a README or of a copyright notice: where a licence may be named."""
    name = path.rsplit("/", 1)[-1]
    return _METADATA.match(name) is not None or _README.match(name) is not None


def metadata_licence(files: Mapping[str, str]) -> str | None:
    """SPDX expression that the package metadata among `files` (name → text) declare; None where they disagree."""
    found = {
        spdx
        for name, text in sorted(files.items())
        if _METADATA.match(name)
        for spdx in [_of_metadata(name.lower(), text)]
        if spdx
    }
    return found.pop() if len({ids_of(one) for one in found}) == 1 else None


def readme_licence(files: Mapping[str, str]) -> str | None:
    """SPDX expression that a README's section on its licence names, else a sentence ("released under …"), else a badge."""
    order = sorted((name for name in files if _README.match(name)), key=lambda name: (name.lower()[0] != "r", name))
    return next((spdx for name in order if (spdx := _of_prose(files[name][:_README_CHARACTERS]))), None)


def tagged_licence(files: Mapping[str, str]) -> str | None:
    """The SPDX tag that at least half of the source files carry, where no file carries another."""
    sources = [text for path, text in files.items() if _SOURCE.search(path.lower())]
    tags = Counter(tag for text in sources if (tag := header_licence(text)))
    if len(tags) != 1:
        return None
    tag, count = tags.most_common(1)[0]
    return tag if 2 * count >= len(sources) else None


def spdx_of(words: str) -> str | None:
    """SPDX expression of what a field or a sentence says ("MIT/Apache-2.0", "GNU GPL v3 or later"); None where unknown."""
    words = " ".join(words[:_SECTION_CHARACTERS].split())
    if expression := _expression(words):
        return expression
    if _DENIED.search(words):
        return None
    spans: list[tuple[int, int, str]] = []
    for spdx, pattern in _NAMES:
        for found in pattern.finditer(words):
            if all(found.end() <= start or found.start() >= end for start, end, _ in spans):
                spans.append((*found.span(), spdx))
    names = list(dict.fromkeys(spdx for _, _, spdx in sorted(spans)))
    if _LATER.search(words):
        names = [f"{name}-or-later" if re.match(r"[AL]?GPL-\d\.\d$", name) else name for name in names]
    if len(names) > 1 and "LicenseRef-Proprietary" in names:  # "MIT. All rights reserved." is a customary line
        names.remove("LicenseRef-Proprietary")
    choice = _OTHERWISE.search(_LATER.sub(" ", words)) is not None
    return (" OR " if choice else " AND ").join(names) or None


def ids_of(expression: str) -> frozenset[str]:
    """The licences of an expression, whatever their order and operator, "-only", "-or-later" and "+" left off."""
    parts = re.split(r"\s+(?:OR|AND)\s+|[()]", expression, flags=re.IGNORECASE)
    return frozenset(re.sub(r"-only$|-or-later$|\+$", "", part.strip()).lower() for part in parts if part.strip())


def _expression(words: str) -> str | None:
    """Words that are already an SPDX expression, old forms ("MIT/Apache-2.0", "(MIT or ISC)") put right."""
    from expedition.data.stages.code.licence import class_of

    tokens = re.findall(r"[()]|[^\s()]+", re.sub(r"\s*(?:/|\|\|?)\s*", " OR ", words))
    names, after_with = [], False
    for place, token in enumerate(tokens):
        if token.upper() in ("OR", "AND", "WITH"):
            tokens[place], after_with = token.upper(), token.upper() == "WITH"
        elif token not in "()":
            tokens[place] = token = re.sub(r"^([AL]?GPL-[23])(?=\+?$)", r"\1.0", token)
            if not after_with:
                names.append(token)
            after_with = False
    bare = {"GPL", "LGPL", "AGPL", "MPL", "EPL"}
    known = all(_ID.fullmatch(name) and class_of(name) != "unknown" and name.upper() not in bare for name in names)
    operators = sum(token in ("OR", "AND") for token in tokens)
    if not names or not known or operators != len(names) - 1:
        return None
    text = " ".join(tokens).replace("( ", "(").replace(" )", ")")
    return text[1:-1] if re.fullmatch(r"\([^()]*\)", text) else text


def _of_metadata(name: str, text: str) -> str | None:
    stated = list(_stated(name, text))
    named = list(dict.fromkeys(spdx for words in stated if (spdx := spdx_of(words))))
    return None if not named else named[0] if len(named) == 1 else " OR ".join(named)


def _stated(name: str, text: str) -> Iterator[str]:
    """What a metadata file says of its licence, the most formal statement alone; several are a choice."""
    try:
        if name.endswith(".toml"):
            yield from _of_toml(tomllib.loads(text))
            return
        if name.endswith(".json"):
            yield from _of_json(json.loads(text))
            return
    except (ValueError, RecursionError):
        return
    if name == "pom.xml":
        yield from (found for block in _POM.findall(text[:200_000])[:1] for found in _POM_NAME.findall(block))
    elif name.endswith(".nuspec"):
        yield from _NUSPEC.findall(text)[:1]
    else:
        stated = [words for words in _ASSIGNED.findall(text) if not re.match(r"file\b|license_", words, re.IGNORECASE)]
        yield from stated[:1] or _CLASSIFIER.findall(text)


def _of_toml(value: Mapping[str, Any]) -> Iterator[str]:
    workspace = _table(value, "workspace")
    for table in (
        _table(value, "project"),
        _table(value, "package"),
        _table(workspace, "package"),
        _table(_table(value, "tool"), "poetry"),
    ):
        licence = table.get("license")
        if isinstance(licence, dict):
            licence = licence.get("text")
        if isinstance(licence, str) and len(licence) < 200:
            yield licence
            return
        classifiers = table.get("classifiers")
        found = _CLASSIFIER.findall("\n".join(map(str, classifiers))) if isinstance(classifiers, list) else []
        if found:
            yield from found
            return


def _of_json(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    licence = value.get("license", value.get("licenses"))
    for one in licence if isinstance(licence, list) else [licence]:
        words = one.get("type", one.get("name")) if isinstance(one, dict) else one
        # npm's "UNLICENSED" grants nothing; "SEE LICENSE IN …" says nothing.
        if isinstance(words, str) and words.upper() != "UNLICENSED" and not words.upper().startswith("SEE "):
            yield words


def _table(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _of_prose(text: str) -> str | None:
    for heading in list(_SECTION.finditer(text))[-2:][::-1]:
        body = re.sub(r"\A\s*[=~^*-]{3,}[ \t]*\n", "", text[heading.end() :].lstrip("\n"))[:_SECTION_CHARACTERS]
        follows = _NEXT_SECTION.search(body)
        if spdx := spdx_of(body[: follows.start()] if follows else body):
            return spdx
    for found in _SENTENCE.finditer(text):
        if _DENIED.search(text[max(0, found.start() - 12) : found.end()]) is None and (spdx := spdx_of(found.group())):
            return spdx
    badge = _BADGE.search(text)
    return spdx_of(badge.group(1).replace("--", "-").replace("%20", " ").replace("_", " ")) if badge else None
