"""What each stage changed in a document, in one short string that goes with it: `repair:mojibake;pii:redacted`.

Stages add to it while a document passes them; it ends as the column `decisions` of the lineage (kept documents) and of
the dropped ones. A stage of the document's kind that is not named left it as it was. Few strings differ, so the column
is a dictionary and some bits a document on disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

META = "decisions"
"""Where a document's meta holds the string on its way."""


def recorded(batch: pa.RecordBatch, stage: str, changes: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    """`batch` with what `stage` changed (document id → reasons) added to the documents' meta."""
    if not changes:
        return batch
    names = batch.column("id").to_pylist()
    metas = [
        meta if name not in changes else _added(meta, stage, changes[name])
        for name, meta in zip(names, batch.column("meta").to_pylist(), strict=True)
    ]
    place = batch.schema.get_field_index("meta")
    return batch.set_column(place, batch.schema.field(place), pa.array(metas, batch.schema.field(place).type))


def decisions_of(meta: str | None) -> str:
    """The string in a document's meta; empty if no stage changed it."""
    if not meta or META not in meta:
        return ""
    return str(json.loads(meta).get(META, ""))


def parse_decisions(text: str | None) -> list[dict[str, Any]]:
    """[{stage, changed: [reasons]}] in the order in which stages ran."""
    parts = [part.partition(":") for part in (text or "").split(";") if part]
    return [{"stage": stage, "changed": reasons.split(",")} for stage, _, reasons in parts]


def _added(meta: str | None, stage: str, reasons: Sequence[str]) -> str:
    told = json.loads(meta or "{}")
    step = f"{stage}:{','.join(sorted({_plain(reason) for reason in reasons}))}"
    told[META] = f"{told[META]};{step}" if told.get(META) else step
    return json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _plain(reason: str) -> str:
    return reason.translate({ord(","): " ", ord(";"): " ", ord(":"): " "})
