"""National identity and tax numbers: a shape, the country's own check (python-stdnum), and words where the shape is weak.

A number whose shape alone says what it is (letters in fixed places, fixed punctuation) needs its checksum only. A plain
run of digits needs a word near it as well: one run of eleven digits in a hundred satisfies some checksum by chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

_NEAR_BEFORE: Final = 60
_NEAR_AFTER: Final = 24


@dataclass(frozen=True, slots=True)
class NationalNumber:
    """One kind of number. `shape` is anchored at a number's start; `words` must stand near unless it is None."""

    name: str
    shape: re.Pattern[str]
    module: str
    words: re.Pattern[str] | None = None


def _kind(name: str, shape: str, module: str, words: str | None = None) -> NationalNumber:
    near = re.compile(words, re.IGNORECASE) if words else None
    return NationalNumber(name, re.compile(rf"(?:{shape})(?![\w]|[.,-]\d)", re.ASCII), module, near)


NATIONAL_NUMBERS: Final = (
    # Letters or punctuation in fixed places: the checksum is enough.
    _kind("IT_FISCAL_CODE", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", "it.codicefiscale"),
    _kind("ES_NIE", r"[XYZ]-?\d{7}-?[A-Z]", "es.nie"),
    _kind("ES_NIF", r"\d{8}-?[A-HJ-NP-TV-Z]", "es.dni"),
    _kind("BR_CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", "br.cpf"),
    _kind("CL_RUT", r"\d{1,2}\.\d{3}\.\d{3}-[\dK]", "cl.rut"),
    _kind("FI_HETU", r"\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y]", "fi.hetu"),
    _kind("SG_NRIC", r"[STFGM]\d{7}[A-Z]", "", r"nric|\bfin\b|singapore|identity"),
    _kind("HK_ID", r"[A-Z]{1,2}\d{6}\([\dA]\)", ""),
    _kind("TW_ID", r"[A-Z][12]\d{8}", "", r"身[分份]證|身份证|\bid\b|taiwan|台灣|臺灣"),
    _kind("MX_CURP", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", "mx.curp"),
    _kind("FR_NIR", r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}", "fr.nir"),
    _kind("KR_RRN", r"\d{6}-[1-4]\d{6}", "kr.rrn"),
    _kind("UK_NINO", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", ""),
    # Grouped digits with a checksum, weak by themselves.
    _kind("IN_AADHAAR", r"[2-9]\d{3}[ -]\d{4}[ -]\d{4}", "in_.aadhaar"),
    _kind("IN_AADHAAR", r"[2-9]\d{11}", "in_.aadhaar", r"aadhaa?r|uidai|आधार"),
    _kind("IN_PAN", r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", "in_.pan", r"\bpan\b|income tax|permanent account"),
    _kind("UK_NHS", r"\d{3}[ -]?\d{3}[ -]?\d{4}", "gb.nhs", r"\bnhs\b|national health"),
    _kind("BR_CPF", r"\d{11}", "br.cpf", r"\bcpf\b"),
    _kind("DE_TAX_ID", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", "de.idnr", r"steuer|idnr|tax id|\btin\b"),
    _kind("PL_PESEL", r"\d{11}", "pl.pesel", r"pesel"),
    _kind("NL_BSN", r"\d{9}|\d{4}\.\d{2}\.\d{3}", "nl.bsn", r"\bbsn\b|burgerservice|sofi"),
    _kind("SE_PERSONNUMMER", r"(?:19|20)?\d{6}[-+]\d{4}", "se.personnummer", r"person(?:nummer|nr)|född|personal id"),
    _kind("DK_CPR", r"\d{6}-?\d{4}", "dk.cpr", r"\bcpr\b"),
    _kind("NO_FODSELSNUMMER", r"\d{6} ?\d{5}", "no.fodselsnummer", r"fødselsnummer|personnummer|national id"),
    _kind("TR_TCKN", r"[1-9]\d{10}", "tr.tckimlik", r"kimlik|\btckn?\b|t\.c\."),
    _kind("ZA_ID", r"\d{13}", "za.idnr", r"south africa|\bid (?:no|number)|identity"),
    _kind("CA_SIN", r"\d{3}[ -]?\d{3}[ -]?\d{3}", "ca.sin", r"\bsin\b|social insurance"),
    _kind("AU_TFN", r"\d{3} ?\d{3} ?\d{2,3}", "au.tfn", r"\btfn\b|tax file"),
    _kind("US_ITIN", r"9\d{2}-\d{2}-\d{4}", "us.itin", r"\bitin\b|taxpayer|tax id"),
    _kind("JP_MY_NUMBER", r"\d{4}[ -]?\d{4}[ -]?\d{4}", "jp.in_", r"マイナンバー|個人番号|my number"),
    _kind("BE_NN", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", "be.nn"),
    _kind("PT_NIF", r"\d{9}", "pt.nif", r"\bnif\b|contribuinte"),
)
"""Every kind, the surer ones first."""

_START: Final = re.compile(
    r"[0-9A-Z](?<![\w@/.,+-].)(?:(?<=[A-Z])(?=[A-Z]{0,5}[ -]?\d(?:[ .(+-]?[0-9A-Z]){6})|(?<=\d)(?=(?:[ .(+-]?[0-9A-Z]){6}))",
    re.ASCII,
)


def find_national_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Spans of national numbers; one pass over candidates, a check only where the shape fits."""
    for candidate in _START.finditer(text):
        start = candidate.start()
        for kind in NATIONAL_NUMBERS:
            match = kind.shape.match(text, start)
            if match is None or not _announced(text, match, kind) or not _is_valid(kind, match.group()):
                continue
            yield start, match.end()
            break


def _announced(text: str, match: re.Match[str], kind: NationalNumber) -> bool:
    if kind.words is None:
        return True
    before = text[max(0, match.start() - _NEAR_BEFORE) : match.start()]
    after = text[match.end() : match.end() + _NEAR_AFTER]
    return bool(kind.words.search(before) or kind.words.search(after))


def _is_valid(kind: NationalNumber, number: str) -> bool:
    compact = re.sub(r"[^0-9A-Z]", "", number)
    # A number made of one or two different digits is an example or a mask.
    if len(set(re.sub(r"\D", "", compact))) < 3:
        return False
    return _check(kind)(number if kind.name in ("FI_HETU", "SE_PERSONNUMMER") else compact)


@cache
def _check(kind: NationalNumber) -> Callable[[str], bool]:
    own = {
        "UK_NINO": is_national_insurance_number,
        "SG_NRIC": is_singapore_nric,
        "HK_ID": is_hong_kong_id,
        "TW_ID": is_taiwan_id,
    }
    if kind.name in own:
        return own[kind.name]
    check: Callable[[str], bool] = import_module(f"stdnum.{kind.module}").is_valid
    return check


def is_national_insurance_number(number: str) -> bool:
    """UK National Insurance number: prefixes that were never allocated are none (HMRC NIM39110)."""
    return number[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def is_singapore_nric(number: str) -> bool:
    """National Registration Identity Card and FIN: weighted sum modulo 11, letter by series."""
    total = sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    series = number[0]
    total += {"T": 4, "G": 4, "M": 3}.get(series, 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "M": "KLJNPQRTUWX"}.get(series, "XWUTRQPNMLK")
    place = total % 11
    return letters[10 - place if series == "M" else place] == number[8]


def is_hong_kong_id(number: str) -> bool:
    """Hong Kong identity card: letters count 10 to 35, an absent first letter 36; weighted sum divisible by 11."""
    padded = number if len(number) == 9 else " " + number
    values = [36 if character == " " else int(character, 36) for character in padded]
    return sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0


def is_taiwan_id(number: str) -> bool:
    """Taiwan identity card: the letter is two digits, then weights 8 to 1 and the check digit; divisible by 10."""
    code = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    digits = [code // 10, code % 10, *map(int, number[1:])]
    return (
        sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0
    )
