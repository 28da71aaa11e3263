"""Disguises taken off: invisible characters, look-alike letters, digits for letters, spelled-out and joined words, typos.

What is undone in words follows the functional tests of HateCheck (Röttger et al., ACL 2021, section 3.2, F25-F29) and of
Multilingual HateCheck (Röttger et al., WOAH 2022, table 1: homophones, pinyin and characters taken apart in Chinese).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_MIXED: Final = re.compile("[a-zß-ɏ\u0370-\u03ff\u0400-\u04ff\u0530-\u058f]+")
_FOREIGN: Final = re.compile("[\u0370-\u03ff\u0400-\u04ff\u0530-\u058f]")
_LATIN: Final = re.compile("[a-z]")
_LOOK_ALIKE: Final = str.maketrans(
    "авсԁеёәһіїјкӏмнопԛрѕтѵԝхуαβεηικνορτυχωγոսցօհ",
    "abcdeeehiijklmhonqpstvwxyabenikvoptuxwynugoh",
)
"""Cyrillic, Greek and Armenian letters by the Latin ones they look like, after Unicode's confusables.txt."""
_LEET: Final = str.maketrans("0134578@$€!+", "oieastbasei" + "t")
_LEET_L: Final = str.maketrans("0134578@$€!+", "oleastbaseit")
_LEET_SIGN: Final = re.compile(r"[0134578@$€!+]")
_UMLAUT: Final = re.compile("[äöüß]")
_TWO_LETTERS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_NO_DOTS: Final = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss"})
_RUN: Final = re.compile(r"(.)\1{2,}")
_PAIR: Final = re.compile(r"(.)\1+")
_SPELLED: Final = re.compile(r"(?<!\w)(?:[^\W\d_][ .·*_|/~-]{1,2}){2,14}[^\W\d_](?!\w)")
_GAPS: Final = re.compile(r"[ .·*_|/~-]+")
_MAX_WORD: Final = 40
"""Longer runs of letters are no words; they are not taken apart."""
_PARTS_FROM: Final = 6
_TYPO_FROM: Final = 3


def fold(text: str) -> str:
    """Lower case without invisible characters, compatibility forms and look-alike letters; length may change."""
    if text.isascii():
        return text.lower()
    text = _INVISIBLE.sub("", text).replace("\u2019", "'")
    text = _MARKS.sub("", unicodedata.normalize("NFKC", text).lower())
    if _FOREIGN.search(text) and _LATIN.search(text):
        text = _MIXED.sub(_latin, text)
    return text


def _latin(match: re.Match[str]) -> str:
    word = match.group()
    return word.translate(_LOOK_ALIKE) if _LATIN.search(word) and _FOREIGN.search(word) else word


def closed_up(text: str) -> str:
    """Words that are spelled out letter by letter ("h a t e", "h.a.t.e") closed up."""
    return _SPELLED.sub(lambda match: _GAPS.sub("", match.group()), text)


def plain_spellings(word: str) -> Iterator[str]:
    """What a word may stand for: digits and signs read as letters, stretched letters shortened, accents dropped."""
    if len(word) > _MAX_WORD:
        return
    if _LEET_SIGN.search(word) and any(map(str.isalpha, word)):
        yield word.translate(_LEET)
        yield word.translate(_LEET_L)
    if _RUN.search(word):
        yield _RUN.sub(r"\1\1", word)
        yield _PAIR.sub(r"\1", word)
    if not word.isascii():
        yield "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))


def typos(word: str) -> Iterator[str]:
    """The word with one inner letter left out, or two neighbours in each other's place; its first letter stays."""
    if len(word) < _TYPO_FROM:
        return
    last = len(word) - (len(word) < 4)
    for at in range(1, last):
        yield word[:at] + word[at + 1 :]
    for at in range(1 if len(word) > 3 else 0, len(word) - 1):
        if word[at] != word[at + 1] and len(word) > 3:
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def umlauts_apart(word: str) -> Iterator[str]:
    """The word with its umlauts written as two letters, and without their dots."""
    if _UMLAUT.search(word):
        yield word.translate(_TWO_LETTERS)
        yield word.translate(_NO_DOTS)


def typo_table(words: Iterable[str], friends: Collection[str]) -> dict[str, str]:
    """Typo, or spelling without umlauts, to word. One that is a word of the language (`friends`), or one of `words`, is
    left out."""
    ordered = sorted(set(words))
    known = set(ordered)
    table: dict[str, str] = {}
    for word in ordered:
        for typo in (*umlauts_apart(word), *typos(word)):
            if len(typo) > 1 and typo not in known and typo not in friends:
                table.setdefault(typo, word)
    return table


def parts_of(word: str, marked: Callable[[str], bool], common: Collection[str]) -> tuple[str, ...]:
    """A run of letters as the words that were joined in it, () if it is none: all parts known, one or more `marked`.

    The fewest parts win. `common` words of one letter ("i", "a") count at the beginning only ("ihate").
    """
    size = len(word)
    if not _PARTS_FROM <= size <= _MAX_WORD or not word.isalpha():
        return ()
    best: list[tuple[int, int, tuple[str, ...]] | None] = [None] * (size + 1)
    best[0] = (0, 0, ())
    for end in range(1, size + 1):
        for start in range(max(0, end - 18), end):
            before = best[start]
            if before is None:
                continue
            part = word[start:end]
            if len(part) == 1 and not (start == 0 and part in ("a", "i")):
                continue
            hit = len(part) > 2 and marked(part)
            if not hit and len(part) > 1 and part not in common:
                continue
            key = (before[0] + 1, before[1] - hit)
            known = best[end]
            if known is None or key < (known[0], known[1]):
                best[end] = (*key, (*before[2], part))
    found = best[size]
    return found[2] if found is not None and found[1] < 0 and len(found[2]) > 1 else ()


def chinese_variants(term: str, homophones: dict[str, str], pinyin: dict[str, str]) -> Iterator[str]:
    """The term with one of its characters replaced by a homophone, or by its pinyin."""
    if len(term) < 2:
        return
    for at, character in enumerate(term):
        for other in homophones.get(character, ""):
            yield term[:at] + other + term[at + 1 :]
        if character in pinyin:
            yield term[:at] + pinyin[character] + term[at + 1 :]
