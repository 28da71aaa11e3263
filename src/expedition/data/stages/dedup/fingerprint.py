"""What is kept of a document to compare it with others: keys, bands and a sketch, no text.

A fingerprint depends on the document and the rule alone. It is made once a document and serves every later version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from expedition.data.stages.dedup.exact import content_key
from expedition.data.stages.dedup.near import NEAR_KINDS, NearRule, band_keys, shingles, signatures, sketch_of
from expedition.data.stages.dedup.tokens import Hashes, normalised

FINGERPRINT_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("exact", pa.binary(16)),
        pa.field("bands", pa.binary()),
        pa.field("sketch", pa.large_binary()),
        pa.field("caption", pa.uint64()),
        pa.field("phash", pa.string()),
    ]
)
"""One row a document, in the order of its file. `length` in characters; `bands` little-endian uint64, `sketch` uint32;
null where the document is not compared in that way."""
_CODE: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_TEXTS_AT_ONCE: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Columns:
    """Documents by column."""

    ids: Sequence[str]
    sources: Sequence[str]
    kinds: Sequence[str]
    texts: Sequence[str]
    phashes: Sequence[str | None]


def fingerprints(documents: Columns, rule: NearRule) -> pa.RecordBatch:
    """A batch of `FINGERPRINT_SCHEMA`; pure."""
    exact: list[bytes | None] = []
    captions: list[int | None] = []
    bands: list[bytes | None] = [None] * len(documents.ids)
    sketches: list[bytes | None] = [None] * len(documents.ids)
    waiting: list[tuple[int, Hashes]] = []
    held = 0
    for row, (kind, text, phash) in enumerate(zip(documents.kinds, documents.texts, documents.phashes, strict=True)):
        key, tokens = content_key(kind, text, phash)
        exact.append(key)
        picture = kind == "image-text" and phash
        captions.append(xxhash.xxh3_64_intdigest(normalised(text).encode()) if picture else None)
        if kind in NEAR_KINDS:
            found = shingles(tokens, rule)
            if len(found) >= rule.min_shingles:
                sketches[row] = sketch_of(found).tobytes()
                waiting.append((row, found))
                held += found.nbytes
        if held > _TEXTS_AT_ONCE:
            _sign(waiting, documents.kinds, rule, bands)
            waiting, held = [], 0
    _sign(waiting, documents.kinds, rule, bands)
    columns = {
        "id": documents.ids,
        "source": documents.sources,
        "length": [len(text) for text in documents.texts],
        "exact": exact,
        "bands": bands,
        "sketch": sketches,
        "caption": captions,
        "phash": [p if c is not None else None for p, c in zip(documents.phashes, captions, strict=True)],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in FINGERPRINT_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=FINGERPRINT_SCHEMA)


def _sign(waiting: list[tuple[int, Hashes]], kinds: Sequence[str], rule: NearRule, bands: list[bytes | None]) -> None:
    keys = band_keys(signatures([found for _, found in waiting], rule), rule)
    for (row, _), mine in zip(waiting, keys, strict=True):
        # Code is compared with code only: its keys are set apart.
        bands[row] = (mine ^ _CODE if kinds[row] == "code" else mine).astype("<u8").tobytes()


def exact_halves(table: pa.Table | pa.RecordBatch) -> tuple[npt.NDArray[np.int64], Hashes, Hashes]:
    """Rows that have an exact key, and its high and low half: (rows int64, uint64, uint64)."""
    rows = _present(table.column("exact"))
    words = np.frombuffer(b"".join(table.column("exact").take(pa.array(rows)).to_pylist()), ">u8")
    return rows, words[0::2].astype(np.uint64), words[1::2].astype(np.uint64)


def band_matrix(table: pa.Table | pa.RecordBatch, rule: NearRule) -> tuple[npt.NDArray[np.int64], Hashes]:
    """Rows that are compared nearly, and their band keys [rows, bands]."""
    rows = _present(table.column("bands"))
    data = b"".join(table.column("bands").take(pa.array(rows)).to_pylist())
    return rows, np.frombuffer(data, "<u8").astype(np.uint64).reshape(-1, rule.bands)


def fine_of(bands: Hashes) -> npt.NDArray[np.uint32]:
    """For each band the low half of the next one [rows, bands]: tells close copies apart in a large group."""
    return (np.roll(bands, -1, axis=1) & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _present(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
