"""Names by model: persons, places, organisations, occupations in Latin script, persons in Chinese; dates and ages by rule.

The models are `names.npz` beside this file, made by `expedition data train-names`. They are read at the first use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from expedition.data.stages.pii.name_features import Gazetteers, chinese_features, latin_features, words_of
from expedition.data.stages.pii.network import find_sites
from expedition.data.stages.pii.tagger import Tagger, load_arrays, spans_of, tagger_from

MODEL: Final = Path(__file__).with_name("names.npz")
PERSONAL_TYPES: Final = frozenset({"PERSON"})
"""What names the person. The other types are context: they are found and counted, and left in a text."""
CONTEXT_TYPES: Final = frozenset({"GPE", "ORGANIZATION", "TITLE", "NRP", "DATE_TIME", "AGE", "DOMAIN_NAME"})
NAME_TYPES: Final = PERSONAL_TYPES | CONTEXT_TYPES

_CHINESE_RUN: Final = re.compile("[\u4e00-\u9fff][\u4e00-\u9fff0-9A-Za-z，、：；。！？（）《》“”@/ ]{1,400}")
_CHINESE_TITLE: Final = re.compile("先生|女士|小姐|老师|教授|医生|总|经理|主任|局长|校长")
_LETTER: Final = re.compile("[A-Za-z\u00c0-\u024f]")
_MONTH: Final = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|Oct(?:ober)?"
    "|Nov(?:ember)?|Dec(?:ember)?)\\.?"
)
_DATE: Final = re.compile(
    r"(?<![\w./-])(?:\d{1,2}[/.-]\d{1,2}[/.-](?:19|20)?\d{2}|(?:19|20)\d{2}[/.-]\d{1,2}[/.-]\d{1,2}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? (?:1[5-9]|20)\d{{2}}|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? (?:1[5-9]|20)\d{{2}}"
    rf"|{_MONTH},? (?:1[5-9]|20)\d{{2}}|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)(?![\w/-]|\.\d)"
)
_YEAR: Final = re.compile(
    r"(?:\b[Ii]n|\b[Ss]ince|\b[Dd]uring|\b[Uu]ntil|\b[Bb]y|\b[Ff]rom|\b[Bb]orn|\b[Cc]irca) ((?:1[6-9]|20)\d{2})(?![\w-]|[.,]\d)"
)
_AGE: Final = re.compile(
    r"(?<![\w.,-])(\d{1,3})(?=[ -](?:years?|yrs?|y/?o)[ -]?(?:old|of age)?\b(?:[ -]old)?)(?=.{0,8}old|[ -]y/?o|.{0,12}of age)"
    r"|(?:\bage of|\baged?:?|\bage is) (\d{1,3})(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NamesModel:
    """Both taggers with their lists."""

    latin: Tagger
    chinese: Tagger
    gazetteers: Gazetteers
    surnames: frozenset[str]
    pairs: frozenset[int]


@cache
def names_model(path: Path = MODEL) -> NamesModel:
    """Read a model file."""
    arrays = load_arrays(path)
    lists = {name[5:]: frozenset(keys.tolist()) for name, keys in arrays.items() if name.startswith("list_")}
    return NamesModel(
        tagger_from(arrays, "latin"),
        tagger_from(arrays, "chinese"),
        Gazetteers(lists),
        frozenset(map(str, arrays["surnames"])),
        frozenset(arrays["pairs"].tolist()),
    )


def find_names(text: str, taken: Sequence[tuple[int, int]] = ()) -> Iterator[tuple[int, int, str]]:
    """(start, end, type) of names and what goes with them; `taken` are spans that are known to be something else."""
    for start, end in find_sites(text):
        yield start, end, "DOMAIN_NAME"
    for match in _DATE.finditer(text):
        yield *match.span(), "DATE_TIME"
    for match in _YEAR.finditer(text):
        yield *match.span(1), "DATE_TIME"
    for match in _AGE.finditer(text):
        yield *match.span(1 if match[1] else 2), "AGE"
    model = names_model()
    if _LETTER.search(text):
        yield from _latin_names(text, model, taken)
    for run in _CHINESE_RUN.finditer(text):
        yield from _chinese_names(run, model)


def _latin_names(text: str, model: NamesModel, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, str]]:
    blocked, lower = _Blocked(taken), text.islower()
    words = [word for word in words_of(text) if not blocked.holds(word[1])]
    tags = model.latin.tag(latin_features([word for word, _, _ in words], model.gazetteers))
    found = list(spans_of(tags)) if lower else _completed(list(spans_of(tags)), words, model.gazetteers)
    for first, last, kind in found:
        start, end = words[first][1], words[last - 1][2]
        if not lower and text[start:end].islower():
            continue
        if kind in ("PERSON", "GPE") and text[end - 1] == "." and words[last - 1][2] - words[last - 1][1] > 2:
            end -= 1
        yield start, end, kind


def _completed(
    spans: list[tuple[int, int, str]], words: list[tuple[str, int, int]], gazetteers: Gazetteers
) -> list[tuple[int, int, str]]:
    """Persons with the rest of their names: neighbours that look like one, and the same name elsewhere in the text."""
    homes = {index: number for number, (first, last, _) in enumerate(spans) for index in range(first, last)}
    grown: list[tuple[int, int, str]] = []
    for first, last, kind in spans:
        if grown and first < grown[-1][1]:
            continue
        if kind == "GPE" and first and first - 1 not in homes and _is_given(words, first - 1, gazetteers):
            first, kind = first - 1, "PERSON"
        if kind == "PERSON":
            while last < len(words) and _continues(words, last, gazetteers, homes, spans):
                last += 1
        grown.append((first, last, kind))
    known = {
        words[index][0]
        for first, last, kind in grown
        if kind == "PERSON" and last - first > 1
        for index in range(first, last)
        if _is_name_like(words[index][0], gazetteers)
    }
    inside = {index for first, last, _ in grown for index in range(first, last)}
    countries = [
        (i, i + 1, "GPE")
        for i, word in enumerate(words)
        if i not in inside
        and word[0][0].isupper()
        and set(gazetteers.classes(word[0])) <= set("NP")
        and len(word[0]) > 3
    ]
    again = [(i, i + 1, "PERSON") for i, word in enumerate(words) if word[0] in known and i not in inside]
    return sorted([*grown, *again, *(place for place in countries if words[place[0]][0] not in known)])


def _is_given(words: list[tuple[str, int, int]], index: int, gazetteers: Gazetteers) -> bool:
    word, _, end = words[index]
    return word[0].isupper() and "F" in gazetteers.classes(word) and words[index + 1][1] == end + 1


def _is_name_like(word: str, gazetteers: Gazetteers) -> bool:
    """A capitalised word that is no ordinary word of English."""
    classes = gazetteers.classes(word)
    return len(word) > 2 and word[0].isupper() and not word.isupper() and not set("DMHSNAJ") & set(classes)


def _continues(
    words: list[tuple[str, int, int]],
    index: int,
    gazetteers: Gazetteers,
    homes: dict[int, int],
    spans: list[tuple[int, int, str]],
) -> bool:
    word, start, _ = words[index]
    if start != words[index - 1][2] + 1 or not word[0].isupper():
        return False
    if not _is_name_like(word, gazetteers):
        # An ordinary word with a capital, in the midst of small ones, behind a given name: Albert Einstein, Elon Musk.
        following = words[index + 1][0] if index + 1 < len(words) else "."
        ordinary = set(gazetteers.classes(word)) <= set("DL-") and "F" in gazetteers.classes(words[index - 1][0])
        return ordinary and len(word) > 2 and not word.isupper() and not following[0].isupper() and index not in homes
    return index not in homes or spans[homes[index]][2] in ("GPE", "PERSON")


def _chinese_names(run: re.Match[str], model: NamesModel) -> Iterator[tuple[int, int, str]]:
    tags = model.chinese.tag(chinese_features(run.group(), model.surnames, model.pairs))
    for first, last, kind in spans_of(tags):
        if 2 <= last - first <= 4 or _CHINESE_TITLE.match(run.group(), last):
            yield run.start() + first, run.start() + last, kind


class _Blocked:
    """Whether a position lies in one of some sorted spans; asked in rising order."""

    def __init__(self, spans: Sequence[tuple[int, int]]) -> None:
        self._spans, self._index = spans, 0

    def holds(self, position: int) -> bool:
        while self._index < len(self._spans) and self._spans[self._index][1] <= position:
            self._index += 1
        return self._index < len(self._spans) and self._spans[self._index][0] <= position
