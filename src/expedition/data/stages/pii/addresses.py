"""Street addresses in Latin script: a house number with a street word, a unit, a box, or a word that announces it.

Every search hangs on a number: without a digit there is no address, and around each number only a bounded window is
read, so the time is linear. The street words (`street_words.py`) are those of two dozen languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from expedition.data.stages.pii import street_words as words

_LOWER: Final = "a-zß-öø-ÿąćčďđėęěğīıłńňőŕřśşšťůűźżž"
_ANY: Final = r"[^\W\d_](?:[\w'’\-]*\w)?"
_CAP: Final = rf"(?:(?![{_LOWER}])[^\W\d_](?:[\w'’\-]*\w)?|{words.PARTICLES}|[dlDL]['’]{_ANY})"
_HOUSE: Final = r"\d{1,5}[A-Za-z]?(?:[/-]\d{1,4}[A-Za-z]?)?"

# The first digit stands before what may precede it: a search for a plain set of characters is cheap.
_NUMBER: Final = re.compile(
    r"\d(?<![\w.,/:@#$€£¥%&=?+-]\d)\d{0,4}[A-Za-z]?(?:[/-]\d{1,4}[A-Za-z]?)?(?![\w%€¥]|[.,:/-]\d)"
)
_COMPASS: Final = r"(?:(?:[NSEW]|North|South|East|West|Old|New|Upper|Lower|Great|Little)\.? )?"
_NAME_AND_TYPE: Final = re.compile(
    rf"(?:[ ,]{{1,2}}{_HOUSE})? {_COMPASS}(?:(?:\d{{1,3}}(?:st|nd|rd|th)|{_CAP}\.?) ){{1,4}}?"
    rf"(?:(?P<sure>(?i:{words.SURE_BEHIND}))|(?P<weak>{words.WEAK_BEHIND}))(?![\w'’])\.?(?: (?:N|S|E|W|NE|NW|SE|SW)(?!\w)\.?)?"
)
_TYPE_AND_NAME: Final = re.compile(
    rf"(?:[ ,]{{1,2}}{_HOUSE})?,? (?i:{words.SURE_IN_FRONT})\.?(?: {_CAP}\.?){{1,5}}(?![\w'’])"
)
_BEFORE_NUMBER: Final = re.compile(
    rf"(?<![\w'’])(?:(?:(?i:{words.SURE_IN_FRONT})|{words.WEAK_IN_FRONT})\.?(?: (?:{_CAP}\.?|\d{{1,2}}(?: de)?)){{1,5}}"
    rf"|(?:{_CAP}\.? ){{0,2}}(?:(?![{_LOWER}])[^\W\d_]\w{{1,20}}\.?-){{1,3}}(?:{words.HYPHENATED})\.?"
    rf"|(?:{_CAP}\.? ){{0,3}}(?=\w{{4}})(?![{_LOWER}])[^\W\d_]\w{{1,24}}(?:{words.COMPOUND})\.?"
    rf"|(?:{_CAP}\.? ){{1,4}}(?i:{words.BETWEEN})\.?|{_CAP} {_ANY} (?:{words.HUNGARIAN}))"
    r",? (?:[Nn]r\.? |[Nn]o\.? |[nN][°º] ?)?$"
)


def _plain(alternatives: str) -> Iterator[str]:
    """Words of a pattern of alternatives, in small letters, without look-behinds and stops."""
    return (re.sub(r"\(\?<![^)]*\)|[\\.]", "", word).lower() for word in alternatives.split("|"))


_ENDINGS: Final = (
    *_plain(f"{words.COMPOUND}|{words.HYPHENATED}|{words.BETWEEN}|{words.HUNGARIAN}"),
    "nr",
    "no",
    "nº",
    "n°",
)
_FRONT: Final = frozenset(
    (
        *(word.split()[0].strip("/") for word in _plain(words.SURE_IN_FRONT)),
        *(word.split()[-1] for word in _plain(words.WEAK_IN_FRONT)),
    )
)
"""Without one of these at the end of the last word, or one of those somewhere before, `_BEFORE_NUMBER` matches nothing."""
_PARTICLES: Final = frozenset(words.PARTICLES.replace(" ", "|").split("|"))
_WORD: Final = re.compile(r"\w+")
_ALONE_ENDINGS: Final = (
    "box",
    "postfach",
    "casilla",
    "apartado",
    "correos",
    "postale",
    "postal",
    "postboks",
    "postbus",
    "no",
    "apt",
    "apartment",
    "suite",
    "ste",
)
"""Last words, one of which `_BOX` and `_UNIT_ALONE` need."""
_NUMBERS_BEFORE: Final = re.compile(rf"(?<![\w.,/:-])(?:{_HOUSE}[ ,]{{1,2}}){{1,2}}$")
_NAMES_BEFORE: Final = re.compile(rf"(?<![\w'’])(?![{_LOWER}])(?:{_CAP}\.? ){{1,4}}$")
_NAMES_AFTER: Final = re.compile(
    rf"(?:[ ,]{{1,2}}{_HOUSE})?(?= (?![{_LOWER}\d]))(?: {_CAP}\.?){{1,4}}(?: {_HOUSE}(?!\w))?"
)
_ANNOUNCED: Final = re.compile(words.ANNOUNCED + r"[\s:>]{0,12}(?:the )?$", re.IGNORECASE)
_ANNOUNCING: Final = (
    *("address", "is", "at", "to", "on", "in", "of", "residence"),
    *("adresse", "indirizzo", "adres", "au", "en"),
)
"""What `_ANNOUNCED` ends with in ASCII, but for the forms of domicile."""
_STREET_SAID: Final = re.compile(r"\.?,? (?:street|st|road|avenue|ave)\b\.?", re.IGNORECASE)
_UNIT_AFTER: Final = re.compile(rf"[\s,>]{{1,6}}(?:{words.UNIT})\.? ?#? ?\d{{1,5}}[a-z]?(?!\w)", re.IGNORECASE)
_UNIT_ALONE: Final = re.compile(r"(?<!\w)(?:apt|apartment|suite|ste)\.? ?#? ?$", re.IGNORECASE)
_HASH_UNIT: Final = re.compile(r",? #\d{1,5}[A-Za-z]?(?!\w)")
_UNIT_STREET: Final = re.compile(rf"[ ,]{{1,2}}(?:{_HOUSE} )?(?:{_CAP}\.? ){{1,4}}{_HOUSE}(?!\w)")
_TRAILING: Final = re.compile(rf",? {_HOUSE}(?![\w%]|[.,:]\d)")
_BOX: Final = re.compile(rf"(?<!\w)(?:{words.BOX})[ :]{{0,2}}(?:no\.? ?)?$", re.IGNORECASE)
_MILITARY: Final = re.compile(
    r"(?<!\w)(?:(?:PSC|CMR|UNIT)\.? \d{1,5}(?:,? BOX \d{1,5})?|US(?:S|NS|CGC|NV) \w{2,20}(?: \w{2,20})?|BOX \d{1,5})"
    r"[\s,>]{1,5}(?:APO|FPO|DPO),? (?:AA|AE|AP) \d{5}(?:-\d{4})?(?!\w)",
    re.IGNORECASE,
)
_MILITARY_HINT: Final = re.compile("[pP](?<=[aAfFdD].)[oO]")
_CORNER: Final = re.compile(
    rf"(?:[Tt]he )?[Cc]orner (?i:of) (?:{_HOUSE} )?(?:{_ANY}\.? ){{1,5}}?(?:{_HOUSE} )?"
    rf"[aA]nd (?:(?:{_CAP}\.?|{_HOUSE})(?: |(?!\w))){{1,4}}"
)
_PLACE: Final = rf"(?:(?![{_LOWER}])[^\W\d_][\w'’\-]*\.?)(?:[ -](?:{_CAP})){{0,4}}(?: \({_CAP}\))?"
_POSTCODE: Final = (
    r"(?:\d{5}(?:-\d{3,4})?|\d{4}|\d{3} \d{2}|\d{2}-\d{3}|\d{4}-\d{3}|[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d"
    r"|[A-Z]{1,2}-\d{3,5})"
)
_PLACE_AFTER: Final = re.compile(
    rf"(?:(?P<comma>,\s{{0,4}}|[ >]{{0,3}}\n[ ,>]{{0,6}})|[ ])"
    rf"(?:(?:[^\W\d_]{{1,3}}(?!\w)|{_PLACE})(?:[ ,]{{1,2}}\d{{4,5}}(?:-\d{{4}})?(?!\w))?"
    r"|(?<!\n)(?<!\s\s)\d{5}(?:-\d{4})?(?![\w-]))"
    r"(?=[,.;)?!>]|\s?\n|\s?$| [a-z])"
)
_TOWN_LINE: Final = re.compile(
    rf"(?:,? |[ ,]{{0,2}}\n[ >]{{0,4}})(?:{_POSTCODE},? ?(?:[A-Z]{{2}}\b)?[ \n]?{_PLACE}(?: / [A-Z]{{2}}| \([A-Z]{{2}}\))?"
    rf"|(?:{_PLACE}[,\n] ?){{0,2}}{_PLACE},?[ \n](?:[A-Z]{{2,3}},? )?{_POSTCODE})(?![\w-])"
)
"""Postal code and town, or town, state and postal code, on what follows a street."""
_STATED: Final = re.compile(
    rf"[ ,]{{0,2}}(?:\n[ >]{{0,4}}| )(?:{_PLACE}\n)?{_PLACE}(?:,? (?:[A-Z]{{2,3}}),? (?:\d{{4,5}}|[A-Z]\d[A-Z] ?\d[A-Z]\d)"
    rf"|\n[A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}})(?![\w-])"
)
"""Town, state and postal code: they prove that number and name before them are a street."""
_POSTCODE_FIRST: Final = re.compile(
    rf"[ ,]{{0,2}}\n[ >]{{0,4}}(?:\d{{5}}(?:-\d{{3}})?,?|\d{{3}} \d{{2}}|\d{{2}}-\d{{3}}|\d{{4}}-\d{{3}}|\d{{4}} ?[A-Z]{{2}})"
    rf"[ \n]{_PLACE}"
)
_UK_LINES: Final = re.compile(rf"(?:[,\n] ?{_PLACE}){{1,3}}[,\n] ?[A-Z]{{1,2}}\d[A-Z\d]? \d[A-Z]{{2}}(?!\w)")
_UK_UNIT: Final = re.compile(r"(?<!\w)(?:flat|studio|unit)\.? $", re.IGNORECASE)
_PROSE: Final = re.compile(r"\b(?i:to|how|you|we|i|that|why|can|is|are|a|an|for|with|your|my|and|in|on|by)\b")
_SURE: Final = re.compile(
    rf"(?<!\w)(?:{words.SURE_BEHIND}|{words.SURE_IN_FRONT}|{words.UNIT}|{words.BOX})(?!\w)", re.IGNORECASE
)
_HAS_LETTER: Final = re.compile(r"[^\W\d_]")
_WINDOW: Final = 64


def find_street_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Spans of street addresses; one runs from its first number or name to the last part of the address."""
    lowered = text.islower()
    if lowered:
        raised = text.title()
        text = raised if len(raised) == len(text) else text
    if _MILITARY_HINT.search(text):
        for match in _MILITARY.finditer(text):
            yield match.span()
    if "orner " in text:
        for match in _CORNER.finditer(text):
            if any(character.isdigit() for character in match.group()):
                yield match.start(), match.start() + len(match.group().rstrip(" .,"))
    done = 0
    for number in _NUMBER.finditer(text):
        if number.start() < done or not _HAS_LETTER.search(text, max(0, number.start() - 3), number.end() + 3):
            continue
        core = _core(text, number)
        # Where no capital can tell a name, a weak word proves nothing.
        if core is not None and lowered and not _is_announced(text, core[0]) and not _SURE.search(text, *core):
            continue
        if core is not None:
            start, done = max(done, core[0]), _extended(text, core[1])
            yield start, done


