"""The stage: the language of each document, with its confidence in meta, and shares by paragraph of mixed pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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
        paragraph, 40 characters: the shortest that has a say of its own; mixed, 0.1: share from which it is told.
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
_MAX_PARAGRAPHS: Final = 200


def identify_documents(texts: list[str], model: Path | None = None) -> list[DocumentGuess]:
    """The language of each document and, where its paragraphs differ, their shares.

    The main language is that of the most characters; the first 200 paragraphs of 40 characters and more have a say.
    """
    parts = [_paragraphs(text) for text in texts]
    guesses = iter(identify_many([*texts, *(part for found in parts for part in found)], model))
    whole = [next(guesses) for _ in texts]
    return [
        _document(guess, [(next(guesses), len(part)) for part in found])
        for guess, found in zip(whole, parts, strict=True)
    ]


def _paragraphs(text: str) -> list[str]:
    found = [part for part in text.split("\n") if len(part) >= _PARAGRAPH][:_MAX_PARAGRAPHS]
    return found if len(found) > 1 else []


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
