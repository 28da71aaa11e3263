"""A real dataset version from generated documents (text, JPEG, MJPEG, FLAC), by the writer that builds use."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import soundfile

from expedition.data.compliance.acquisition import Acquired
from expedition.data.engine.tables import write_table
from expedition.data.records import CAMERAS, KINDS, PLACEHOLDER, Document, Insert, document_batch
from expedition.data.tokenizer import Tokenizer, Vocabulary
from expedition.data.tokenizer.tokenizer import FILES
from expedition.data.versions import Provenance
from expedition.data.versions.dropped import write_dropped
from expedition.data.versions.index import (
    DROPPED,
    INDEX,
    LINEAGE,
    STATISTICS,
    BuiltShard,
    write_tables,
)
from expedition.data.versions.manifest import compose
from expedition.data.versions.rows import rows_of
from expedition.data.versions.shards import PLACED_SCHEMA, write_shard
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_bytes, sha256_file

RULE = MediaRule()


@lru_cache(maxsize=1)
def byte_tokenizer() -> Tokenizer:
    """One token a byte, then the special tokens: ids below 256 are text."""
    tokens = tuple(bytes([value]) for value in range(256))
    return Tokenizer(Vocabulary(tokens, np.zeros((0, 2), np.int32)), action_bins=16)


@dataclass(frozen=True)
class Made:
    kind: str
    text: str
    inserts: tuple[Insert, ...] = ()
    language: str = "en"


def jpeg(generator: np.random.Generator, height: int, width: int) -> bytes:
    coarse = generator.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    return simplejpeg.encode_jpeg(pixels, quality=90)


def image(generator: np.random.Generator, height: int = 64, width: int = 64) -> Insert:
    return Insert("image", data=jpeg(generator, height, width), meta={"width": width, "height": height})


def clip(generator: np.random.Generator, frames: int = 4, side: int = 32, frames_per_s: float = 4.0) -> Insert:
    pictures = [jpeg(generator, side, side) for _ in range(frames)]
    meta = {
        "width": side,
        "height": side,
        "frames": frames,
        "sizes": [len(picture) for picture in pictures],
        "timestamps_s": [number / frames_per_s for number in range(frames)],
        "fps_sampled": frames_per_s,
    }
    return Insert("video", data=b"".join(pictures), meta=meta)


def sound(generator: np.random.Generator, samples: int = 12_000) -> Insert:
    wave = (0.3 * np.sin(np.arange(samples) * 0.05) + 0.05 * generator.standard_normal(samples)).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="FLAC", subtype="PCM_16")
    return Insert("audio", data=buffer.getvalue(), meta={"samples": samples, "sample_rate": 16_000})


def words(generator: np.random.Generator, count: int) -> str:
    return " ".join("".join(chr(97 + c) for c in generator.integers(0, 26, 5)) for _ in range(count))


def generated(seed: int, scale: int = 1) -> list[Made]:
    """Documents of six kinds; a few texts are longer than a sequence, one clip document is far too long."""
    g = np.random.default_rng(seed)
    o = PLACEHOLDER
    made = [Made("web", words(g, int(g.integers(2, 40)))) for _ in range(60 * scale)]
    made += [Made("web", words(g, 400)) for _ in range(3)]
    made += [Made("code", f"def f{n}():\n    return {n}\n") for n in range(30 * scale)]
    sizes = ((64, 64), (48, 80), (200, 100), (20, 24))
    made += [Made("image-text", o + words(g, 3), (image(g, *sizes[n % 4]),)) for n in range(24 * scale)]
    made.append(Made("image-text", f"{o} and {o}{words(g, 90)}", (image(g), image(g))))
    made += [Made("audio-text", o + words(g, 4), (sound(g, 4_000 + 700 * n),)) for n in range(12 * scale)]
    made += [Made("video-text", o + words(g, 5), (clip(g, 1 + n % 6),)) for n in range(12 * scale)]
    made.append(Made("video-text", o * 40 + "x", tuple(clip(g) for _ in range(40))))
    for _ in range(6 * scale):
        inserts = tuple(
            insert for name in CAMERAS for insert in (Insert("special", f"<|camera_{name}|>"), clip(g, 2, 32, 2.0))
        )
        actions = tuple(Insert("special", f"<|action_{g.integers(16):03d}|>") for _ in range(4))
        made.append(Made("driving", o * 12 + words(g, 2) + o * 4, inserts + actions))
    return made


def write_version(
    ws: Workspace,
    version: str,
    made: list[Made],
    *,
    shard_documents: int = 16,
    dataset: str = "dataset",
    sources: Sequence[dict[str, Any]] = (),
    rule: MediaRule = RULE,
) -> dict[str, Any]:
    """Write shards, tables, tokenizer and manifest of a version as `expedition data build` does."""
    folder = f"data/{dataset}/{version}"
    shards: list[BuiltShard] = []
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for kind in KINDS:
            of_kind = [documents_of(version, item, number) for number, item in enumerate(made) if item.kind == kind]
            for number, start in enumerate(range(0, len(of_kind), shard_documents)):
                name = f"shards/{kind}-{number:05d}.tar"
                built = write_one(place, name, of_kind[start : start + shard_documents], rule)
                shards.append(built)
                ws.store.write(f"{folder}/{name}", (place / "shard.tar").read_bytes())
        provenance = {
            f"sample-{kind}": Provenance(Acquired(f"sample-{kind}", "2026-01-01T00:00:00.000000Z"), "none")
            for kind in KINDS
        }
        write_tables(place, shards, provenance)
        write_dropped(place / DROPPED, [])
        byte_tokenizer().save(place / "tokenizer")
        for file in FILES:
            ws.store.write(f"{folder}/tokenizer/{file}", (place / "tokenizer" / file).read_bytes())
        for table in (INDEX, LINEAGE, STATISTICS, DROPPED):
            ws.store.write(f"{folder}/{table}", (place / table).read_bytes())
        manifest = compose(identity(dataset, version), shards, place, list(sources))
    ws.write_json(f"{folder}/manifest.json", manifest, schema="data.manifest/1")
    return manifest


def identity(dataset: str, version: str) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "version": version,
        "parent": None,
        "seed": 7,
        "stages": {},
        "tokenizer_fingerprint": byte_tokenizer().fingerprint,
        "code_version": "test",
        "scope": "training",
    }


def documents_of(version: str, made: Made, number: int) -> Document:
    name = f"{version}/{made.kind}/{number}"
    return Document(
        id=sha256_bytes(name.encode())[:32],
        source=f"sample-{made.kind}",
        kind=made.kind,
        path=name,
        text=made.text,
        inserts=made.inserts,
        language=made.language,
    )


def write_one(place: Path, name: str, documents: list[Document], rule: MediaRule) -> BuiltShard:
    """One shard, left in `place`/shard.tar; its table stays for the index."""
    rows = rows_of(document_batch(documents).to_pylist(), [0] * len(documents), byte_tokenizer(), rule)
    placed = list(write_shard(place / "shard.tar", [pa.Table.from_batches([rows])]))
    table = place / f"{name.replace('/', '-')}.arrow"
    write_table(table, pa.Table.from_pylist(placed, schema=PLACED_SCHEMA))
    size, tokens = (place / "shard.tar").stat().st_size, sum(row["tokens"] for row in placed)
    return BuiltShard(name, table, sha256_file(place / "shard.tar"), size, len(placed), tokens)
