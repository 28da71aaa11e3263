"""Postal codes: announced by a word, of a shape that nothing else has, or behind a place and a state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_SHAPE: Final = (
    r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z][ -]?\d[A-Z]\d|\d{4} ?[A-Z]{2}(?![A-Za-z])|\d{5}-\d{3,4}|\d{4}-\d{3}"
    r"|\d{2}-\d{3}|\d{3}-\d{4}|\d{3} \d{2}|[A-Z]{1,2}-\d{3,5}|\d{3,10})(?![\w]|[.,]\d|-\d)"
)
_ANNOUNCED: Final = re.compile(
    r"[zpcZPC邮郵〒](?i:(?<![a-z].)(?:(?<=z)ip(?: ?code)?|(?<=p)(?:ost(?:al)? ?code|in ?code|lz|ostleitzahl|ostnr|ostnummer|sč)"
    r"|(?<=c)(?:ode postal|ep|\.?a\.?p\.?|[óo]digo postal)|(?<=邮)(?:编|政编码)|(?<=郵)(?:遞區號|便番号)|(?<=〒))"
    r"|(?<=eirc)(?<![a-z]eirc)ode)"
    r"(?i:(?: (?:is|no|number))?[\s:：#.是为]{0,4}" + f"({_SHAPE}))",
    re.ASCII,
)
_STATES: Final = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]"
    "|O[HKR]|PA|PR|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY]"
)
# The first character stands before what may precede it: a search for a plain set of characters is cheap.
_US: Final = re.compile(rf"[A-W](?<=[a-z.,\]] .)[A-Z](?<={_STATES}),? (\d{{5}}(?:-\d{{4}})?)(?![\w-]|[.,]\d)")
_LETTERS: Final = re.compile(
    r"[A-Z](?<![\w-].)(?:(?<=[A-PR-UWYZ])(?:\d[\dA-HJKPSTUW]?|[A-HK-Y]\d[\dABEHMNPRVWXY]?) \d[ABD-HJLNP-UW-Z]{2}"
    r"|(?<=[ABCEGHJ-NPRSTVXY])\d[ABCEGHJ-NPRSTV-Z] \d[ABCEGHJ-NPRSTV-Z]\d)(?![\w-])"
)
_NUMBER: Final = re.compile(
    r"\d(?<= \d)(?:\d{4}-\d{3}|\d{3}-\d{3}|\d-\d{3}|\d{2} \d{2}|\d{3} [A-Z]{2}|\d{3,4})(?=[.,;!?)]|\s[a-z]|\s*$|\n)",
    re.ASCII,
)
_TOWN: Final = re.compile(
    r"(?<![\w.])(?:in|from|to|at|near|of) "
    r"((?:[^\W\d_a-z][\w'’-]+)(?: (?:[^\W\d_a-z][\w'’-]*|de|del|la|da|do|di|am|an|i)){0,3}) $"
)
_LINE: Final = re.compile(
    r"[ ,]{0,3}(?:\n[^\n\d]{0,48}){1,3}?(?<![\w.,-])"
    r"(\d{5}(?:-\d{3,4})?|\d{3} \d{2}|\d{4}(?: [A-Z]{2})?|\d{2}-\d{3}|\d{4}-\d{3}|[A-Z]\d[A-Z] \d[A-Z]\d|\d{3})[ \t]*(?=\n|$)"
)
_NO_TOWN_TEXT: Final = (
    "January February March April May June July August September October November December Spring Summer Autumn"
    " Fall Winter Windows Office Room Section Chapter Article Figure Table Version Page Line Issue Number Flight"
    " Route Highway Act Psalm Boeing Airbus Model Series Form Step Class Grade Section Building Area Level Phase"
    " Part Unit Volume Vol Rule Title Code Order Bill Resolution Agenda Vision Channel Ticket Case Docket Patent"
    " ISO RFC AD BC Q1 Q2 Q3 Q4 USD EUR GBP Rs Top Nikon Canon Intel Radeon GeForce RTX Python CVE ID"
)
_NO_TOWN: Final = frozenset(_NO_TOWN_TEXT.split())


def find_postcodes(text: str) -> Iterator[tuple[int, int]]:
    """Spans of postal codes. Linear: each pattern is bounded."""
    for match in _ANNOUNCED.finditer(text):
        yield match.span(1)
    for match in _US.finditer(text):
        yield match.span(1)
    for match in _LETTERS.finditer(text):
        yield match.span()
    for match in _NUMBER.finditer(text):
        if _is_year(match.group()):
            continue
        town = _TOWN.search(text, max(0, match.start() - 60), match.start())
        if town is not None and _NO_TOWN.isdisjoint(town[1].split()):
            yield match.span()


def postcode_behind(text: str, end: int) -> tuple[int, int] | None:
    """The postal code that closes the lines behind an address which ends at `end`."""
    match = _LINE.match(text, end, end + 100)
    return match.span(1) if match else None


def _is_year(number: str) -> bool:
    return len(number) == 4 and "1500" <= number <= "2100"
