"""Phone numbers: shapes that stand alone, and looser shapes that a word before them must announce."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final

# A separator is one character or one of the short combinations that people write.
_STAND_ALONE: Final = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        # Chinese mobile, with or without country code.
        r"(?<![\d.A-Za-z])(?:(?:\+|00)86[- ]?|86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![\d]|\.\d)",
        # Chinese land line with area code.
        r"(?<![\w./-])(?:\+86[- ]?)?\(?0(?:10|2\d|[3-9]\d{2})\)?[- ]?[2-8]\d{6,7}(?:[-转]\d{1,5})?(?![\d]|[.-]\d)",
        # North American plan.
        r"(?<![\w.-])(?:\+?1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}"
        r"(?:(?: ?x| ext\.? ?)\d{1,6})?(?![\w]|[.-]\d)",
        r"(?<![\w.-])001[-.](?:[2-9]\d{2})[-.]\d{3}[-.]\d{4}(?:x\d{1,6})?(?![\w])",
        # International with a plus.
        r"(?<![\w+])\+(?:[1-9]\d{0,2})(?:[- .]?\(0\))?(?:[- ./]?\(?\d{1,5}\)?){2,6}(?:x\d{1,6})?(?![\w])",
        # The same with 00 for the plus.
        r"(?<![\w./+-])00[1-9]\d{0,2}[- .](?:\(?\d{1,4}\)?[- .]?){2,5}(?<=\d)(?![\w]|[.,-]\d)",
        # A national number that begins with the trunk zero, in at least three groups.
        r"(?<![\w.-])\(?0[1-9]\d{0,3}\)?(?:[ .-]\d{2,4}){2,4}(?![\w]|[.,-]\d)",
        # Bracketed area code.
        r"(?<![\w.-])\(\d{2,4}\)[ -]?\d{3,4}[- ]\d{3,4}(?![\w]|[.,-]\d)",
        # Pairs as in France and Denmark, four groups at least.
        r"(?<![\w.-])\d{2}(?:-\d{2}){3,4}(?![\w]|[.,-]\d)",
    )
)
_SIX_DIGITS: Final = re.compile(r"\d(?:[-. ()/]{0,3}\d){5}", re.ASCII)
_BEFORE, _BEHIND = 12, 96
"""Characters around six digits in which a number of 15 with an extension has room."""
_CANDIDATE: Final = re.compile(r"(?<![\w.,:/+-])(?:\+|\()?\d(?:[-. ()/]{0,2}\d){5,14}(?![\w]|[.,/:-]\d)", re.ASCII)
_ANNOUNCED: Final = re.compile(
    r"(?:phone|telephone|tel\b|mobile|cell\b|cellular|fax\b|call|dial|text me|messages? to|reach|whatsapp|viber"
    r"|hotline|contact|office|ring\b|sms"
    r"|telefon|telefono|teléfono|téléphone|handy|numéro|rufnummer"
    r"|电话|手机|联系|热线|拨打|致电|来电|号码|座机|传真|短信)[^\n]{0,40}$",
    re.IGNORECASE,
)
_SAID_AFTER: Final = re.compile(
    r"[-\s(]{0,3}(?:(?:fax|office|mobile|home|cell|work)\b|(?:is|was) (?:my|his|her|our|their|the) (?:\w+ )?number)",
    re.IGNORECASE,
)
_DIGITS: Final = re.compile(r"\D")
_DECIMAL: Final = re.compile(r"\d+\.\d{1,2}")
_DATE: Final = re.compile(r"(?:19|20)\d{2}[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:[0-2]?\d|3[01])")


def find_phones(text: str) -> Iterator[tuple[int, int]]:
    """Spans of phone numbers; 7 to 15 digits, dates left alone."""
    found: list[tuple[int, int]] = []
    regions = _regions(text)
    for pattern in _STAND_ALONE:
        for match in chain.from_iterable(pattern.finditer(text, *region) for region in regions):
            if _is_phone(match.group()) and _is_free(found, match.span()):
                found.append(match.span())
    for match in chain.from_iterable(_CANDIDATE.finditer(text, *region) for region in regions):
        if not _is_free(found, match.span()) or not _is_phone(match.group()):
            continue
        before = _ANNOUNCED.search(text, max(0, match.start() - 60), match.start())
        if before or _SAID_AFTER.match(text, match.end()):
            found.append(match.span())
    yield from sorted(found)


def _regions(text: str) -> list[tuple[int, int]]:
    """Where six digits stand close together, with room for what a number may have before and after them."""
    regions: list[tuple[int, int]] = []
    for match in _SIX_DIGITS.finditer(text):
        start, end = max(0, match.start() - _BEFORE), match.end() + _BEHIND
        if regions and start <= regions[-1][1]:
            regions[-1] = (regions[-1][0], end)
        else:
            regions.append((start, end))
    return regions


def _is_phone(candidate: str) -> bool:
    digits = len(_DIGITS.sub("", candidate))
    return 7 <= digits <= 15 and not _DATE.match(candidate) and not _DECIMAL.fullmatch(candidate)


def _is_free(found: list[tuple[int, int]], span: tuple[int, int]) -> bool:
    return all(span[1] <= start or span[0] >= end for start, end in found)
