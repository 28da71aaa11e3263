"""What a raw item and a document are: the nouns that sources, stages, versions and loading pass around.

A document's `text` holds one U+FFFC (OBJECT REPLACEMENT CHARACTER) for each of its inserts, in order; text as found
has that character stripped at decode, so it can never be forged by content.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

KINDS: tuple[str, ...] = (
    "web",
    "code",
    "books",
    "image-text",
    "video-text",
    "audio-text",
    "driving",
    "synthetic",
    "chat",
)
"""Every kind of document; the position in this tuple is the `kind` number in a batch."""

PLACEHOLDER = "\ufffc"
"""Stands for one insert in a document's text."""

CAMERAS: tuple[str, ...] = ("front", "front_left", "front_right", "back", "back_left", "back_right")
"""The six cameras of a driving rig, in the order of their streams in a document."""

INSERT_TYPE = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("data", pa.large_binary(), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
    ]
)

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("language", pa.string()),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("inserts", pa.list_(INSERT_TYPE), nullable=False),
        pa.field("meta", pa.string(), nullable=False),
    ]
)
"""Columns of a batch of documents. `language` is BCP-47 or "und"; both `meta` are JSON objects."""


@dataclass(frozen=True, slots=True)
class Record:
    """A raw item as a source gives it, before decoding. `path` is relative to the data folder."""

    id: str
    source: str
    kind: str
    path: str
    url: str | None = None
    licence: str | None = None
    payload: bytes | None = None
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insert:
    """Something that is not text inside a document.

    kind "image": data is a JPEG or PNG; meta width, height (pixels).
    kind "video": data is JPEG frames one after the other; meta width, height, frames, sizes (bytes), timestamps_s.
    kind "audio": data is FLAC, 16 kHz, one channel; meta samples, sample_rate.
    kind "special": name is a special token; data is empty.
    """

    kind: str
    name: str = ""
    data: bytes = b""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """One document: text with a placeholder for each insert."""

    id: str
    source: str
    kind: str
    path: str
    text: str
    inserts: tuple[Insert, ...] = ()
    url: str | None = None
    licence: str | None = None
    language: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)


def document_batch(documents: Iterable[Document]) -> pa.RecordBatch:
    """Documents as one Arrow batch. Raises ValueError if a text's placeholders and its inserts differ in number."""
    listed = list(documents)
    for document in listed:
        # A search is faster than a count, and most texts have none.
        found = document.text.count(PLACEHOLDER) if PLACEHOLDER in document.text else 0
        if found != len(document.inserts):
            raise ValueError(f"document {document.id}: {found} placeholders for {len(document.inserts)} inserts")
    inserts = [
        [
            {"kind": insert.kind, "name": insert.name, "data": insert.data, "meta": _json(insert.meta)}
            for insert in document.inserts
        ]
        for document in listed
    ]
    plain = [[getattr(document, name) for document in listed] for name in DOCUMENT_SCHEMA.names[:-2]]
    columns = [*plain, inserts, [_json(document.meta) for document in listed]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, DOCUMENT_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT_SCHEMA)


def documents_of(batch: pa.RecordBatch) -> list[Document]:
    """The documents of an Arrow batch."""
    return [
        Document(
            id=row["id"],
            source=row["source"],
            kind=row["kind"],
            path=row["path"],
            text=row["text"],
            inserts=tuple(
                Insert(insert["kind"], insert["name"], insert["data"], json.loads(insert["meta"]))
                for insert in row["inserts"]
            ),
            url=row["url"],
            licence=row["licence"],
            language=row["language"],
            meta=json.loads(row["meta"]),
        )
        for row in batch.to_pylist()
    ]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
