"""Whether a transcript can be what is heard: speaking rate by script, words at all, loops of a recogniser."""

from __future__ import annotations

import re
import zlib
from typing import Final

_SYLLABIC: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]")
_UNVOWELLED: Final = re.compile("[\u0590-\u08ff\u0900-\u0dff\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_NOT_SAID: Final = re.compile(
    r"\[[^\[\]]{0,80}\]|\([^()]{0,80}\)|<[^<>]{0,80}>|（[^（）]{0,80}）|【[^【】]{0,80}】|[♪♫#*]+"
)

LETTERS_A_SYLLABLE: Final = 2.5
"""Letters that one Chinese, Japanese or Korean character stands for when speaking rates are compared."""
LETTERS_A_CONSONANT: Final = 1.4
"""In scripts that leave vowels out or write them as marks (Arabic, Hebrew, Indic, Thai, Tibetan, Burmese, Khmer)."""
_LOOP_BYTES: Final = 80
_LOOP_RATIO: Final = 2.4


def spoken_letters(words: str) -> float:
    """Letters and digits that are spoken, as many as an alphabet with vowels would write."""
    letters = float(sum(map(str.isalnum, words)))
    syllables = len(_SYLLABIC.findall(words))
    consonants = sum(character.isalnum() for character in _UNVOWELLED.findall(words))
    result: float = letters + syllables * (LETTERS_A_SYLLABLE - 1) + consonants * (LETTERS_A_CONSONANT - 1)
    return result


def said(transcript: str) -> str:
    """A transcript without what is not said: [music], (applause), <noise>, notes of music."""
    return " ".join(_NOT_SAID.sub(" ", transcript).split())


def loops(words: str) -> bool:
    """Whether a recogniser ran in a loop: a text that deflate shortens more than 2.4 times (Whisper's own bound)."""
    data = words.encode()
    return len(data) >= _LOOP_BYTES and len(data) / len(zlib.compress(data)) > _LOOP_RATIO
