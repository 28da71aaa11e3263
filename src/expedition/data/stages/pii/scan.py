"""Kernel of `detectors`: one pass over a text that says which detectors can find anything in it.

Each bit is a condition that every match of a detector's patterns meets, read off them: where it is not set, the detector
is not asked. A property test holds that no finding is lost.
"""

from __future__ import annotations

from typing import Any, Final

from expedition.data.compiled import compiled
from expedition.data.stages.text.characters import DIGIT, PLANES

ANY_DIGIT, LONG_NUMBER, EMAIL, WALLET, IBAN, LICENCE, NATIONAL, ADDRESS = 1, 2, 4, 8, 16, 32, 64, 128
MAC, WECHAT, QQ, PLATE, ROAD, POSTCODE = 256, 512, 1024, 2048, 4096, 8192
"""What a text holds: an ASCII digit or a Chinese one; six digits that stand close together; the rest by detector
(`ADDRESS`: of a machine, `ROAD`: a Chinese street)."""
_CHINESE_DIGITS: Final = (0x4E00, 0x4E8C, 0x4E09, 0x56DB, 0x4E94, 0x516D, 0x4E03, 0x516B, 0x4E5D, 0x5341)
_ROADS: Final = (0x8DEF, 0x8857, 0x9053, 0x5DF7, 0x5F04, 0x80E1, 0x6751, 0x91CC, 0x6BB5, 0x540C)
"""路街道巷弄胡村里段同, one of which stands before a house number."""
_SPELLED: Final = (0x827E, 0x5708, 0x9F20)
"""艾圈鼠, for an @ that is spelled out."""
_POST: Final = (0x90AE, 0x90F5, 0x3012)
"""邮郵〒, which announce a postal code."""
_ANNOUNCED_WITHIN: Final = 40
"""Characters from the beginning of a word that announces a postal code to its first digit, at the most."""


@compiled
def _small(code: int) -> int:
    return code + 32 if 65 <= code <= 90 else code


@compiled
def _is_hex(code: int) -> bool:
    return 48 <= code <= 57 or 97 <= code | 32 <= 102


@compiled
def _is_alnum(code: int) -> bool:
    return 48 <= code <= 57 or 97 <= code | 32 <= 122


@compiled
def _is_capital(code: int) -> bool:
    return 65 <= code <= 90


@compiled
def _parts(code: int) -> bool:
    """A colon, a hyphen or a stop."""
    return code == 58 or code == 45 or code == 46


@compiled
def _of_letters(codes: Any, i: int, code: int) -> int:
    """Bits of a letter, of the two to five characters that end with it."""
    small = code | 32
    before, second = codes[i - 1] | 32, codes[i - 2] | 32
    found = 0
    if small == 116 and before == 111 and second == 100:
        found |= EMAIL
    elif (small == 101 or small == 105) and before == 118 and second == 105:
        if codes[i - 3] | 32 == 114 and codes[i - 4] | 32 == 100:
            found |= LICENCE
    elif small == 120:
        if before == 118 or before == 119 or (before == 105 and second == 101 and codes[i - 3] | 32 == 119):
            found |= WECHAT
    elif (small == 99 and before == 101 and second == 119) or (small == 118 and codes[i - 1] == 0x52A0):
        found |= WECHAT
    elif small == 113 and before == 113:
        found |= QQ
    if _is_capital(code) and codes[i - 1] >= 0x4E00:
        found |= PLATE
    return found


@compiled
def _announces(codes: Any, i: int) -> bool:
    """Whether a word that may announce a postal code begins two characters before i."""
    if 97 <= codes[i - 3] | 32 <= 122:
        return False
    first, second, third = codes[i - 2] | 32, _small(codes[i - 1]), _small(codes[i])
    if first == 122:
        return second == 105 and third == 112
    if first == 112:
        post, pin = second == 111 and third == 115, second == 105 and third == 110
        return post or pin or (second == 108 and third == 122) or second == 115
    if first == 99:
        return second == 111 or second == 0xF3 or second == 0xD3 or second == 46 or third == 112 or third == 46
    return first == 101 and second == 105 and third == 114


@compiled
def _of_signs(codes: Any, i: int, code: int) -> int:
    """Bits of a sign: @, closing brackets, colons and hyphens between hexadecimal pairs."""
    if code == 64:
        return EMAIL
    before = codes[i - 1]
    if code == 93 or code == 41 or code == 125 or code == 62:
        last = codes[i - 2] if before == 32 else before
        return EMAIL if last | 32 == 116 or last | 32 == 97 else 0
    found = 0
    pair = _is_hex(before) and _is_hex(codes[i - 2])
    if pair and (code == 58 or code == 45):
        middle = codes[i - 3] == 58 or codes[i - 3] == 45
        if middle and _is_hex(codes[i - 4]) and _is_hex(codes[i - 5]) and _parts(codes[i - 6]):
            found |= MAC
    elif pair and code == 46 and _is_hex(codes[i - 3]) and _is_hex(codes[i - 4]) and _parts(codes[i - 5]):
        found |= MAC
    if code == 58:
        for back in range(1, 6):
            if codes[i - back] == 58:
                found |= ADDRESS
                break
            if not _is_hex(codes[i - back]):
                break
    return found


