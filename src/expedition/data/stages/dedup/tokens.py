"""Text as comparable tokens: case, punctuation and spaces do not count.

A token is a word; in texts whose letters are mostly of scripts without spaces each such character is a token. So an
n-gram of tokens is a word n-gram in English and a character n-gram in Chinese or Thai.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9ff\uaa60-\uaaff"
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\U00020000-\U000323af"
)
# Combining marks belong to their word; \w leaves them out.
_MARKS: Final = (
    "\u0300-\u036f\u0591-\u05c7\u064b-\u0655\u0900-\u0903\u093a-\u094f\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03"
    "\u0a3c-\u0a51\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bcd\u0c00-\u0c04\u0c3e-\u0c56"
    "\u0c81-\u0c83\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d4d\u0d82\u0d83\u0dca-\u0ddf"
)
_CHARACTERS: Final = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_MARKS}])+")
_WORDS: Final = re.compile(f"(?:[^\\W_]|[{_MARKS}{_UNSPACED}])+")
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]+")
# Letters and digits of ASCII to lower case, all else to a space: the words of _WORDS where a text is ASCII.
_ASCII_WORDS: Final = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))
_PIECE_CHARACTERS: Final = 1 << 22
_KNOWN_TOKENS: Final = 1 << 18
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)


def tokens(text: str) -> list[str]:
    """Tokens of a text, case-folded and compatibility-normalised."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return (_CHARACTERS if is_unspaced(folded) else _WORDS).findall(folded)


def fine_tokens(text: str) -> list[str]:
    """Tokens for finding one text inside another of any language: characters of unspaced scripts always stand alone."""
    return _CHARACTERS.findall(unicodedata.normalize("NFKC", text).casefold())


def is_unspaced(text: str) -> bool:
    """Whether most letters of the text (of its first 20,000 characters) are of scripts without spaces."""
    sample = text[:20_000]
    if sample.isascii():
        return False
    unspaced = sum(map(len, _IS_UNSPACED.findall(sample)))
    return 2 * unspaced > sum(map(str.isalpha, sample))


def normalised(text: str) -> str:
    """The text's tokens joined by spaces: equal for texts that differ in case, spaces and punctuation only."""
    return " ".join(tokens(text))


def token_pieces(text: str) -> Iterator[list[bytes]]:
    """The tokens of a text in UTF-8, those of about four million characters at a time: a bound on memory.

    Pieces are cut at white space where there is any near.
    """
    if text.isascii():
        for piece in _pieces(text):
            yield piece.encode().translate(_ASCII_WORDS).split()
        return
    pattern = _CHARACTERS if is_unspaced(unicodedata.normalize("NFKC", text[:20_000]).casefold()) else _WORDS
    for piece in _pieces(text):
        folded = unicodedata.normalize("NFKC", piece).casefold()
        yield [token.encode() for token in pattern.findall(folded)]


def token_hashes(found: Sequence[str | bytes]) -> Hashes:
    """One 64-bit hash a token, stable over processes and machines."""
    known = _KNOWN.__getitem__
    encoded = (token.encode() if isinstance(token, str) else token for token in found)
    return np.fromiter(map(known, encoded), np.uint64, len(found))


def byte_token_hashes(found: list[bytes]) -> Hashes:
    """`token_hashes` of tokens in UTF-8."""
    return np.fromiter(map(_KNOWN.__getitem__, found), np.uint64, len(found))


class _Known(dict[bytes, int]):
    """Hashes of tokens that were seen; forgotten when there are too many."""

    def __missing__(self, token: bytes) -> int:
        if len(self) >= _KNOWN_TOKENS:
            self.clear()
        value = self[token] = xxhash.xxh3_64_intdigest(token)
        return value


_KNOWN: Final = _Known()


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        end = start + _PIECE_CHARACTERS
        space = text.rfind(" ", end - 4096, end)
        end = space if space > 0 else end
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def ngram_hashes(hashes: Hashes, size: int) -> Hashes:
    """Hash of each n-gram of `size` tokens, in order; empty where there are fewer tokens."""
    count = len(hashes) - size + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    rolled = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(size):
            rolled = rolled * _MULTIPLIER + hashes[offset : offset + count]
        # A polynomial alone leaves low bits weak; fold the high half in.
        return (rolled ^ (rolled >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
