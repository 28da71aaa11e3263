"""E-mail addresses, as written and as spelled to hide from robots (`name at mail dot com`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PLAIN: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_NAME_ROOM, _HOST_ROOM = 65, 420
"""Characters before and behind the @ in which the longest address has room."""
_HINTS: Final = {
    "d": ("dot",),
    "@": ("[@", "(@", " @", "@ "),
    "]": ("at]", "at ]", "[a]"),
    ")": ("at)", "at )", "(a)"),
    "}": ("at}",),
    ">": ("at>",),
    "艾": ("艾特",),
    "圈": ("圈a",),
    "鼠": ("小老鼠",),
}
"""A character, and what must be in a text that holds it for a spelled address to be there."""
_NAME: Final = (
    r"(?<![A-Za-z0-9._%+@-])(?P<name>[A-Za-z0-9][A-Za-z0-9_%+-]{0,40}"
    r"(?:(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?|\sdot\s)[A-Za-z0-9_%+-]{1,40}){0,3})"
)
_AT: Final = r"(?:\s{0,2}[\[({<]\s?(?:at|@|a)\s?[\])}>]\s{0,2}|\s{1,2}at\s{1,2}|\s?@\s?|\s?(?:艾特|圈a|小老鼠)\s?)"
_DOT: Final = r"(?:\s{0,2}[\[({<]\s?(?:dot|\.)\s?[\])}>]\s{0,2}|\s{1,2}dot\s{1,2}|\s?\.\s?|点)"
_HOST: Final = (
    rf"(?P<host>[A-Za-z0-9-]{{1,40}}(?:{_DOT}[A-Za-z0-9-]{{1,40}}){{0,2}}?{_DOT}(?P<top>[A-Za-z]{{2,13}}))"
    r"(?![A-Za-z0-9@-])"
)
_SPELLED: Final = re.compile(_NAME + f"(?P<at>{_AT})" + _HOST, re.IGNORECASE)
_TOP_TEXT: Final = (
    "com org net edu gov mil int info biz io ai co me dev app tech online site cn de uk fr es it nl be ch at se"
    " no dk fi pl cz sk hu pt ro gr ru ua tr in jp kr tw hk sg au nz ca us br mx ar cl za ie il ir id my th vn"
    " ph eu tv cc xyz"
)
_TOP: Final = frozenset(_TOP_TEXT.split())
_OPEN_MAIL: Final = re.compile(
    r"(?:gmail|googlemail|hotmail|outlook|yahoo|live|msn|icloud|aol|gmx|web|mail|proton(?:mail)?|yandex|qq|163|126|sina|foxmail|139)",
    re.IGNORECASE,
)


def find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Spans of e-mail addresses."""
    done, sign = 0, text.find("@")
    while sign >= 0:
        # A name may hold no @, so each match hangs on one.
        match = _PLAIN.search(text, max(done, sign - _NAME_ROOM), sign + _HOST_ROOM)
        if match is not None:
            yield match.span()
            done = match.end()
        sign = text.find("@", max(sign + 1, done))
    lowered = text.lower()
    if any(sign in lowered and any(hint in lowered for hint in hints) for sign, hints in _HINTS.items()):
        for match in _SPELLED.finditer(text):
            if _is_meant(match):
                yield match.span()


def _is_meant(match: re.Match[str]) -> bool:
    """Prose has `at` and full stops too: a bracket, the word dot, or a name of a mail service tells them apart."""
    host, at = match["host"], match["at"]
    if match["top"].lower() not in _TOP or match["name"].lower() in (
        "me",
        "us",
        "look",
        "him",
        "her",
        "them",
        "you",
        "here",
    ):
        return False
    bracketed = any(character in at for character in "[({<") or any(word in at for word in ("艾特", "圈", "小老鼠"))
    spelled_dot = re.search(r"dot|点|[\[({]", host, re.IGNORECASE) is not None
    if "@" in at and not bracketed:
        spaced = re.search(r"\s\.|\.\s", host) is not None
        return (spelled_dot or not spaced or _OPEN_MAIL.match(host) is not None) and (
            not at.startswith(" ") or _OPEN_MAIL.match(host) is not None or spelled_dot
        )
    return bracketed or spelled_dot