def _core(text: str, number: re.Match[str]) -> tuple[int, int] | None:
    """The part of an address that its shape proves, around one number."""
    start, end = number.span()
    window = max(0, start - _WINDOW)
    before = text[window:start]
    small = before.lower()
    for alone in (_BOX, _UNIT_ALONE) if small.rstrip(" .:#\n").endswith(_ALONE_ENDINGS) else ():
        match = alone.search(before)
        if match is not None:
            street = _UNIT_STREET.match(text, end, end + 72)
            return _with_numbers(text, window + match.start()), street.end() if street else end
    lines = _UK_LINES.match(text, end, end + 100) if before[-1:] == " " else None
    if lines is not None and (unit := _UK_UNIT.search(before)) is not None:
        return window + unit.start(), lines.end()
    if text[end : end + 1] in (" ", ","):
        after = _NAME_AND_TYPE.match(text, end, end + 72)
        if (
            after is not None
            and _PROSE.search(after.group()) is None
            and (after["sure"] or _is_set_apart(text, start, after.end()))
        ):
            return _with_numbers(text, start), _with_trailing_number(text, after.end())
        after = _TYPE_AND_NAME.match(text, end, end + 60)
        if after is not None:
            return _with_numbers(text, start), _with_trailing_number(text, after.end())
    tail = _tail(before) if before[-1:] == " " else 0
    if before[-1:] == " " and not _is_year(number.group()) and _may_end_in_street(small, tail):
        match = _BEFORE_NUMBER.search(before)
        if match is not None:
            full_stop = text[end : end + 1] == "." and text[end + 1 : end + 2] in ("\n", " ", "")
            return _with_numbers(text, window + match.start()), end + full_stop
    return _by_context(text, before, tail, number)


