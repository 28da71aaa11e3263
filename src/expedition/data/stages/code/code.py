"""The stages of code: licence, file, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from expedition.data.stages.code.artefacts import machine_made
from expedition.data.stages.code.licence import Licence, class_of, is_licence_file, licence_of
from expedition.data.stages.code.secrets import find_secrets
from expedition.data.stages.document_map import KEEP, Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult

CODE = frozenset({"code"})


@dataclass(frozen=True, slots=True)
class CodeLicence:
    """Stage: the licence of each file (its own header, else its repository's as the source gave it) and its class.

    Files whose class is not in `allowed` are dropped under "licence <class>", files without any under "no licence".
    """

    kinds: frozenset[str] = CODE
    allowed: frozenset[str] = frozenset({"permissive"})
    allow_unlicensed: bool = False
    name: str = "code_licence"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        # A licence text states terms for the repository; its own words are not a header of this file.
        own = None if row.licence and is_licence_file(row.path) else licence_of(row.text)
        licence = own or (Licence(row.licence, class_of(row.licence)) if row.licence else None)
        if licence is None:
            return KEEP if self.allow_unlicensed else Outcome(drop="no licence", counts={"licence none": 1})
        counts = {f"licence {licence.klass}": 1}
        if licence.klass not in self.allowed:
            return Outcome(drop=f"licence {licence.klass}", counts=counts)
        return Outcome(licence=licence.spdx, meta={"licence_class": licence.klass}, counts=counts)


@dataclass(frozen=True, slots=True)
class CodeFile:
    """Stage: files that no person wrote are dropped under the reason."""

    kinds: frozenset[str] = CODE
    min_characters: int = 16
    name: str = "code_file"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        if len(row.text.strip()) < self.min_characters:
            return Outcome(drop="too short")
        reason = machine_made(row.path, row.text)
        return Outcome(drop=reason) if reason else KEEP


@dataclass(frozen=True, slots=True)
class CodeSecrets:
    """Stage: credentials become `<TYPE>`; sources in `drop_sources` lose the file instead."""

    kinds: frozenset[str] = CODE
    drop_sources: Mapping[str, bool] = field(default_factory=dict)
    name: str = "code_secrets"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide)

    def _decide(self, row: Row) -> Outcome:
        secrets = find_secrets(row.text)
        if not secrets:
            return KEEP
        counts: dict[str, int] = {}
        for secret in secrets:
            counts[f"found {secret.type}"] = counts.get(f"found {secret.type}", 0) + 1
        if self.drop_sources.get(row.source, False):
            return Outcome(drop="secrets", counts=counts)
        text = row.text
        for secret in reversed(secrets):
            text = f"{text[: secret.start]}<{secret.type}>{text[secret.end :]}"
        return Outcome(text=text, changed=("redacted",), counts=counts)
