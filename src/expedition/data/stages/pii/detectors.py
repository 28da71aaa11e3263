"""How each type of personal data is found: a bounded pattern for the shape, then a checksum or a rule.

Every pattern is linear in the length of the text: repetitions are bounded, starts are cut off by a look-behind, and no
alternative can match the same text twice. Letters and digits are ASCII on purpose: Chinese text runs into numbers
and addresses without a space.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from expedition.data.stages.pii import checksums
from expedition.data.stages.pii.phones import find_phones

Found = Iterator[tuple[int, int]]
Detector = Callable[[str], Found]

_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_CARD: Final = re.compile(r"(?<![\w.,/-])(?<!\d )\d(?:[ -]?\d){11,18}(?![\d])(?![.,-]\d)", re.ASCII)
_CARD_CONTEXT: Final = re.compile(r"card|credit|debit|visa|master|amex|payment|account|卡|账户|付款", re.IGNORECASE)
_IDENTITY: Final = re.compile(r"(?<![0-9A-Za-z])[1-8]\d{16}[0-9Xx](?![0-9A-Za-z])", re.ASCII)
_IDENTITY_OLD: Final = re.compile(r"身份证[^0-9]{0,12}([1-8]\d{14})(?![0-9A-Za-z])", re.ASCII)
_IBAN: Final = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}[ -]?[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){9,29}", re.ASCII)
_SSN: Final = re.compile(r"(?<![\w-])(\d{3})[- ](\d{2})[- ](\d{4})(?![\w-])", re.ASCII)
_SSN_BARE: Final = re.compile(
    r"(?:\bssn\b|social security)[^0-9\n]{0,24}(\d{3})[- ]?(\d{2})[- ]?(\d{4})(?!\d)", re.ASCII | re.IGNORECASE
)
_IP4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", re.ASCII)
_IP6: Final = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?:(?:\.\d{1,3}){3})?(?![\w:])", re.ASCII
)
_VERSION_BEFORE: Final = re.compile(r"(?:version|ver|release|build|版本号?|固件|v)[.:\s]{0,3}$", re.IGNORECASE)
_WECHAT: Final = re.compile(
    r"(?:微信|薇信|威信|weixin|wechat|加[vV]|[vV]信|(?<![A-Za-z])[vw]x(?![A-Za-z_]))[^A-Za-z0-9\n]{0,8}"
    r"(?:id|ID|Id)?[^A-Za-z0-9\n]{0,4}(?P<id>[A-Za-z][A-Za-z0-9_-]{5,19})(?![A-Za-z0-9_@.-])",
    re.ASCII | re.IGNORECASE,
)
_WECHAT_BARE: Final = re.compile(r"(?<![A-Za-z0-9_])(?:wx|wxid|weixin)_[A-Za-z0-9_]{4,20}(?![A-Za-z0-9_@])", re.ASCII)
_QQ: Final = re.compile(r"(?<![A-Za-z])[qQ][qQ](?:号码?|群)?[^0-9A-Za-z\n]{0,4}([1-9]\d{4,10})(?![0-9.])", re.ASCII)
_PLATE: Final = re.compile(
    "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
    "[A-HJ-NP-Z][·•. ]?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳](?![A-Za-z0-9])"
)
_ADDRESS_ZH: Final = re.compile(
    "(?:北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    "|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门)(?:省|市|自治区|壮族自治区|回族自治区|维吾尔自治区)?"
    "[\u4e00-\u9fff]{0,16}?(?:区|县|市|镇|乡)[\u4e00-\u9fffA-Za-z0-9]{1,20}?(?:路|街|道|巷|弄|胡同|村|里)"
    "[\u4e00-\u9fff]{0,4}?\\d{1,5}(?:号楼?|弄)(?:[0-9A-Za-z一二三四五六七八九十]{1,4}(?:号楼|栋|幢|单元|座|楼|层|室)){0,4}"
)
_PASSPORT: Final = re.compile(
    r"(?:passport|护照)[^A-Za-z0-9\n]{0,6}(?:(?:number|no|号码?|号)[^A-Za-z0-9\n]{0,6})?"
    r"([A-Z]{1,2}\d{7,8}|\d{9})(?![A-Za-z0-9])",
    re.ASCII | re.IGNORECASE,
)


def _emails(text: str) -> Found:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield match.span()


def _cards(text: str) -> Found:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if not checksums.is_checked_number(digits):
            continue
        # Twelve digits, or an unknown issuer, need a word that says what the number is.
        near = text[max(0, match.start() - 60) : match.end() + 40]
        if (len(digits) > 12 and checksums.is_card_number(digits)) or _CARD_CONTEXT.search(near):
            yield match.span()


def _identity_numbers(text: str) -> Found:
    for match in _IDENTITY.finditer(text):
        if checksums.is_resident_identity_number(match.group()):
            yield match.span()
    for match in _IDENTITY_OLD.finditer(text):
        if checksums.is_old_resident_identity_number(match.group(1)):
            yield match.span(1)


def _ibans(text: str) -> Found:
    for match in _IBAN.finditer(text):
        length = checksums.IBAN_LENGTHS.get(match.group()[:2].upper())
        if length is None:
            continue
        seen = 0
        for offset, character in enumerate(match.group()):
            seen += character.isalnum()
            if seen == length:
                end = match.start() + offset + 1
                compact = re.sub("[ -]", "", text[match.start() : end])
                if checksums.is_iban(compact) and not text[end : end + 1].isalnum():
                    yield match.start(), end
                break


def _social_security_numbers(text: str) -> Found:
    for pattern in (_SSN, _SSN_BARE):
        for match in pattern.finditer(text):
            if checksums.is_social_security_number(*match.groups()):
                yield match.start(1), match.end(3)


def _addresses(text: str) -> Found:
    if "." in text:
        for match in _IP4.finditer(text):
            if _is_personal_ip(match.group()) and not _VERSION_BEFORE.search(
                text[max(0, match.start() - 12) : match.start()]
            ):
                yield match.span()
    if ":" in text:
        for match in _IP6.finditer(text):
            if any(character.isdigit() for character in match.group()) and _is_personal_ip(match.group()):
                yield match.span()


def _is_personal_ip(text: str) -> bool:
    """Loopback, unspecified, multicast, link-local, private addresses and net masks name nobody."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return True
    private = any(address in network for network in _PRIVATE)
    return not private and not text.startswith(("0.", "255."))


