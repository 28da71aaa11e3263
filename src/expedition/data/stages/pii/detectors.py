"""How each type of personal data is found: a bounded pattern for the shape, then a checksum, a rule or a word near it.

Every pattern is linear in the length of the text: repetitions are bounded, starts are cut off by a look-behind, and no
alternative can match the same text twice. Letters and digits are ASCII on purpose: Chinese text runs into numbers
and addresses without a space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Final

import numpy as np

from expedition.data.stages.pii import addresses, chinese, scan
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
from expedition.data.stages.text.characters import character_table

Found = Iterator[tuple[int, int]]
Detector = Callable[[str], Found]


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

_NEEDED: Final = {
    "EMAIL_ADDRESS": scan.EMAIL,
    "CRYPTO": scan.WALLET,
    "IBAN_CODE": scan.IBAN,
    "ID_CARD": scan.LONG_NUMBER,
    "US_DRIVER_LICENSE": scan.LICENCE | scan.ANY_DIGIT,
    "CREDIT_CARD": scan.LONG_NUMBER,
    "NATIONAL_ID": scan.NATIONAL,
    "US_SSN": scan.LONG_NUMBER,
    "IP_ADDRESS": scan.ADDRESS | scan.ANY_DIGIT,
    "MAC_ADDRESS": scan.MAC | scan.ANY_DIGIT,
    "WECHAT_ID": scan.WECHAT,
    "PASSPORT": scan.LONG_NUMBER,
    "QQ_NUMBER": scan.QQ | scan.ANY_DIGIT,
    "LICENSE_PLATE": scan.PLATE,
    "STREET_ADDRESS": scan.ANY_DIGIT,
    "PHONE_NUMBER": scan.LONG_NUMBER,
    "ZIP_CODE": scan.POSTCODE | scan.ANY_DIGIT,
}
"""Bits that a text must have for a detector to find anything in it."""
_PAD: Final = np.zeros(8, np.int32).tobytes()


def detectors_for(text: str) -> list[tuple[str, Detector]]:
    """The detectors that can find anything in a text, in order of precedence, by one pass over it."""
    codes = np.frombuffer(_PAD + text.encode("utf-32-le", "surrogatepass") + _PAD, np.int32)
    return _with_bits(scan.scan_hints(codes, len(codes) - 8, character_table()))


@lru_cache(maxsize=1 << 14)
def _with_bits(bits: int) -> list[tuple[str, Detector]]:
    return [
        (name, addresses.find_street_addresses if name == "STREET_ADDRESS" and not bits & scan.ROAD else detector)
        for name, detector in DETECTORS.items()
        if bits & _NEEDED[name] == _NEEDED[name]
    ]
