"""Text as comparable tokens: case, punctuation, spaces, apostrophes and invisible characters do not count.

A token is a word; in texts whose letters are mostly of scripts without spaces every letter and digit is a token. So an
n-gram of tokens is a word n-gram in English and a character n-gram in Chinese or Thai.

`tokens` and `fine_tokens` say what a token is; `hashed` gives the hashes of the same tokens for many texts at once, as
arithmetic on code points: a word's hash is a polynomial of its characters, taken from prefix sums modulo 2^64.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

Hashes = npt.NDArray[np.uint64]
_Codes = npt.NDArray[np.uint32]
_Flags = npt.NDArray[np.bool_]

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
# Soft hyphens, joiners, zero-width spaces, direction and variation marks are no part of what is read; apostrophes are
# left out by many (don't, dont), and come in several shapes.
_LEFT_OUT: Final = (
    "'\u00ad\u02bc\u2018\u2019\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff\uff07"
)
_CHARACTERS: Final = re.compile(f"[^\\W_]|[{_MARKS}{_UNSPACED}]")
_WORDS: Final = re.compile(f"(?:[^\\W_]|[{_MARKS}{_UNSPACED}])+")
_FINE: Final = re.compile(f"[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_MARKS}])+")
_IS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_IS_LEFT_OUT: Final = re.compile(f"[{_LEFT_OUT}]+")
_SAMPLE: Final = 20_000
"""Characters from whose letters a text's kind of token is told."""
_BLOCK: Final = 1 << 17
"""Characters that are hashed at once: their arrays fit a processor's cache."""
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_FINISHER: Final = np.uint64(0xBF58476D1CE4E5B9)
_BASE: Final = 0xD6E8FEB86659FD93
_BASE_INVERSE: Final = pow(_BASE, -1, 1 << 64)
_SPACE: Final = np.uint32(32)
_SLOW, _DROPPED = np.uint32(0xFFFFFFFF), np.uint32(0xFFFFFFFE)
_KEPT, _ALONE, _LETTER = (np.uint8(1 << bit) for bit in range(3))


def tokens(text: str) -> list[str]:
    """Tokens of a text, case-folded and compatibility-normalised."""
    folded = _folded(text)
    return (_CHARACTERS if _unspaced(folded) else _WORDS).findall(folded)


def fine_tokens(text: str) -> list[str]:
    """Tokens for finding one text inside another of any language: characters of unspaced scripts stand alone, and all
    else is words, whatever the text is mostly of."""
    return _FINE.findall(_folded(text))


def fine_excerpt(text: str, first: int, last: int) -> str:
    """The folded text from the start of fine token `first` to the end of fine token `last`."""
    folded = _folded(text)
    found = list(islice(_FINE.finditer(folded), first, last + 1))
    return folded[found[0].start() : found[-1].end()] if found else ""


def is_unspaced(text: str) -> bool:
    """Whether most letters of the text (of its first 20,000 characters) are of scripts without spaces."""
    return not text.isascii() and _unspaced(_folded(text[:_SAMPLE]))


def normalised(text: str) -> str:
    """The text's tokens joined by spaces: equal for texts that differ in case, spaces and punctuation only."""
    return " ".join(tokens(text))


@dataclass(frozen=True, slots=True)
class Hashed:
    """Neighbouring texts as token hashes end to end."""

    hashes: Hashes
    offsets: npt.NDArray[np.int64]
    """Of each text's first token, and the end [texts + 1]."""
    contents: list[bytes]
    """128-bit hash of each text's tokens and of where words end."""


def hashed(texts: Sequence[str], *, fine: bool = False) -> Iterator[Hashed]:
    """Hashes of the `tokens` (or `fine_tokens`) of the texts, in their order, stable over processes and machines.

    Short texts share a block; one that is longer than a block is read in pieces, cut at spaces where there are any near.
    """
    waiting: list[str] = []
    held = 0
    for text in texts:
        if waiting and held + len(text) > _BLOCK:
            yield _short(waiting, fine)
            waiting, held = [], 0
        if len(text) > _BLOCK:
            yield _long(text, fine)
        else:
            waiting.append(text)
            held += len(text)
    if waiting:
        yield _short(waiting, fine)


def token_hashes(found: Sequence[str]) -> Hashes:
    """Hashes of single tokens, as `hashed` gives them."""
    block = _Block(list(found), [False] * len(found), fine=False)
    return block.hashes


def ngram_hashes(hashes: Hashes, size: int) -> Hashes:
    """Hash of each n-gram of `size` tokens, in order; empty where there are fewer tokens."""
    return next(found for _, found in ngrams_by_size(hashes, [size]))


