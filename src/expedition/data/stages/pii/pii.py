"""The stage: personal data is dropped, redacted or kept, as the source's policy says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import pyarrow as pa

from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.pii.detectors import DETECTORS
from expedition.data.stages.pii.find import count_by_type, find_pii, redact
from expedition.data.stages.pii.names import PERSONAL_TYPES
from expedition.data.stages.stage import StageResult

Action = Literal["drop", "redact", "keep"]

CODE_TYPES: Final = frozenset({"EMAIL_ADDRESS", "IBAN_CODE", "ID_CARD", "IP_ADDRESS", "US_SSN"})
"""Types looked for in source code, where plain long numbers are constants."""


@dataclass(frozen=True, slots=True)
class PiiPolicy:
    """What to do with personal data, by source."""

    action: Action = "redact"
    by_source: Mapping[str, Action] = field(default_factory=dict)
    """Source name to action; other sources get `action`."""
    types: frozenset[str] | None = None
    """Types looked for; None is every type."""
    names: frozenset[str] = frozenset()
    """Sources in which persons' names are looked for too, by the names model."""

    def action_for(self, source: str) -> Action:
        return self.by_source.get(source, self.action)


@dataclass(frozen=True, slots=True)
class Pii:
    """Find personal data, and drop, redact or keep it as the source's policy says.

    A text is looked at without what hides data in it (zero-width characters, inline tags, character references,
    full-width digits); offsets are those of the original. One look at its digits says which detectors can find anything.
    Each detector is a bounded pattern for the shape, then a checksum, a country's rule, or a word near it. Redaction
    writes typed placeholders (`<PHONE_NUMBER>`), and a second pass changes nothing. Source code is searched for e-mail,
    IP addresses, IBAN and identity numbers only. With `pii_names` a source's texts are searched for persons' names too,
    by a perceptron over words (Latin script) and characters (Chinese). Counts by type go to meta `pii` and to the
    stage's counts as `found <TYPE>`.

    Reasons:
        personal data: TYPE, TYPE …    the source's policy is `drop`, and these types were found
        redacted                       (change) the source's policy is `redact`
    Thresholds:
        card: 12 to 19 digits, Luhn (ISO/IEC 7812-1) and an issuer's range, or a word such as card within 60 characters
        ID_CARD: GB 11643-1999; IBAN: ISO 13616; US_SSN: ranges never issued are none (SSA); NATIONAL_ID: the country's
            own check, as python-stdnum has it; plain digits need a word within 60 characters
        PHONE_NUMBER: 7 to 15 digits (E.164); a shape of no plan needs a word within 60 characters
            looked for from 12 characters before to 96 behind six digits that stand close together
        STREET_ADDRESS: a number of at most 5 digits beside a street word, unit or box; bare names need an announcing word
        IP_ADDRESS: not private, loopback or all parts below 20 (version numbers; measured on web pages)
    Keeps: dates, version numbers, ISBN, prices, page numbers, private networks; the number of inserts (U+FFFC).
    """

    kinds: frozenset[str]
    policy: PiiPolicy = PiiPolicy()
    name: str = "pii"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        named = row.source in self.policy.names and row.kind != "code"
        spans = find_pii(row.text, self._types_for(row.kind, named), names=named)
        if not spans:
            return KEEP
        found = count_by_type(spans)
        counts = {f"found {name}": count for name, count in found.items()}
        action = self.policy.action_for(row.source)
        if action == "drop":
            return Outcome(drop="personal data: " + ", ".join(sorted(found)), counts=counts)
        # Written in a later run over the same text, the types found first stay on record.
        meta = {"pii": {**row.meta.get("pii", {}), **found}}
        if action == "keep":
            return Outcome(meta=meta, counts=counts)
        return Outcome(text=redact(row.text, spans), meta=meta, changed=("redacted",), counts=counts)

    def _types_for(self, kind: str, named: bool) -> frozenset[str] | None:
        types = self.policy.types
        if kind == "code":
            return CODE_TYPES if types is None else CODE_TYPES & types
        # Places, dates and organisations are found with the names, and left: they are what texts are about.
        return frozenset(DETECTORS) | PERSONAL_TYPES if types is None and named else types
