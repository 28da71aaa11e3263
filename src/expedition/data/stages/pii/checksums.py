"""Checksums and rules that tell an identifier from a mere number. All pure, all on digits without separators."""

from __future__ import annotations

import datetime
from typing import Final

_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECK: Final = "10X98765432"
_PROVINCES_TEXT: Final = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
_PROVINCES: Final = frozenset(_PROVINCES_TEXT.split())
IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24,
    "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24,
    "XK": 20,
}  # fmt: skip
"""Total length of an IBAN by country code (SWIFT IBAN registry)."""


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit)
        if position % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def is_checked_number(digits: str) -> bool:
    """A number of a payment card's length that satisfies Luhn; a run of one digit is no card."""
    return 12 <= len(digits) <= 19 and len(set(digits)) >= 2 and luhn(digits)


def is_card_number(digits: str) -> bool:
    """A payment card number by issuer range, length and Luhn."""
    return is_checked_number(digits) and _issuer_fits(digits)


def _issuer_fits(digits: str) -> bool:
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16
    if two in (34, 37):
        return length == 15
    if two in (36, 38, 39) or 300 <= int(digits[:3]) <= 305:
        return length in (14, 16)
    if 3528 <= four <= 3589:
        return length in (16, 19)
    if digits[:4] in ("1800", "2131"):
        return length == 15
    # UnionPay, Discover, Maestro and the older Maestro range 0604.
    return two in (62, 60, 64, 65) or digits[0] == "5" or two in range(56, 70) or digits[:4] == "0604"


def is_resident_identity_number(number: str) -> bool:
    """GB 11643-1999: province, a real birth date, check character."""
    if number[:2] not in _PROVINCES or not _is_date(number[6:14]):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number[:17], _ID_WEIGHTS, strict=True))
    return _ID_CHECK[total % 11] == number[17].upper()


def is_old_resident_identity_number(number: str) -> bool:
    """The 15-digit form issued before 1999: no check character, so only province and date are judged."""
    return number[:2] in _PROVINCES and _is_date("19" + number[6:12])


def _is_date(text: str) -> bool:
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    if not 1880 <= year <= 2030:
        return False
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


def is_iban(text: str) -> bool:
    """ISO 13616: the country's length and remainder 1 modulo 97."""
    compact = text.upper()
    if IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    rearranged = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


def is_social_security_number(area: str, group: str, serial: str) -> bool:
    """Numbers that the US Social Security Administration never issued are none."""
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"