@compiled
def _of_digit(codes: Any, i: int) -> int:
    """Bits of an ASCII digit: the second one behind two letters that begin a word."""
    if 48 <= codes[i - 1] <= 57 and 97 <= codes[i - 2] | 32 <= 122 and 97 <= codes[i - 3] | 32 <= 122:
        return 0 if _is_alnum(codes[i - 4]) else IBAN
    return 0


@compiled
def _behind_blank(codes: Any, i: int, table: Any) -> int:
    """Bits of a digit behind a blank: behind a state, or the second half of a code of letters and digits."""
    at = 3 if codes[i - 2] == 44 else 2
    if _is_capital(codes[i - at]) and _is_capital(codes[i - at - 1]):
        return POSTCODE
    last = codes[i + 2]
    code_end = _is_capital(last) or table[min(last, PLANES)] & DIGIT != 0
    return POSTCODE if _is_capital(codes[i + 1]) and code_end else 0


@compiled
def _of_number(codes: Any, start: int, end: int) -> int:
    """Whether the digits codes[start:end] behind a blank may be a postal code: neither a year nor of a few digits."""
    size, after = end - start, codes[end]
    if size == 2:
        return POSTCODE if after == 45 else 0
    if size == 3:
        return POSTCODE if after == 32 and 48 <= codes[end + 1] <= 57 else 0
    if size == 4 and after != 45 and not (after == 32 and _is_capital(codes[end + 1])):
        century = (codes[start] - 48) * 10 + codes[start + 1] - 48
        return 0 if 15 <= century <= 20 else POSTCODE
    return POSTCODE if 4 <= size <= 5 else 0


@compiled
def _has_inner(code: int) -> bool:
    """A sign that may stand between digits of a long number: - . ( ) / or a blank."""
    return code == 32 or code == 40 or code == 41 or code == 45 or code == 46 or code == 47


@compiled
def _of_wide(code: int) -> int:
    """Bits of a character beyond Latin."""
    if code in _CHINESE_DIGITS:
        return ANY_DIGIT
    if code in _ROADS:
        return ROAD
    if code in _SPELLED:
        return EMAIL
    if code in _POST:
        return POSTCODE
    return WECHAT if code == 0x4FE1 else 0


@compiled
def scan_hints(codes: Any, n: int, table: Any) -> int:  # noqa: C901, PLR0915
    """The bits of the text codes[8:n]; eight zeros stand before it and behind it."""
    found = 0
    digits = gap = run = run_start = chain = chain_gap = dots = number = 0
    announced = -_ANNOUNCED_WITHIN - 1
    for i in range(8, n + 1):
        code = codes[i]
        if code >= 0x3012:
            found |= _of_wide(code)
        digit = 48 <= code <= 57
        if digit or (code > 127 and table[min(code, PLANES)] & DIGIT):
            if codes[i - 1] == 32:
                found |= _behind_blank(codes, i, table)
                number = i
        elif number:
            found |= _of_number(codes, number, i)
            number = 0
        if digit:
            found |= ANY_DIGIT | _of_digit(codes, i)
            digits, gap = digits + 1 if digits and gap <= 3 else 1, 0
            if digits >= 6:
                found |= LONG_NUMBER
            if i - announced <= _ANNOUNCED_WITHIN:
                found |= POSTCODE
        elif digits:
            gap = gap + 1 if _has_inner(code) else 4
        if digit or _is_capital(code):
            chain = chain + 1 if chain else int(digit)
            chain_gap = 0
            if chain >= 7:
                found |= NATIONAL
        elif chain:
            chain_gap += 1
            if chain_gap > 1 or not (code == 32 or code == 46 or code == 40 or code == 43 or code == 45):
                chain = 0
        if _is_alnum(code):
            run_start = run_start if run else i
            run += 1
            if run >= 14 and (run >= 26 or (codes[run_start] == 98 and codes[run_start + 1] == 99)):
                found |= WALLET
        else:
            run = 0
        if code == 46:
            dots = dots + 1 if 48 <= codes[i - 1] <= 57 else 0
            if dots >= 3:
                found |= ADDRESS
        elif not digit:
            dots = 0
        if 97 <= code | 32 <= 122:
            found |= _of_letters(codes, i, code)
            if _announces(codes, i):
                announced = i
        elif code < 128 and not digit and code != 32:
            found |= _of_signs(codes, i, code)
            if code == 46 and _announces(codes, i):
                announced = i
        elif code == 0x10D and _announces(codes, i):
            announced = i
    return found
