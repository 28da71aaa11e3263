"""The stage: the language of each document, with its confidence in meta, and shares by paragraph of mixed pages."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.language.cascade import Guess, identify_many
from expedition.data.stages.language.tags import primary
from expedition.data.stages.stage import StageResult


@dataclass(frozen=True, slots=True)
class Language:
    """Names the language of each document as a BCP-47 tag, dialects and minority languages included.

    How: the line's shape says whether it is in any language at all; then its script; Chinese by the function words of
    its varieties (zh-Hans, zh-Hant, yue, wuu, nan, hak, gan, hsn); own character n-gram profiles of some 500 languages
    where they are sure; else those with lid.176 and CLD2 in one log-linear model; or an external fastText model
    (GlotLID, OpenLID) by path. Meta gets `language_confidence`, `language_by` and, where paragraphs differ,
    `language_shares`: the share of characters by tag. A language that the source declares is kept where the text is too
    short or too odd to tell another. Code is left without a language.

    Reasons:
        language <tag>: the programme allows a set of languages, and this is none of them.
    Thresholds:
        short, 40 characters: up to it a declaration outranks any guess; measured: of the first two to six words of
        interface texts .89 are told rightly, of whole lines .97 (`benchmarks/quality/language_weights.py`).
        middling, 200 characters, and confidence 0.5: up to it a declaration outranks an unsure guess.
        looked at, 600 characters: of a longer document, four pieces of 150 at even distances; its first 3,000 where those
        are in no language.
        paragraph, 40 characters: the shortest that has a say of its own, by its first 120; mixed, 0.1: share from which it
        is told; looks, 10: paragraphs at even distances, of which one must be in another language before all, 200 at the
        most, are looked at. Measured on 300 texts mixed of the Universal Declaration's articles: shares of a fifth and
        more are told in .95 to .98, as when every paragraph is looked at; one tenth in half.
        agreed, 4 paragraphs: where all of the ten that name a language name the same, it is the document's.
        letters 0.55, names 0.85, scripts 0.62: `undetermined.py`, measured on the articles of the Universal Declaration.
        settled, 3.0 nats: `combine.py`, measured on lines that the profiles were not trained on.
    Keeps: every language and script; without `allowed` no document is dropped.
    """

    kinds: frozenset[str]
    allowed: frozenset[str] | None = None
    """Primary tags that may stay; None keeps every language, "und" included."""
    model: Path | None = None
    """Profiles (.npz) in place of the packaged ones, or a fastText file (.bin, .ftz) beside them; None: the packaged."""
    name: str = "language"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        kinds = batch.column("kind").to_pylist()
        if self.kinds.isdisjoint(kinds):
            return StageResult(batch)
        texts = {
            text or ""
            for text, kind in zip(batch.column("text").to_pylist(), kinds, strict=True)
            if kind in self.kinds and kind != "code"
        }
        ordered = sorted(texts)
        found = dict(zip(ordered, identify_documents(ordered, self.model), strict=True))
        return map_documents(batch, self.kinds, lambda row: self._decide(row, found))

    def _decide(self, row: Row, found: dict[str, DocumentGuess]) -> Outcome:
        if row.kind == "code":
            return KEEP
        document = found[row.text]
        guess = document.guess
        declared = row.language if row.language not in (None, "", "und") else None
        tag, confidence, by = guess.tag, guess.confidence, guess.by
        if declared and _prefers_declared(declared, tag, confidence, len(row.text)):
            tag, confidence, by = declared, 0.5, "declared"
        if self.allowed is not None and primary(tag) not in self.allowed:
            return Outcome(drop=f"language {tag}", counts={f"language {tag}": 1})
        meta: dict[str, Any] = {"language_confidence": confidence, "language_by": by}
        if document.shares:
            meta["language_shares"] = document.shares
        counts = {f"language {tag}": 1, **({"mixed page": 1} if document.shares else {})}
        return Outcome(language=tag, meta=meta, counts=counts)


@dataclass(frozen=True, slots=True)
class DocumentGuess:
    """A document's language, and the share of its characters by tag; no shares where one language has nearly all."""

    guess: Guess
    shares: dict[str, float]


_SHORT: Final = 40
_MIDDLING: Final = 200
_PARAGRAPH: Final = 40
_MIXED: Final = 0.1
_LOOKS: Final = 10
"""Paragraphs that are looked at first, in the middles of as many equal parts of the text: what lies together and is as
large as the least share that is told holds one of them."""
_MAX_PARAGRAPHS: Final = 200
_AGREED: Final = 4
"""Paragraphs that, where all are in one language, say which the document's is."""
_PARAGRAPH_HEAD: Final = 120
"""Characters of a paragraph that are looked at."""
_PIECES: Final = 4
_PIECE: Final = 150
"""Characters of a piece: a longer text is judged by as many pieces, from its beginning to its end at even distances."""


