"""Generated documents with planted copies, for measuring deduplication at sizes that no folder of real files has.

Every document is a function of its number, so any worker can make any document, and a copy needs nobody's memory.
Words follow a Zipf law. Of a hundred documents

    70   are originals
    10   are exact copies of an original but for case and punctuation
    10   are originals with 1 or 3 % of their words replaced: shingle similarity about .90 and .75, to be found
     3   are originals with 10 % replaced: similarity about .42, not to be found
     7   are boilerplate: one of 20 texts of 150 words, shared by thousands, with about as many words of their own
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.engine.tables import write_batches
from expedition.data.records import DOCUMENT_SCHEMA

ORIGINAL, EXACT, NEAR_1, NEAR_3, FAR_10, BOILERPLATE = range(6)
_SHARES = np.array([70, 80, 85, 90, 93, 100], np.uint64)
_REPLACED = {NEAR_1: 0.01, NEAR_3: 0.03, FAR_10: 0.10}
_STREAM_BITS = 24
_VOCABULARY = 200_000
_TEMPLATES = 20
_TEMPLATE_WORDS = 150
_LEAST_WORDS = 120
_BATCH = 1024
Numbers = npt.NDArray[np.uint64]


def mixed(numbers: Numbers, salt: int) -> Numbers:
    """64 well mixed bits a number (splitmix64)."""
    with np.errstate(over="ignore"):
        value = numbers + np.uint64(0x9E3779B97F4A7C15) * np.uint64(salt + 1)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def classes(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Class of each document. The first hundred are originals, so that copies have something to copy."""
    found = np.searchsorted(_SHARES, mixed(numbers, 1) % np.uint64(100), side="right")
    return np.where(numbers < 100, ORIGINAL, found).astype(np.int64)


def sources(numbers: Numbers) -> Numbers:
    """For each document the original whose words it has: itself, or an earlier one."""
    kinds, found = classes(numbers), numbers.copy()
    waiting = (kinds != ORIGINAL) & (kinds != BOILERPLATE)
    salt = 100
    while waiting.any():
        chosen = mixed(numbers[waiting], salt) % numbers[waiting]
        found[waiting] = chosen
        waiting[waiting] = classes(chosen) != ORIGINAL
        salt += 1
    return found


@dataclass(frozen=True, slots=True)
class MadeFile:
    """Shard function: documents `first` to `last - 1` into `documents.arrow`."""

    mean_words: int

    def __call__(self, bounds: tuple[int, int], folder: Path) -> dict[str, Any]:
        """The summary counts documents and bytes of text."""
        told = {"documents": 0, "text_bytes": 0}
        write_batches(folder / "documents.arrow", DOCUMENT_SCHEMA, self._batches(*bounds, told))
        return told

    def _batches(self, first: int, last: int, told: dict[str, int]) -> Iterator[pa.RecordBatch]:
        for start in range(first, last, _BATCH):
            numbers = np.arange(start, min(start + _BATCH, last), dtype=np.uint64)
            texts = [
                made_text(number, kind, source, self.mean_words)
                for number, kind, source in zip(
                    numbers.tolist(), classes(numbers).tolist(), sources(numbers).tolist(), strict=True
                )
            ]
            count = len(texts)
            column = pa.array(texts, pa.large_string())
            told["documents"] += count
            told["text_bytes"] += column.nbytes
            columns = {
                "id": [f"{number:032x}" for number in numbers.tolist()],
                "source": ["made"] * count,
                "kind": ["web"] * count,
                "path": [f"made/{number}" for number in numbers.tolist()],
                "url": [None] * count,
                "licence": ["CC0-1.0"] * count,
                "language": ["en"] * count,
                "text": column,
                "inserts": [[]] * count,
                "meta": [json.dumps({})] * count,
            }
            yield pa.RecordBatch.from_arrays(
                [pa.array(columns[field.name], field.type) for field in DOCUMENT_SCHEMA], schema=DOCUMENT_SCHEMA
            )


def made_text(number: int, kind: int, source: int, mean_words: int) -> str:
    """The text of one document."""
    vocabulary, _ = _words()
    if kind == BOILERPLATE:
        template = int(mixed(np.array([number], np.uint64), 7)[0]) % 1000
        # Template k is 2^-k of them, about: a few are shared by very many.
        template = min(_TEMPLATES - 1, (1000 // (template + 1)).bit_length())
        words = np.concatenate([_own_words(template, 50, _TEMPLATE_WORDS), _own_words(number, 3, _TEMPLATE_WORDS)])
    else:
        words = _own_words(source, 3, _length(source, mean_words))
    if kind in _REPLACED:
        chance = np.random.Generator(np.random.PCG64(number))
        count = max(1, round(_REPLACED[kind] * len(words)))
        words = words.copy()
        words[chance.choice(len(words), count, replace=False)] = chance.integers(0, _VOCABULARY, count)
    text = " ".join(map(vocabulary.__getitem__, words.tolist()))
    return f"{text.capitalize()}." if kind == EXACT else text


def _length(number: int, mean_words: int) -> int:
    """Words of an original: from `_LEAST_WORDS` up, exponentially rarer, at most 20 times the mean."""
    uniform = (int(mixed(np.array([number], np.uint64), 5)[0]) + 1) / 2**64
    return int(min(20 * mean_words, _LEAST_WORDS - (mean_words - _LEAST_WORDS) * np.log(uniform)))


def _own_words(number: int, salt: int, count: int) -> npt.NDArray[np.int32]:
    """A walk of a stride of its own through the stream of words: two walks share hardly a phrase."""
    _, stream = _words()
    bits = int(mixed(np.array([number], np.uint64), salt)[0])
    start, stride = bits & (len(stream) - 1), (bits >> _STREAM_BITS) | 1
    places = (start + stride * np.arange(count, dtype=np.int64) % len(stream)) & (len(stream) - 1)
    return stream[places]


@lru_cache(maxsize=1)
def _words() -> tuple[list[str], npt.NDArray[np.int32]]:
    """The vocabulary, and 2^24 words by a Zipf law of exponent 1.1."""
    chance = np.random.Generator(np.random.PCG64(11))
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    lengths = np.minimum(2 + np.log2(np.arange(1, _VOCABULARY + 1)) / 2 + chance.integers(0, 4, _VOCABULARY), 14)
    pool = "".join(letters[chance.integers(0, len(letters), 1 << 20)].tolist())
    starts = chance.integers(0, (1 << 20) - 16, _VOCABULARY).tolist()
    vocabulary = [pool[start : start + int(size)] for start, size in zip(starts, lengths.tolist(), strict=True)]
    weights = 1 / np.arange(1, _VOCABULARY + 1) ** 1.1
    edges = np.cumsum(weights / weights.sum())
    stream = np.searchsorted(edges, chance.random(1 << _STREAM_BITS)).clip(max=_VOCABULARY - 1)
    return vocabulary, stream.astype(np.int32)