_PRIVATE: Final = tuple(ipaddress.ip_network(name) for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def _wechat(text: str) -> Found:
    for match in _WECHAT.finditer(text):
        yield match.span("id")
    for match in _WECHAT_BARE.finditer(text):
        yield match.span()


def _group_of(pattern: re.Pattern[str]) -> Detector:
    def find(text: str) -> Found:
        for match in pattern.finditer(text):
            yield match.span(1)

    return find


def _whole(pattern: re.Pattern[str]) -> Detector:
    def find(text: str) -> Found:
        for match in pattern.finditer(text):
            yield match.span()

    return find


DETECTORS: Final[Mapping[str, Detector]] = {
    "EMAIL_ADDRESS": _emails,
    "IBAN_CODE": _ibans,
    "ID_CARD": _identity_numbers,
    "CREDIT_CARD": _cards,
    "US_SSN": _social_security_numbers,
    "IP_ADDRESS": _addresses,
    "WECHAT_ID": _wechat,
    "PASSPORT": _group_of(_PASSPORT),
    "QQ_NUMBER": _group_of(_QQ),
    "LICENSE_PLATE": _whole(_PLATE),
    "STREET_ADDRESS": _whole(_ADDRESS_ZH),
    "PHONE_NUMBER": find_phones,
}
"""Type to detector, in order of precedence."""
