"""What is personal in Chinese pages: WeChat and QQ names, number plates, passports, street addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_WECHAT: Final = re.compile(
    r"(?:(?:微信|薇信|威信|加[vV]|[vV]信)号?[^A-Za-z0-9\n]{0,8}|(?<![A-Za-z])(?:weixin|wechat|[vw]x)(?![A-Za-z_])[^A-Za-z0-9\n]{1,8})"
    r"(?:id[^A-Za-z0-9\n]{1,4})?(?P<id>[A-Za-z][A-Za-z0-9_-]{5,19})(?![A-Za-z0-9_@.-])",
    re.ASCII | re.IGNORECASE,
)
_WECHAT_BARE: Final = re.compile(r"(?<![A-Za-z0-9_])(?:wx|wxid|weixin)_[A-Za-z0-9_]{4,20}(?![A-Za-z0-9_@])", re.ASCII)
_WECHAT_HINTS: Final = ("信", "weixin", "wechat", "加v", "vx", "wx")
_QQ: Final = re.compile(r"(?<![A-Za-z])[qQ][qQ](?:号码?|群)?[^0-9A-Za-z\n]{0,4}([1-9]\d{4,10})(?![0-9.])", re.ASCII)
_PLATE: Final = re.compile(
    "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
    "[A-HJ-NP-Z][·•・. -]?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳](?![A-Za-z0-9])"
)
_PASSPORT: Final = re.compile(
    r"(?:passport|护照)[^A-Za-z0-9\n]{0,6}(?:(?:number|no|号码?|号)[^A-Za-z0-9\n]{0,6})?"
    r"([A-Z]{1,2}\d{7,8}|\d{9})(?![A-Za-z0-9])",
    re.ASCII | re.IGNORECASE,
)
_PROVINCES: Final = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    "|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_COUNT: Final = "(?:\\d{1,5}|[一二三四五六七八九十百]{1,4})"
_HOUSE: Final = f"(?:{_COUNT}(?:[-之－]\\d{{1,4}})?\\s?(?:号|號|弄|巷)(?:之\\d{1, 3})?|[A-Za-z]座)"
_INSIDE: Final = (
    "(?:\\s?(?:[\u4e00-\u9fff]{0,10}?(?:小区|花园|大厦|公寓|广场|家园|新村|苑|园|城|院|府|湾|座|期))?"
    "\\s?(?:[0-9A-Za-z一二三四五六七八九十百]{1,5}(?:[-－][0-9A-Za-z]{1,4})?\\s?(?:号楼|号|栋|幢|单元|座|楼|层|室|户|房|弄|門|门|樓|F)))"
)
_REST: Final = re.compile(f"{_INSIDE}{{0,5}}")
_ROAD_NUMBER: Final = re.compile(
    "(?:路|街|道|巷|弄|胡同|村|里|段|同)[东南西北中一二三四五六七八九十支段路]{0,3}\\s?" + _HOUSE
)
_PROVINCE: Final = re.compile(_PROVINCES)
_AREA: Final = re.compile(f"(?:{_PROVINCES})|[\u4e00-\u9fff](?:市|区|县|镇|乡)")
_WINDOW: Final = 36
_BREAK: Final = re.compile("[^\u4e00-\u9fffA-Za-z0-9]")
_LEAD: Final = re.compile(
    "(?:地址|住址|住在|住于|位于|寄到|寄往|送到|送至|家住|坐落于|现居|户籍|籍贯|来到|前往|搬到|搬至|在|至|到|是|为|于|往)(?=[\u4e00-\u9fff]{3})"
)


def find_wechat_names(text: str) -> Iterator[tuple[int, int]]:
    """WeChat names: behind the service's name in any of its disguises, or of the service's own form."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _WECHAT_HINTS):
        return
    for match in _WECHAT.finditer(text):
        yield match.span("id")
    for match in _WECHAT_BARE.finditer(text):
        yield match.span()


def find_qq_numbers(text: str) -> Iterator[tuple[int, int]]:
    """QQ numbers behind the service's name."""
    if "qq" not in text.lower():
        return
    for match in _QQ.finditer(text):
        yield match.span(1)


def find_plates(text: str) -> Iterator[tuple[int, int]]:
    """Number plates of mainland China (GA 36), old and for new-energy cars."""
    for match in _PLATE.finditer(text):
        if any(character.isdigit() for character in match.group()) or "车" in text:
            yield match.span()


def find_passports(text: str) -> Iterator[tuple[int, int]]:
    """Passport numbers behind the word."""
    if "passport" not in text.lower() and "护照" not in text:
        return
    for match in _PASSPORT.finditer(text):
        yield match.span(1)


def find_street_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Addresses with road and house number, from province or town to room.

    The search hangs on road and number; what stands before it is read back over a bounded window. Road and number
    alone prove an address only behind a town or district.
    """
    if text.isascii():
        return
    done = 0
    for anchor in _ROAD_NUMBER.finditer(text):
        if anchor.start() < done:
            continue
        start = max(done, anchor.start() - _WINDOW)
        for end in _BREAK.finditer(text, start, anchor.start()):
            start = end.end()
        for lead in _LEAD.finditer(text, start, anchor.start()):
            start = lead.end()
        province = _PROVINCE.search(text, start, anchor.start())
        area = province or _AREA.search(text, start, anchor.start())
        rest = _REST.match(text, anchor.end())
        inside = rest is not None and rest.end() > anchor.end() and text[anchor.end() - 1] in "号號弄座0123456789"
        if area is None and not inside:
            continue
        done = rest.end() if rest else anchor.end()
        yield (province.start() if province else start), done
