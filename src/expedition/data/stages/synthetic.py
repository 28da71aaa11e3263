"""The stage: what generators leave in their texts by mistake, and who made how much."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult

_REFUSAL: Final = re.compile(
    r"\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b"
    r"|\bi(?:['’]m| am) (?:sorry|unable|afraid)[^.\n]{0,60}\b(?:can(?:no|['’])t|not able|unable|assist|fulfil+|comply)\b"
    r"|\bi (?:cannot|can['’]t) (?:assist|help|fulfil+|comply) (?:with )?(?:that|this|your) (?:request|query)?"
    r"|作为一个?(?:ai|人工智能)(?:语言)?(?:模型|助手)|抱歉[，,]?我(?:无法|不能)",
    re.IGNORECASE,
)
_UNFILLED: Final = re.compile(
    r"\{\{\s*\w[\w .]{0,40}\s*\}\}|\[(?:insert|your|name of|placeholder|todo|fill in)\b[^\]\n]{0,60}\]"
    r"|<(?:insert|placeholder|your)[ _-][^>\n]{0,60}>",
    re.IGNORECASE,
)
_HEAD_CHARACTERS: Final = 600
"""Refusals stand at the beginning; further on a text may speak about them."""


@dataclass(frozen=True, slots=True)
class SyntheticChecks:
    """Drops generated texts that are refusals or unfilled templates, and counts them by generator.

    Provenance comes with the document (generator, version, seed, hash of the prompt; the connector `generator` writes it)
    and is kept in its meta. Counts hold documents by generator and version, and those whose maker is not stated. How much
    of a version may be synthetic is the mix's `max_synthetic_share`.

    Reasons:
    refusal of a model: "as an AI language model", "I'm sorry, but I can't assist", "作为AI语言模型" within its first 600
    characters.
    unfilled template: {{name}}, [INSERT …], <your name>.

    Thresholds:
    none but the 600 characters; the phrases are those that the filters of Alpaca-cleaned and ShareGPT sets look for.

    Keeps: texts without stated provenance, which are counted; talk about assistants further on in a text.
    """

    kinds: frozenset[str] = frozenset({"synthetic"})
    name: str = "synthetic_checks"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        maker = row.meta.get("generator")
        version = row.meta.get("generator_version", "of no stated version")
        counts = {f"made by {maker} {version}" if isinstance(maker, str) else "maker not stated": 1}
        if _REFUSAL.search(row.text[:_HEAD_CHARACTERS]):
            return Outcome(drop="refusal of a model", counts=counts)
        if _UNFILLED.search(row.text):
            return Outcome(drop="unfilled template", counts=counts)
        return Outcome(counts=counts)
