"""How each type of personal data is found: a bounded pattern for the shape, then a checksum, a rule or a word near it.

Every pattern is linear in the length of the text: repetitions are bounded, starts are cut off by a look-behind, and no
alternative can match the same text twice. Letters and digits are ASCII on purpose: Chinese text runs into numbers
and addresses without a space.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

from expedition.data.stages.pii import addresses, chinese
from expedition.data.stages.pii.emails import find_emails
from expedition.data.stages.pii.identifiers import (
    find_cards,
    find_driver_licences,
    find_ibans,
    find_identity_numbers,
    find_social_security_numbers,
)
from expedition.data.stages.pii.national import find_national_numbers
from expedition.data.stages.pii.network import find_ip_addresses, find_mac_addresses, find_wallets
from expedition.data.stages.pii.phones import find_phones
from expedition.data.stages.pii.postcodes import find_postcodes

Found = Iterator[tuple[int, int]]
Detector = Callable[[str], Found]

_DIGIT: Final = re.compile("[0-9一二三四五六七八九十]")
_LONG_NUMBER: Final = re.compile(r"\d(?:[-. ()/]{0,3}\d){5}", re.ASCII)


def _street_addresses(text: str) -> Found:
    return chain(chinese.find_street_addresses(text), addresses.find_street_addresses(text))


DETECTORS: Final[Mapping[str, Detector]] = {
    "EMAIL_ADDRESS": find_emails,
    "CRYPTO": find_wallets,
    "IBAN_CODE": find_ibans,
    "ID_CARD": find_identity_numbers,
    "US_DRIVER_LICENSE": find_driver_licences,
    "CREDIT_CARD": find_cards,
    "NATIONAL_ID": find_national_numbers,
    "US_SSN": find_social_security_numbers,
    "IP_ADDRESS": find_ip_addresses,
    "MAC_ADDRESS": find_mac_addresses,
    "WECHAT_ID": chinese.find_wechat_names,
    "PASSPORT": chinese.find_passports,
    "QQ_NUMBER": chinese.find_qq_numbers,
    "LICENSE_PLATE": chinese.find_plates,
    "STREET_ADDRESS": _street_addresses,
    "PHONE_NUMBER": find_phones,
    "ZIP_CODE": find_postcodes,
}
"""Type to detector, in order of precedence."""

_WITHOUT_DIGIT: Final = frozenset({"EMAIL_ADDRESS", "CRYPTO", "WECHAT_ID", "LICENSE_PLATE"})
_OF_LONG_NUMBERS: Final = frozenset({"ID_CARD", "CREDIT_CARD", "US_SSN", "PHONE_NUMBER", "PASSPORT"})


def detectors_for(text: str) -> list[tuple[str, Detector]]:
    """The detectors that can find anything in a text, by one look at its digits: none, some, or six in a row."""
    if _DIGIT.search(text) is None:
        return _WITHOUT_DIGITS
    return _ALL if _LONG_NUMBER.search(text) else _SHORT


_ALL: Final = list(DETECTORS.items())
_SHORT: Final = [item for item in _ALL if item[0] not in _OF_LONG_NUMBERS]
_WITHOUT_DIGITS: Final = [item for item in _ALL if item[0] in _WITHOUT_DIGIT]
