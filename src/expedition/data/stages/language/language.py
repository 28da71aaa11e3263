"""The stage: the language of each document, with its confidence in meta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.language.cascade import identify
from expedition.data.stages.language.tags import primary
from expedition.data.stages.stage import StageResult


@dataclass(frozen=True, slots=True)
class Language:
    """Stage: set `language` and meta `language_confidence`, `language_by`.

    A language that the source declares is kept where the text is too short or too odd to tell another. Code is left
    without a language.
    """

    kinds: frozenset[str]
    allowed: frozenset[str] | None = None
    """Primary tags that may stay; None keeps every language, "und" included."""
    name: str = "language"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        if row.kind == "code":
            return KEEP
        guess = identify(row.text)
        declared = row.language if row.language not in (None, "", "und") else None
        tag, confidence, by = guess.tag, guess.confidence, guess.by
        if declared and _prefers_declared(declared, tag, confidence, len(row.text)):
            tag, confidence, by = declared, 0.5, "declared"
        if self.allowed is not None and primary(tag) not in self.allowed:
            return Outcome(drop=f"language {tag}", counts={f"language {tag}": 1})
        return Outcome(
            language=tag,
            meta={"language_confidence": confidence, "language_by": by},
            counts={f"language {tag}": 1},
        )


_SHORT: Final = 40
"""Characters up to which a declaration outranks any guess."""
_MIDDLING: Final = 200
"""Characters up to which it outranks an unsure guess."""


def _prefers_declared(declared: str, tag: str, confidence: float, length: int) -> bool:
    if primary(declared) == primary(tag):
        return False
    return tag == "und" or length <= _SHORT or (confidence < 0.5 and length <= _MIDDLING)
