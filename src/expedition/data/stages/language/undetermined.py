"""Lines that are in no language: markup, codes, hashes, lists of names, many scripts at once.

What is judged is the line's shape, before any language is looked for: share of letters, words broken by digits and
inner capitals, scripts side by side, lists of capitalised words, menus. Each rule has a name, which `Guess.by` says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from expedition.data.stages.language.letters import MARK, OTHER, SCRIPTS, SIGN, Shapes

MIN_LETTERS: Final = 3
MIN_LETTER_SHARE: Final = 0.55
"""Share of a line's visible characters that must be letters. Articles of the Universal Declaration: 0.69 at the least, 99
of 100 above 0.8."""
DIGIT_DISCOUNT: Final = 0.5
"""How much less than another sign a digit counts: sentences hold telephone numbers and years."""
MAX_BROKEN: Final = 0.34
"""Inner capitals and digits at letters, for each word, above which words are codes."""
CODE_DIGITS: Final = 0.25
"""Digits for each letter, and """
CODE_SMALL: Final = 0.34
"""share of words in small letters, from and up to which a line is of product codes."""
MIN_MAIN_SHARE: Final = 0.62
"""Share of letters, each weighted by its script, that the main script must have."""
MANY_SCRIPTS: Final = 4
"""Scripts in one line from which it is a list of samples; Japanese counts as one."""
LIST_CAPITALS: Final = 0.85
"""Share of capitalised words from which a list of four words and more is of names."""
WEIGHT_OF_SCRIPT: Final = {"Han": 3.0, "Kana": 2.0, "Hang": 2.0}
"""Latin letters that a character stands for, when shares of scripts are compared."""
MAX_REPEATED: Final = 4
"""Different characters up to which a line of twelve and more is a repetition."""

_LIST_SIGNS: Final = re.compile(r"[,;|/·•»›►、，；&]|\s[-–—]\s|\s{2,}")
_MENU_SIGNS: Final = re.compile(r"\s*[|»›►•·]\s*|\s+[/>]\s+")
_HAN_FUNCTION: Final = re.compile("[的了在是和有不我你他她它这那這这個个为為与與及其之就也都而被把嘅唔咗係佢]")
_HAN_LIST: Final = re.compile("[、，,\\s；;]+")
_MARKUP: Final = re.compile(
    r"</?[a-zA-Z][^>\n]{0,80}>|&#?\w{2,8};|\{\{|\}\}|\w+\s*:\s*[\w#.-]+\s*(?:px|em)?\s*[;}]|[=(){};]{2,}|function\s?\(|"
    r'"\s*:\s*["\d\[{]'
)
_SUSPICIOUS: Final = re.compile(r"[|»›►•·<>{}=;]|&#?\w|\s/")
_CODE_SIGNS: Final = re.compile(r"[{}<>=;_\\$#]|::|\(\)|!important")
_MIN_CODE_SIGNS: Final = 4
_CODE_SIGNS_A_WORD: Final = 0.4
_VISIBLE_MARKUP: Final = 2


@functools.cache
def letter_weights() -> npt.NDArray[np.float64]:
    """Weight of a letter by class, scripts and OTHER."""
    found = np.ones(OTHER + 1)
    for script, weight in WEIGHT_OF_SCRIPT.items():
        found[SCRIPTS.index(script)] = weight
    return found


_HAN: Final = SCRIPTS.index("Han")
_KANA: Final = SCRIPTS.index("Kana")
_CASED: Final = tuple(SCRIPTS.index(script) for script in ("Latn", "Cyrl", "Grek", "Armn"))


def undetermined(lines: Sequence[str], shapes: Shapes) -> list[str]:
    """The name of the rule that says a line is in no language, "" where none does."""
    letters = shapes.letters_B
    weighted = shapes.class_BC[:, : OTHER + 1] * letter_weights()
    heavy = weighted.sum(axis=1) + shapes.class_BC[:, MARK]
    signs = shapes.class_BC[:, SIGN] - DIGIT_DISCOUNT * shapes.digits_B
    weighted[:, _HAN] += weighted[:, _KANA]
    present = weighted[:, [number for number in range(OTHER + 1) if number != _KANA]]
    total = np.maximum(present.sum(axis=1), 1)
    main_share = present.max(axis=1) / total
    scripts = (present >= np.maximum(2, 0.04 * total[:, None])).sum(axis=1)
    words = np.maximum(shapes.words_B, 1)
    cased = np.isin(shapes.class_BC[:, :OTHER].argmax(axis=1), _CASED)
    small = shapes.words_B - shapes.capitals_B
    products = cased & (shapes.digits_B >= CODE_DIGITS * letters) & (small <= CODE_SMALL * words)
    rules = {
        "few letters": letters < MIN_LETTERS,
        "signs": heavy < MIN_LETTER_SHARE * (heavy + signs),
        "codes": ((shapes.inner_B > np.maximum(MAX_BROKEN * words, 3)) & (present.argmax(axis=1) != _HAN)) | products,
        "mixed scripts": (main_share < MIN_MAIN_SHARE) | (scripts >= MANY_SCRIPTS),
    }
    found = np.full(len(lines), "", dtype="U16")
    for name, applies in reversed(rules.items()):
        found[applies] = name
    capitals = shapes.capitals_B >= LIST_CAPITALS * words
    odd = shapes.class_BC[:, SIGN] > 0
    main_han = shapes.class_BC[:, :OTHER].argmax(axis=1) == _HAN
    result: list[str] = found.tolist()
    for index in np.flatnonzero(found == "").tolist():
        line = lines[index]
        if cased[index] and (capitals[index] or odd[index]):
            result[index] = _list_of_words(line, int(words[index]), bool(capitals[index]))
        elif main_han[index]:
            result[index] = _list_of_han(line)
        if not result[index] and len(line) >= 12 and len(set(line[:200])) <= MAX_REPEATED:
            result[index] = "repetition"
    return result


def _list_of_words(line: str, words: int, capitals: bool) -> str:
    if _SUSPICIOUS.search(line):
        segments = [segment for segment in _MENU_SIGNS.split(line) if segment.strip()]
        if len(segments) >= 4 and words <= 2.2 * len(segments):
            return "menu"
        signs = len(_CODE_SIGNS.findall(line))
        if signs >= max(_MIN_CODE_SIGNS, _CODE_SIGNS_A_WORD * words) or _is_markup(line):
            return "markup"
    if capitals and words >= 4 and len(_LIST_SIGNS.findall(line)) * 4 >= words - 1:
        return "names"
    return ""


def _is_markup(line: str) -> bool:
    """Whether what is no markup is the smaller part."""
    found = _MARKUP.findall(line)
    return len(found) >= _VISIBLE_MARKUP and 2 * sum(map(len, found)) > len(line)


def _list_of_han(line: str) -> str:
    segments = [segment for segment in _HAN_LIST.split(line) if segment]
    if len(segments) >= 4 and max(map(len, segments)) <= 4 and not _HAN_FUNCTION.search(line):
        return "names"
    return ""
