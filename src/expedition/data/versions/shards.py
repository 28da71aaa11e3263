"""A shard: documents as WebDataset members in a deterministic tar, and where everything lies in it.

Members of the document with key K: `K.json` (description), `K.tokens.npy` (int32), `K.<insert>.<jpg|png|mjpeg|flac>`.
Readers need no tar library: the index holds the offset and size of every payload.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from expedition.data.versions.tar import TarWriter

PLACED_MEDIA_TYPE = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
    ]
)
PLACED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("inner", pa.string()),
        pa.field("url", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
        pa.field("modalities", pa.string(), nullable=False),
        pa.field("decisions", pa.string(), nullable=False),
        pa.field("tokens_offset", pa.int64(), nullable=False),
        pa.field("tokens_bytes", pa.int64(), nullable=False),
        pa.field("json_offset", pa.int64(), nullable=False),
        pa.field("json_bytes", pa.int64(), nullable=False),
        pa.field("media", pa.list_(PLACED_MEDIA_TYPE), nullable=False),
    ]
)
"""One row a document of a shard, in the order of the shard."""

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN = 64


def npy(tokens: bytes) -> bytes:
    """Little-endian int32 `tokens` as a one-dimensional `.npy` file of format 1.0."""
    described = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(tokens) // 4},), }}".encode()
    padding = -(len(_MAGIC) + 2 + len(described) + 1) % _ALIGN
    body = described + b" " * padding + b"\n"
    return _MAGIC + len(body).to_bytes(2, "little") + body + tokens


def write_shard(path: Path, chunks: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    """Write documents (`ROW_SCHEMA`, in this order) to a tar at `path`; yields one `PLACED_SCHEMA` row each.

    The tar is whole when the iterator is used up.
    """
    number = 0
    with path.open("wb") as file, TarWriter(file) as tar:
        for chunk in chunks:
            for batch in chunk.to_batches(max_chunksize=64):
                for row in batch.to_pylist():
                    yield _add(tar, number, row)
                    number += 1


def _add(tar: TarWriter, number: int, row: dict[str, Any]) -> dict[str, Any]:
    key = f"{number:08d}"
    tokens = npy(row["tokens"])
    json_offset = tar.add(f"{key}.json", row["json"])
    tokens_offset = tar.add(f"{key}.tokens.npy", tokens)
    media = []
    for medium in row["media"]:
        name = f"{key}.{medium['insert']}.{extension(medium['kind'], medium['data'])}"
        offset = tar.add(name, medium["data"])
        sizes = {field: medium[field] for field in ("width", "height", "frames", "samples")}
        media.append({"kind": medium["kind"], "offset": offset, "bytes": len(medium["data"]), **sizes})
    kept = (
        "id",
        "kind",
        "source",
        "language",
        "path",
        "inner",
        "url",
        "licence",
        "characters",
        "modalities",
        "decisions",
    )
    return {
        **{name: row[name] for name in kept},
        "tokens": len(row["tokens"]) // 4,
        "tokens_offset": tokens_offset,
        "tokens_bytes": len(tokens),
        "json_offset": json_offset,
        "json_bytes": len(row["json"]),
        "media": media,
    }


def extension(kind: str, data: bytes) -> str:
    """File name extension of a medium, told by its first bytes where a kind has two formats."""
    if kind == "image":
        return "png" if data.startswith(b"\x89PNG") else "jpg"
    return "mjpeg" if kind == "video" else "flac"


def read_tokens(data: bytes) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The tokens of a `.tokens.npy` member."""
    start = 10 + int.from_bytes(data[8:10], "little")
    return np.frombuffer(data, "<i4", offset=start)