def _by_context(text: str, before: str, tail: int, number: re.Match[str]) -> tuple[int, int] | None:
    """Names and a number that a unit or the word street follows, or that a word announces."""
    start, end = number.span()
    names = _NAMES_BEFORE.search(before, tail) if before[-1:].isspace() and _may_end_in_name(before) else None
    if names is not None:
        first = _with_numbers(text, start - len(before) + names.start())
        if (
            _UNIT_AFTER.match(text, end)
            or _STREET_SAID.match(text, end)
            or _is_announced(text, first)
            or _POSTCODE_FIRST.match(text, end, end + 60)
        ):
            return first, end
    after = _NAMES_AFTER.match(text, end, end + 64)
    if after is not None and (
        _UNIT_AFTER.match(text, after.end()) or _is_announced(text, start) or _STATED.match(text, after.end())
    ):
        return start, after.end()
    return None


def _tail(before: str) -> int:
    """Where the last ordinary word in small letters begins, 0 for none: no name of a street reaches back over it.
    `before` ends in a blank."""
    end = len(before) - 1
    while end > 0:
        start = before.rfind(" ", 0, end) + 1
        word = before[start:end]
        if word.isascii() and word.isalpha() and word.islower() and word not in _PARTICLES:
            return start
        end = start - 1
    return 0


