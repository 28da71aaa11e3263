"""What the names models look at: words in Latin script, and characters of Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

_SHORT: Final = "(?:s|m|ll|ve|d|re|t)(?![^\\W\\d_])"
_WORD: Final = re.compile(
    rf"(?:[^\W\d_]\.){{2,4}}|[^\W\d_]\.(?![a-z])|[^\W\d_]+(?:['’\-](?!{_SHORT})[^\W\d_]+)*|['’]{_SHORT}|\d+(?:st|nd|rd|th)?|\n|[^\w\s]",
    re.IGNORECASE,
)
_HONORIFICS_TEXT: Final = (
    "mr mrs ms miss mx dr prof professor sir madam lady lord dame rev reverend fr father sister brother st"
    " captain capt colonel col major general gen lieutenant lt sergeant sgt judge justice president senator"
    " governor minister mayor king queen prince princess pope bishop herr frau señor señora sr sra don doña"
    " monsieur madame mme m mlle signor signora uncle aunt grandma grandpa coach detective officer inspector"
    " chancellor chairman chairwoman ceo director author editor photographer actor actress singer"
)
HONORIFICS: Final = frozenset(_HONORIFICS_TEXT.split())
_COMPANY_TEXT: Final = (
    "inc llc ltd plc corp corporation company co group holdings gmbh ag sa srl bv nv ab oy as oyj kg university"
    " college institute bank school hospital association foundation committee council ministry department agency"
    " club union partners associates sons brothers bros industries systems technologies solutions services labs"
    " media press network airlines motors insurance capital ventures international society museum church"
    " orchestra band party times post news"
)
COMPANY: Final = frozenset(_COMPANY_TEXT.split())
_CALENDAR_TEXT: Final = (
    "january february march april may june july august september october november december jan feb mar apr jun"
    " jul aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri"
    " sat sun"
)
CALENDAR: Final = frozenset(_CALENDAR_TEXT.split())


@dataclass(frozen=True, slots=True)
class Gazetteers:
    """CRC-32 of lower-case words by list: given names, family names, places, words of the dictionary."""

    lists: dict[str, frozenset[int]]

    def classes(self, word: str) -> str:
        """A letter for each list that holds the word."""
        lowered = word.lower()
        key = crc32(lowered.encode())
        found = "".join(name for name, keys in self.lists.items() if key in keys)
        if lowered in HONORIFICS:
            found += "H"
        if lowered in COMPANY:
            found += "S"
        if lowered in CALENDAR:
            found += "M"
        return found or "-"


def words_of(text: str) -> list[tuple[str, int, int]]:
    """(word, start, end); an initial keeps its full stop, a possessive stands alone, a new line is a word."""
    return [(match.group(), match.start(), match.end()) for match in _WORD.finditer(text)]


def shape_of(word: str) -> str:
    """Xx, XX, X., xx, XxX, dd, or the mark itself."""
    first = word[0]
    if first.isdigit():
        return f"d{min(len(word), 5)}"
    if not first.isalpha():
        return word if word != "\n" else "NL"
    if word[-1] == "." and word[-3:-2] == ".":
        return "X.X."
    if len(word) == 2 and word[1] == ".":
        return "X." if first.isupper() else "x."
    if word.islower() or not (first.isupper() or first.islower()):
        return "x"
    if word.isupper():
        return "X" if len(word) == 1 else "XX"
    if first.isupper():
        return "Xx" if word[1:].islower() else "XxX"
    return "xX"


def latin_features(
    words: Sequence[str], gazetteers: Gazetteers, hidden: frozenset[int] = frozenset()
) -> list[list[str]]:
    """Features a word. `hidden` are positions whose lists and word form are not shown (training only)."""
    size = len(words)
    shapes = [shape_of(word) for word in words]
    lowered = [word.lower() for word in words]
    classes = [
        ("-" if index in hidden else gazetteers.classes(word)) if word[0].isalpha() else "~"
        for index, word in enumerate(words)
    ]
    shown = ["?" if index in hidden else word for index, word in enumerate(lowered)]
    first = [index == 0 or words[index - 1] in '\n.!?:"“”>•|' for index in range(size)]
    everything = []
    for i in range(size):
        low, shape, own = lowered[i], shapes[i] + ("^" if first[i] else ""), classes[i]
        w1, w2 = (shown[i - 1] if i else "^"), (shown[i - 2] if i > 1 else "^")
        n1, n2 = (shown[i + 1] if i + 1 < size else "$"), (shown[i + 2] if i + 2 < size else "$")
        c1, d1 = (classes[i - 1] if i else "^"), (classes[i + 1] if i + 1 < size else "$")
        s1, t1 = (shapes[i - 1] if i else "^"), (shapes[i + 1] if i + 1 < size else "$")
        d2 = classes[i + 2] if i + 2 < size else "$"
        everything.append(
            [
                f"s={shape}|{own}",
                f"c={own}",
                f"h={shape}",
                f"w={shown[i]}",
                f"e2={low[-2:]}",
                f"e3={low[-3:]}",
                f"e4={low[-4:]}|{shapes[i]}",
                f"b3={low[:3]}|{shapes[i]}",
                f"l={min(len(low), 9)}|{shapes[i]}",
                f"w1={w1}|{shapes[i]}",
                f"w2={w2}|{w1}",
                f"w12={w2}|{shapes[i]}",
                f"n1={n1}|{shapes[i]}",
                f"n2={n2}|{n1}",
                f"w1n1={w1}|{n1}",
                f"w1c={w1}|{own}|{shapes[i]}",
                f"n1c={n1}|{own}",
                f"c1={c1}|{own}",
                f"d1={own}|{d1}",
                f"c1d1={c1}|{own}|{d1}",
                f"dd={own}|{d1}|{d2}",
                f"s1={s1}|{shape}",
                f"t1={shape}|{t1}",
                f"st={s1}|{shape}|{t1}",
            ]
        )
    return everything


def chinese_features(text: str, surnames: frozenset[str], common: frozenset[int]) -> list[list[str]]:
    """Features a character; `common` are the CRC-32 of common words of two characters."""
    padded = f"^^{text}$$"
    pairs = ["1" if crc32(padded[i : i + 2].encode()) in common else "0" for i in range(len(padded) - 1)]
    everything = []
    for i in range(len(text)):
        a, b, c, d, e = list(padded[i : i + 5])
        own = "S" if c in surnames else ("C" if "\u4e00" <= c <= "\u9fff" else "d" if c.isdigit() else "-")
        left = "S" if b in surnames else "-"
        two = "D" if c + d in surnames else "-"
        known = "".join(pairs[i : i + 4])
        everything.append(
            [
                f"s={own}{two}",
                f"k={known}|{own}",
                f"k1={known[1:3]}|{own}|{left}",
                f"k2={known[2]}|{c}",
                f"k3={known[1]}|{c}",
                f"kd={known[2:]}|{d}",
                f"c={c}",
                f"b={b}",
                f"d={d}",
                f"a={a}",
                f"e={e}",
                f"bc={b}{c}",
                f"cd={c}{d}",
                f"ab={a}{b}",
                f"de={d}{e}",
                f"bcd={b}{c}{d}",
                f"cde={c}{d}{e}",
                f"abc={a}{b}{c}",
                f"bd={b}|{d}",
                f"bs={b}|{own}",
                f"abs={a}{b}|{own}",
                f"ls={left}|{c}",
                f"ld={left}|{d}",
                f"sd={own}|{d}",
                f"se={own}|{d}{e}",
            ]
        )
    return everything