def ngrams_by_size(hashes: Hashes, sizes: Sequence[int]) -> Iterator[tuple[int, Hashes]]:
    """`ngram_hashes` for rising sizes, each made from the one before it."""
    rolled, reached = hashes.copy(), 1
    with np.errstate(over="ignore"):
        for size in sizes:
            rolled = rolled[: max(0, len(hashes) - size + 1)]
            for offset in range(reached, size):
                rolled *= _MULTIPLIER
                rolled += hashes[offset : offset + len(rolled)]
            reached = size
            yield size, _mixed(rolled)


def _short(texts: list[str], fine: bool) -> Hashed:
    block = _Block(texts, None, fine)
    return Hashed(block.hashes, block.offsets, [xxhash.xxh3_128_digest(content) for content in block.contents()])


def _long(text: str, fine: bool) -> Hashed:
    single: list[bool] | None = None
    content, parts = xxhash.xxh3_128(), []
    for piece in _pieces(text):
        block = _Block([piece], single, fine)
        single = block.single
        content.update(block.contents()[0])
        parts.append(block.hashes)
    hashes = np.concatenate(parts)
    return Hashed(hashes, np.array([0, len(hashes)], np.int64), [content.digest()])


class _Block:
    """A few texts as folded code points: which are kept, where tokens start and end, what they hash to."""

    def __init__(self, texts: list[str], single: list[bool] | None, fine: bool) -> None:
        self._codes, self._ends = _folded_codes(texts)
        lengths = np.diff(self._ends, prepend=0)
        self._classes = _classes()[self._codes]
        self._kept: _Flags = (self._classes & _KEPT).view(np.bool_)
        self._alone: _Flags | None
        if fine:
            self.single = [False] * len(texts)
            alone = (self._classes & _ALONE) != 0
            self._alone = alone if alone.any() else None
        else:
            self.single = single if single is not None else self._unspaced(self._ends - lengths)
            self._alone = np.repeat(self.single, lengths) if any(self.single) else None
        self.hashes, self.offsets = self._hash()

    def _unspaced(self, starts: npt.NDArray[np.int64]) -> list[bool]:
        """Of each text, whether most letters of its sample are of scripts without spaces."""
        if not (self._classes & _ALONE).any():
            return [False] * len(starts)
        told = []
        for start, end in zip(starts.tolist(), self._ends.tolist(), strict=True):
            sample = self._classes[start : min(end, start + _SAMPLE)]
            told.append(bool(2 * np.count_nonzero(sample & _ALONE) > np.count_nonzero(sample & _LETTER)))
        return told

    def _hash(self) -> tuple[Hashes, npt.NDArray[np.int64]]:
        kept, alone = self._kept, self._alone
        # The last code is a line end, so every run has an end and roll never joins the ends.
        first, last = kept & ~np.roll(kept, 1), kept & ~np.roll(kept, -1)
        if alone is not None:
            alone = kept & alone
            first, last = first | alone | (kept & np.roll(alone, 1)), last | alone | (kept & np.roll(alone, -1))
        starts, ends = np.flatnonzero(first), np.flatnonzero(last)
        powers, inverse = _powers(len(self._codes))
        with np.errstate(over="ignore"):
            values = np.where(kept, _values().take(self._codes, mode="clip"), np.uint64(0))
            values *= powers[: len(values)]
            sums = np.cumsum(values, out=values)
            # Where a token starts right after another the sum before it is not a gap's.
            hashes = sums[ends] - np.where(starts > 0, sums[starts - 1], np.uint64(0))
            hashes = _mixed(hashes * inverse[starts])
        return hashes, np.concatenate(([0], np.searchsorted(starts, self._ends))).astype(np.int64)

    def contents(self) -> list[memoryview]:
        """Of each text the kept characters, a space after each word."""
        kept = self._kept
        after = np.roll(kept, 1) & ~kept
        if any(self.single):
            after &= ~np.repeat(self.single, np.diff(self._ends, prepend=0))
        places = np.flatnonzero(kept | after)
        shown = np.where(kept, self._codes, _SPACE)[places]
        edges = np.concatenate(([0], np.searchsorted(places, self._ends))).tolist()
        whole = shown.data.cast("B")
        return [whole[4 * a : 4 * b] for a, b in pairwise(edges)]