def identify_documents(texts: list[str], model: Path | None = None) -> list[DocumentGuess]:
    """The language of each document and, where its paragraphs differ, their shares.

    Ten paragraphs of 40 characters and more are looked at, each by its first 120. Where four and more agree, their language
    is the document's; else it is judged by at most 600 characters spread over it, or by its first 3,000 where those are
    in no language. Only where one of the ten is in another language have the first 200 a say, and the main language is
    then that of the most characters.
    """
    parts = [_paragraphs(text) for text in texts]
    looks = [_spread(found) for found in parts]
    heads = [parts[number][place][:_PARAGRAPH_HEAD] for number, places in enumerate(looks) for place in places]
    guesses = iter(identify_many(heads, model))
    seen = [{place: next(guesses) for place in places} for places in looks]
    agreed = [_agreed(list(found.values())) for found in seen]
    guesses = iter(
        identify_many([_sample(text) for text, guess in zip(texts, agreed, strict=True) if guess is None], model)
    )
    whole = [next(guesses) if guess is None else guess for guess in agreed]
    lost = [
        number for number, guess in enumerate(whole) if guess.tag == "und" and len(texts[number]) > _PIECES * _PIECE
    ]
    for number, guess in zip(lost, identify_many([texts[number] for number in lost], model), strict=True):
        whole[number] = guess
    open_ = [
        number
        for number, found in enumerate(seen)
        if any(guess.tag not in ("und", whole[number].tag) for guess in found.values())
    ]
    rest = [(number, place) for number in open_ for place in range(len(parts[number])) if place not in seen[number]]
    late = identify_many([parts[number][place][:_PARAGRAPH_HEAD] for number, place in rest], model)
    for (number, place), guess in zip(rest, late, strict=True):
        seen[number][place] = guess
    mixed = {number: [(seen[number][place], len(part)) for place, part in enumerate(parts[number])] for number in open_}
    return [_document(guess, mixed.get(number, [])) for number, guess in enumerate(whole)]


def _agreed(guesses: list[Guess]) -> Guess | None:
    """The most sure of guesses of which all that name a language name the same; None for fewer than `_AGREED`, or where
    only longer text tells (varieties of Chinese)."""
    named = [guess for guess in guesses if guess.tag != "und"]
    if len(named) < max(_AGREED, len(guesses) / 2) or any(guess.by == "own words" for guess in named):
        return None
    if len({guess.tag for guess in named}) > 1:
        return None
    return max(named, key=lambda guess: (guess.confidence, guess.by == "profiles"))


def _sample(text: str) -> str:
    """A text, or pieces of it at even distances, joined by blanks."""
    if len(text) <= _PIECES * _PIECE:
        return text
    step = (len(text) - _PIECE) / (_PIECES - 1)
    starts = [round(number * step) for number in range(_PIECES)]
    return " ".join(text[start : start + _PIECE] for start in starts)


def _paragraphs(text: str) -> list[str]:
    if len(text) < 2 * _PARAGRAPH:
        return []
    found = [part for part in text.split("\n") if len(part) >= _PARAGRAPH][:_MAX_PARAGRAPHS]
    return found if len(found) > 1 else []


def _spread(parts: list[str]) -> list[int]:
    """Places of the paragraphs that hold the middles of `_LOOKS` equal parts; all places where there are no more."""
    if len(parts) <= _LOOKS:
        return list(range(len(parts)))
    ends = list(accumulate(map(len, parts)))
    step = ends[-1] / _LOOKS
    return sorted({bisect_right(ends, (number + 0.5) * step) for number in range(_LOOKS)})


def _document(whole: Guess, parts: list[tuple[Guess, int]]) -> DocumentGuess:
    sizes: Counter[str] = Counter()
    for guess, size in parts:
        if guess.tag != "und":
            sizes[guess.tag] += size
    total = sum(sizes.values())
    shares = {tag: round(size / total, 3) for tag, size in sizes.most_common() if size >= _MIXED * total}
    if len(shares) < 2:
        return DocumentGuess(whole, {})
    main = next(iter(shares))
    if main != whole.tag:
        best = max((guess for guess, _ in parts if guess.tag == main), key=lambda guess: guess.confidence)
        whole = Guess(main, round(best.confidence * shares[main], 3), "paragraphs")
    return DocumentGuess(whole, shares)


def _prefers_declared(declared: str, tag: str, confidence: float, length: int) -> bool:
    if primary(declared) == primary(tag):
        return False
    return tag == "und" or length <= _SHORT or (confidence < 0.5 and length <= _MIDDLING)
