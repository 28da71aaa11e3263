"""Numbers of cards, accounts and people that a checksum proves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from expedition.data.stages.pii import checksums

_CARD: Final = re.compile(r"(?<![\w.,/-])(?<!\d )\d(?:[ .-]?\d){11,18}(?![\d])(?![.,-]\d)", re.ASCII)
_CARD_CONTEXT: Final = re.compile(r"card|credit|debit|visa|master|amex|payment|account|卡|账户|付款", re.IGNORECASE)
_IDENTITY: Final = re.compile(r"(?<![0-9A-Za-z])[1-8]\d{5}[ -]?\d{8}[ -]?\d{3}[0-9Xx](?![0-9A-Za-z])", re.ASCII)
_IDENTITY_SPACED: Final = re.compile(r"(?<![0-9A-Za-z])[1-8](?:[ -]\d){16}[ -][0-9Xx](?![0-9A-Za-z])", re.ASCII)
_IDENTITY_OLD: Final = re.compile(r"身份证[^0-9]{0,12}([1-8]\d{14})(?![0-9A-Za-z])", re.ASCII)
# Begins behind the two letters: digits are rarer, and a search for them is cheap.
_IBAN: Final = re.compile(
    r"\d(?<=[A-Za-z]{2}\d)(?<![A-Za-z0-9]..\d)\d[ -]?[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){9,29}", re.ASCII
)
_SSN: Final = re.compile(r"(?<![\w-])(\d{3})[- ](\d{2})[- ](\d{4})(?![\w-])", re.ASCII)
_SSN_BARE: Final = re.compile(
    r"(?:\bssn\b|social security)[^0-9\n]{0,24}(\d{3})[- ]?(\d{2})[- ]?(\d{4})(?!\d)", re.ASCII | re.IGNORECASE
)
_LICENCE_HINT: Final = re.compile("[vV](?<=[dD][rR][iI].)(?:[eE][rR]|[iI][nN][gG])")
_LICENCE: Final = re.compile(
    r"driv(?:er|ing)(?:['’]?s)? ?licen[sc]e(?: (?:number|no\.?|num|id))?(?: (?:is|was))?[\s:#]{0,3}"
    r"(?P<id>[A-Z]{0,5}(?:[ -]?\d){5,16}[A-Z]{0,5}\d?)(?![A-Za-z0-9])",
    re.IGNORECASE | re.ASCII,
)


def find_cards(text: str) -> Iterator[tuple[int, int]]:
    """Payment cards: Luhn, issuer range and length, or a word near it."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if not checksums.is_checked_number(digits):
            continue
        # Twelve digits, or an unknown issuer, need a word that says what the number is.
        near = text[max(0, match.start() - 60) : match.end() + 40]
        if (len(digits) > 12 and checksums.is_card_number(digits)) or _CARD_CONTEXT.search(near):
            yield match.span()


def find_identity_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Chinese resident identity numbers, of 18 characters, or of 15 behind a word."""
    for pattern in (_IDENTITY, _IDENTITY_SPACED):
        for match in pattern.finditer(text):
            if checksums.is_resident_identity_number(re.sub("[ -]", "", match.group())):
                yield match.span()
    if "身份证" in text:
        for match in _IDENTITY_OLD.finditer(text):
            if checksums.is_old_resident_identity_number(match.group(1)):
                yield match.span(1)


def find_ibans(text: str) -> Iterator[tuple[int, int]]:
    """International bank account numbers."""
    for match in _IBAN.finditer(text):
        start = match.start() - 2
        length = checksums.IBAN_LENGTHS.get(text[start : match.start()].upper())
        if length is None:
            continue
        seen = 0
        for offset, character in enumerate(text[start : match.end()]):
            seen += character.isalnum()
            if seen == length:
                end = start + offset + 1
                compact = re.sub("[ -]", "", text[start:end])
                if checksums.is_iban(compact) and not text[end : end + 1].isalnum():
                    yield start, end
                break


def find_social_security_numbers(text: str) -> Iterator[tuple[int, int]]:
    """US Social Security numbers, with separators or behind a word."""
    for pattern in (_SSN, _SSN_BARE):
        for match in pattern.finditer(text):
            if checksums.is_social_security_number(*match.groups()):
                yield match.start(1), match.end(3)


def find_driver_licences(text: str) -> Iterator[tuple[int, int]]:
    """Driving licence numbers, which each state forms in its own way: behind the words only."""
    if _LICENCE_HINT.search(text):
        for match in _LICENCE.finditer(text):
            yield match.span("id")