def _folded_codes(texts: list[str]) -> tuple[_Codes, npt.NDArray[np.int64]]:
    """Code points of the folded texts, a line end after each, and where each ends.

    Folding is a look at a table, character by character. Texts with a character that takes its neighbours or becomes
    several (combining marks, ligatures) are folded by `_folded`.
    """
    joined = "\n".join(texts) + "\n"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    folded = _folds()[codes]
    slow = np.unique(np.searchsorted(ends, np.flatnonzero(folded == _SLOW), "right")).tolist()
    if slow:
        starts = [0, *ends.tolist()]
        parts = [folded[a:b] for a, b in pairwise(starts)]
        for number in slow:
            whole = _folded(texts[number]) + "\n"
            parts[number] = np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32)
        ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
        folded = np.concatenate(parts)
    left = folded != _DROPPED
    if not left.all():
        ends = np.cumsum(left)[ends - 1]
        folded = folded[left]
    return folded, ends


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower().replace("'", "")
    return unicodedata.normalize("NFKC", _IS_LEFT_OUT.sub("", text)).casefold()


def _unspaced(folded: str) -> bool:
    sample = folded[:_SAMPLE]
    if sample.isascii():
        return False
    return 2 * len(_IS_UNSPACED.findall(sample)) > sum(map(str.isalpha, sample))


def _mixed(hashes: Hashes) -> Hashes:
    # A polynomial alone leaves low bits weak; fold the high half in.
    return (hashes ^ (hashes >> np.uint64(29))) * _FINISHER


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _BLOCK:
        end = start + _BLOCK
        space = text.rfind(" ", end - 4096, end)
        end = space if space > 0 else end
        yield text[start:end]
        start = end
    yield text[start:]


@lru_cache(maxsize=1)
def _folds() -> _Codes:
    """What `_folded` makes of each code point by itself: another one, nothing (`_DROPPED`), or `_SLOW`: see
    `_folded_codes`. Ideographs, Hangul syllables and what lies above plane 2 fold to themselves."""
    table = np.arange(0x110000, dtype=np.uint32)
    ranges = ((0, 0x3400), (0x4DC0, 0x4E00), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xF900, 0x20000), (0x2F800, 0x2FA20))
    for code in (code for first, end in ranges for code in range(first, end)):
        character = chr(code)
        folded = _folded(character)
        if not folded:
            table[code] = _DROPPED
        elif len(folded) > 1 or unicodedata.category(character)[0] == "M" or _is_jamo(code):
            table[code] = _SLOW
        else:
            table[code] = ord(folded)
    return table


def _is_jamo(code: int) -> bool:
    return 0x1100 <= code < 0x1200 or 0xA960 <= code < 0xA980 or 0xD7B0 <= code < 0xD800


@lru_cache(maxsize=1)
def _classes() -> npt.NDArray[np.uint8]:
    """What each code point is to a token; zero for what is none. No letter lies above plane 3."""
    table = np.zeros(0x110000, np.uint8)
    every = [chr(code) for code in range(0x40000)]
    table[: len(every)] |= np.fromiter(map(str.isalnum, every), np.uint8, len(every)) * _KEPT
    table[: len(every)] |= np.fromiter(map(str.isalpha, every), np.uint8, len(every)) * _LETTER
    for ranges, flag in ((_UNSPACED, _KEPT | _ALONE), (_MARKS, _KEPT)):
        for first, last in _bounds(ranges):
            table[first : last + 1] |= flag
    return table


def _bounds(ranges: str) -> Iterator[tuple[int, int]]:
    """The ranges of a character class."""
    for first, last in re.findall("(.)(?:-(.))?", ranges, re.DOTALL):
        yield ord(first), ord(last or first)


@lru_cache(maxsize=1)
def _values() -> Hashes:
    """A well mixed odd number a code point (splitmix64)."""
    with np.errstate(over="ignore"):
        value = np.arange(1, 0x40001, dtype=np.uint64) * _MULTIPLIER
        value = (value ^ (value >> np.uint64(30))) * _FINISHER
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (value ^ (value >> np.uint64(31))) | np.uint64(1)


_KEPT_POWERS: Final[list[tuple[Hashes, Hashes]]] = []


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """At least `count` powers of the base and of its inverse modulo 2^64."""
    if not _KEPT_POWERS or len(_KEPT_POWERS[0][0]) < count:
        size = max(2 * _BLOCK, 1 << count.bit_length())
        both = []
        for base in (_BASE, _BASE_INVERSE):
            powers = np.full(size, np.uint64(base))
            powers[0] = 1
            with np.errstate(over="ignore"):
                both.append(np.cumprod(powers))
        _KEPT_POWERS[:] = [(both[0], both[1])]
    return _KEPT_POWERS[0]
