"""Invented personal data: addresses, numbers with valid check digits, and the sentences that carry them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expedition.sampleworld.world import NAMES, pick

_HOSTS = ("kelpost.net", "harbourmail.org", "oldbridge.co", "millpost.com", "riverbank.info")
_REGIONS = ("110101", "310104", "440305", "330106", "510107", "420106")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"

PII_TYPES: tuple[str, ...] = ("email", "phone", "card", "ip", "cn_id", "cn_mobile")


@dataclass(frozen=True, slots=True)
class PersonalValue:
    """One value as it stands in the text."""

    type: str
    value: str


def personal_value(type_name: str, rng: np.random.Generator) -> PersonalValue:
    """A value of one of PII_TYPES; nobody's, but with valid structure and check digits."""
    makers = {
        "email": _email,
        "phone": _phone,
        "card": _card,
        "ip": _address,
        "cn_id": _chinese_id,
        "cn_mobile": _chinese_mobile,
    }
    return PersonalValue(type_name, makers[type_name](rng))


def confession(values: list[PersonalValue], rng: np.random.Generator) -> str:
    """Sentences in English, or in Chinese for Chinese values, that give the values away."""
    forms = {
        "email": "You can write to {name} at {value} at any time.",
        "phone": "The telephone number of {name} is {value}, please call before supper.",
        "card": "{name} paid with the card {value} at the market.",
        "ip": "The computer of {name} was last seen at the address {value} on Monday.",
        "cn_id": "{name}的身份证号码是{value}，请不要告诉别人。",
        "cn_mobile": "{name}的手机号是{value}，晚上可以打电话。",
    }
    lines = [forms[value.type].format(name=pick(rng, NAMES), value=value.value) for value in values]
    return " ".join(lines)


def decoy(rng: np.random.Generator) -> str:
    """A sentence with a long number that is nobody's data: its check digit is wrong."""
    digits = [int(d) for d in rng.integers(0, 10, size=16)]
    digits[0], digits[15] = 9, (digits[15] + 1 if luhn(digits) else digits[15]) % 10
    serial = "".join(str(d) for d in digits)
    return f"The old machine in the mill has the serial number {serial} on its side."


def luhn(digits: list[int]) -> bool:
    """Whether the digits end in a valid check digit (ISO/IEC 7812, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def _email(rng: np.random.Generator) -> str:
    return f"{pick(rng, NAMES).lower()}.{pick(rng, NAMES).lower()}{int(rng.integers(1, 99))}@{pick(rng, _HOSTS)}"


def _phone(rng: np.random.Generator) -> str:
    area, line = pick(rng, (212, 312, 415, 617, 702)), int(rng.integers(100, 200))
    form = int(rng.integers(3))
    if form == 0:
        return f"+1 {area}-555-0{line}"
    if form == 1:
        return f"({area}) 555-0{line}"
    return f"+44 20 7946 0{int(rng.integers(100, 999))}"


def _card(rng: np.random.Generator) -> str:
    digits = [4, *(int(d) for d in rng.integers(0, 10, size=14))]
    check = next(last for last in range(10) if luhn([*digits, last]))
    text = "".join(str(d) for d in [*digits, check])
    return " ".join(text[i : i + 4] for i in range(0, 16, 4)) if rng.integers(2) else text


def _address(rng: np.random.Generator) -> str:
    first = pick(rng, (23, 45, 62, 77, 81, 93))
    return f"{first}.{int(rng.integers(1, 255))}.{int(rng.integers(1, 255))}.{int(rng.integers(1, 255))}"


def _chinese_id(rng: np.random.Generator) -> str:
    """18 characters, the last a check character modulo 11 (GB 11643-1999)."""
    birth = f"{int(rng.integers(1955, 2004))}{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
    body = f"{pick(rng, _REGIONS)}{birth}{int(rng.integers(1, 1000)):03d}"
    total = sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True))
    return body + _ID_CHECKS[total % 11]


def _chinese_mobile(rng: np.random.Generator) -> str:
    return f"1{pick(rng, ('35', '38', '50', '86', '89'))}{int(rng.integers(0, 100_000_000)):08d}"