def _may_end_in_street(small: str, tail: int) -> bool:
    """Whether what precedes a number, in small letters, holds a street word where it can count."""
    if small.rstrip(" ,.").endswith(_ENDINGS):
        return True
    # Small letters of another number of characters do not tell where the tail begins.
    return not _FRONT.isdisjoint(_WORD.findall(small, tail if small.isascii() else 0))


def _may_end_in_name(before: str) -> bool:
    """Whether the last word before a number begins as a name does; an ordinary one in small letters does not."""
    last = before.rsplit(None, 1)[-1:]
    word = last[0].rstrip(".") if last else ""
    return not ("a" <= word[:1] <= "z" and word.isalpha() and word not in _PARTICLES)


def _is_announced(text: str, start: int) -> bool:
    before = text[max(0, start - 60) : start]
    if before.isascii():
        small = before.lower()
        last = small.removesuffix("the ").rstrip(" :>\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f")
        if not last.endswith(_ANNOUNCING) and "domicil" not in small:
            return False
    return _ANNOUNCED.search(text, max(0, start - 60), start) is not None


def _is_set_apart(text: str, start: int, end: int) -> bool:
    """A weak street word (Way, Hill, Place) proves an address that ends a line or a clause, or that is announced."""
    return (
        text[end : end + 1] in ("", ",", "\n", ";") or bool(_UNIT_AFTER.match(text, end)) or _is_announced(text, start)
    )


def _is_year(number: str) -> bool:
    return len(number) == 4 and number[:2] in ("19", "20")


def _with_trailing_number(text: str, end: int) -> int:
    """Over a house number behind the name, as in `475 Breivangvegen 38`."""
    match = _TRAILING.match(text, end)
    return match.end() if match else end


def _with_numbers(text: str, start: int) -> int:
    """Over one or two numbers in front."""
    match = _NUMBERS_BEFORE.search(text, max(0, start - 16), start)
    return match.start() if match else start


def _extended(text: str, end: int) -> int:
    """Over unit, town, state, country and postal code that follow; a place only behind a comma, a new line or a unit."""
    units = 0
    for _ in range(8):
        unit = _UNIT_AFTER.match(text, end) or _HASH_UNIT.match(text, end)
        if unit is not None:
            end, units = unit.end(), units + 1
            continue
        town = _TOWN_LINE.match(text, end, end + 96)
        if town is not None:
            end = town.end()
            continue
        place = _PLACE_AFTER.match(text, end, end + 72)
        if place is None or (place["comma"] is None and not units):
            break
        end = place.end()
    return end
