"""Addresses of machines and money: IP, MAC, crypto wallets, web sites."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

# A pattern that begins with a plain set of characters is looked for by that set, at a tenth of the cost of one that
# begins with a look-behind: so the first character stands first, and what may not be before it second.
_IP4: Final = re.compile(r"\d(?<![\w.]\d)\d{0,2}\.(?:\d{1,3}\.){2}\d{1,3}(?![\w]|\.\d)", re.ASCII)
_TWO_COLONS: Final = re.compile(":[0-9A-Fa-f]{0,4}:")
_IP6: Final = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?:\.\d{1,3}){3})?(?![\w:])", re.ASCII
)
_VERSION_BEFORE: Final = re.compile(
    r"(?:version|ver|release|build|firmware|driver|section|chapter|oid|asn\.1|版本号?|固件|第|v)[.:=\s]{0,3}$",
    re.IGNORECASE,
)
_MAC: Final = re.compile(
    r"(?<![\w:-])(?:[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}"
    r"|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w:-]|\.\w)",
    re.ASCII,
)
_MAC_PART: Final = re.compile("[:.-](?:[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-]|[0-9A-Fa-f]{4}[.])")
_BITCOIN: Final = re.compile(
    r"[13b](?<![A-Za-z0-9].)(?:(?<!b)[1-9A-HJ-NP-Za-km-z]{25,34}|(?<=b)c1[02-9ac-hj-np-z]{11,71})(?![A-Za-z0-9])"
)
_ETHEREUM: Final = re.compile(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])")
_BASE58: Final = {c: i for i, c in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_SITE: Final = re.compile(
    r"(?<![\w@./-])(?:https?://[^\s<>\"'，。；）】]{3,200}|www\.[a-z0-9-]{1,63}\.[a-z]{2,24}[^\s<>\"'，。；）】]{0,200})",
    re.IGNORECASE,
)
_PRIVATE: Final = tuple(ipaddress.ip_network(name) for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def find_ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    """IPv4 and IPv6 addresses that can name a person's line; version numbers are none."""
    if "." in text:
        for match in _IP4.finditer(text):
            before = text[max(0, match.start() - 14) : match.start()]
            if is_personal_ip(match.group()) and not _VERSION_BEFORE.search(before):
                yield match.span()
    if _TWO_COLONS.search(text):
        for match in _IP6.finditer(text):
            found = match.group()
            # Fewer groups are a slice or a time; `::3` and `a::b` are no address of a line.
            groups = sum(map(bool, found.split(":")))
            if groups > 2 and any(map(str.isdigit, found)) and is_personal_ip(found):
                yield match.span()


def is_personal_ip(text: str) -> bool:
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
    # Four small numbers are a version or a section far more often than a line of the first networks.
    small = all(int(part) < 20 for part in text.split("."))
    return not private and not small and not text.startswith(("0.", "255."))


def find_mac_addresses(text: str) -> Iterator[tuple[int, int]]:
    """EUI-48 addresses; broadcast and all zeros name no machine."""
    if _MAC_PART.search(text) is None:
        return
    for match in _MAC.finditer(text):
        digits = re.sub(r"[^0-9A-Fa-f]", "", match.group())
        if len(set(digits)) > 2 and not (digits.isdigit() and "-" in match.group()):
            yield match.span()


def find_wallets(text: str) -> Iterator[tuple[int, int]]:
    """Bitcoin addresses (Base58Check checksum, or Bech32 by shape) and Ethereum addresses."""
    for match in _BITCOIN.finditer(text):
        if match.group().startswith("bc1") or is_base58check(match.group()):
            yield match.span()
    if "0x" in text:
        for match in _ETHEREUM.finditer(text):
            if len(set(match.group()[2:].lower())) > 4:
                yield match.span()


def is_base58check(text: str) -> bool:
    """Base58Check of 25 bytes: the last four are the double SHA-256 of the others."""
    number = 0
    for character in text:
        number = number * 58 + _BASE58[character]
    if number >= 1 << 200:
        return False
    data = number.to_bytes(25, "big")
    return sha256(sha256(data[:-4]).digest()).digest()[:4] == data[-4:]


def find_sites(text: str) -> Iterator[tuple[int, int]]:
    """Web addresses; closing punctuation is not part of one."""
    if "://" in text or "www." in text.lower():
        for match in _SITE.finditer(text):
            yield match.start(), match.start() + len(match.group().rstrip(".,;:!?)]}*"))
