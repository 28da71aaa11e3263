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
from expedition.data.stages.dedup.media import MEDIA_KINDS, media_keys
from expedition.data.stages.dedup.near import NEAR_KINDS, NearRule, band_keys, signatures, sketched
from expedition.data.stages.dedup.tokens import Hashed, Hashes, hashed, normalised

FINGERPRINT_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
        pa.field("exact", pa.binary(16)),
        pa.field("bands", pa.binary()),
        pa.field("sketch", pa.large_binary()),
        pa.field("media_keys", pa.binary()),
        pa.field("media_fine", pa.binary()),
        pa.field("phash", pa.string()),
    ]
)
"""One row a document, in the order of its file. `length` in characters; `bands` and `media_keys` little-endian uint64, `sketch`
and `media_fine` uint32;
null where the document is not compared in that way."""
_CODE: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


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
    kinds, texts, phashes = documents.kinds, documents.texts, documents.phashes
    exact: list[bytes | None] = []
    bands: list[bytes | None] = []
    sketches: list[bytes | None] = []
    for block in hashed(texts):
        rows = slice(len(exact), len(exact) + len(block.contents))
        told = zip(kinds[rows], texts[rows], block.contents, phashes[rows], strict=True)
        exact += [content_key(*one) for one in told]
        near, keys = _near(block, kinds[rows], rule)
        bands += near
        sketches += keys
    media = [_media(*one, rule) for one in zip(kinds, texts, phashes, strict=True)]
    columns = {
        "id": documents.ids,
        "source": documents.sources,
        "length": [len(text) for text in texts],
        "exact": exact,
        "bands": bands,
        "sketch": sketches,
        "media_keys": [keys for keys, _ in media],
        "media_fine": [fine for _, fine in media],
        "phash": [phash if keys else None for phash, (keys, _) in zip(phashes, media, strict=True)],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in FINGERPRINT_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=FINGERPRINT_SCHEMA)


def _near(block: Hashed, kinds: Sequence[str], rule: NearRule) -> tuple[list[bytes | None], list[bytes | None]]:
    """Band keys and sketch of each text of a block; None where it is not compared nearly."""
    every = sketched(block, rule)
    compared = np.array([kind in NEAR_KINDS for kind in kinds]) & (every.sizes >= rule.min_shingles)
    rows = np.flatnonzero(compared)
    chosen = every if len(rows) == len(kinds) else every.take(rows)
    keys = band_keys(signatures(chosen, rule), rule)
    # Code is compared with code only: its keys are set apart.
    code = [kinds[row] == "code" for row in rows.tolist()]
    keys[code] ^= _CODE
    bands: list[bytes | None] = [None] * len(kinds)
    sketches: list[bytes | None] = [None] * len(kinds)
    for place, row in enumerate(rows.tolist()):
        bands[row] = keys[place].astype("<u8").tobytes()
        sketches[row] = chosen[place].astype("<u4").tobytes()
    return bands, sketches


def _media(kind: str, text: str, phash: str | None, rule: NearRule) -> tuple[bytes | None, bytes | None]:
    """Keys and finer codes of a document of media; None for others and for those without a fingerprint."""
    if kind not in MEDIA_KINDS or not phash:
        return None, None
    words = xxhash.xxh3_64_intdigest(normalised(text).encode())
    keys, fine = media_keys(phash, words, other_words=rule.media_with_other_words)
    return keys.astype("<u8").tobytes(), fine.astype("<u4").tobytes()


def media_rows(
    table: pa.Table | pa.RecordBatch,
) -> tuple[npt.NDArray[np.int64], Hashes, npt.NDArray[np.uint32]]:
    """A row a key of the documents with media: (row of the document, key, finer code)."""
    rows = _present(table.column("media_keys"))
    chosen = table.select(["media_keys", "media_fine"]).take(pa.array(rows))
    keys = chosen.column("media_keys").to_pylist()
    numbers = np.repeat(rows, [len(each) // 8 for each in keys])
    fine = np.frombuffer(b"".join(chosen.column("media_fine").to_pylist()), "<u4").astype(np.uint32)
    return numbers, np.frombuffer(b"".join(keys), "<u8").astype(np.uint64), fine


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
