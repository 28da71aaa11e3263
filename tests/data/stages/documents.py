"""Batches for the tests of stages, made of real records."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
from PIL import Image

from expedition.data.records import PLACEHOLDER, Document, Insert, document_batch, documents_of
from expedition.data.stages.stage import Stage, StageResult


def batch_of(*texts: str, kind: str = "web", source: str = "source", **more: Any) -> pa.RecordBatch:
    """Documents without media, one a text, ids "0", "1", …"""
    return document_batch(
        Document(id=str(number), source=source, kind=kind, path=f"{number}.txt", text=text, **more)
        for number, text in enumerate(texts)
    )


def run(stage: Stage, *documents: Document) -> StageResult:
    """The stage's result over one batch of the documents."""
    return stage(document_batch(documents))


def texts_of(result: StageResult) -> list[str]:
    """Texts of the documents that stayed."""
    return [document.text for document in documents_of(result.batch)]


def picture(seed: int, side: int = 64, fmt: str = "PNG", **options: Any) -> bytes:
    """A picture with a coloured block whose place and colour depend on the seed."""
    rng = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 200, np.uint8)
    left, top = rng.integers(0, side // 2, size=2)
    pixels[top : top + side // 3, left : left + side // 3] = rng.integers(0, 180, size=3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt, **options)
    return buffer.getvalue()


def photograph(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """A picture with as much going on as a photograph: smooth noise of several sizes in three colours."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for cells in (5, 11, 24, 60)
    ]
    return Image.fromarray(np.clip(sum(layers) / 2 - 128, 0, 255).astype(np.uint8))


def picture_document(id_: str, data: bytes, caption: str) -> Document:
    """An image-text document."""
    insert = Insert("image", data=data, meta={"width": 64, "height": 64})
    return Document(id_, "pictures", "image-text", f"{id_}.png", f"{PLACEHOLDER} {caption}", (insert,))


def clip_document(frames: list[np.ndarray], timestamps: list[float], cues: list[list[Any]], end_s: float) -> Document:
    """A video-text document with its frames as JPEGs."""
    parts = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=90)
        parts.append(buffer.getvalue())
    meta = {"width": 64, "height": 64, "frames": len(parts), "sizes": [*map(len, parts)], "timestamps_s": timestamps}
    insert = Insert("video", data=b"".join(parts), meta=meta)
    text = PLACEHOLDER + " " + "\n".join(str(cue[2]) for cue in cues)
    told = {"cues": cues, "start_s": 0.0, "end_s": end_s}
    return Document("clip", "clips", "video-text", "clip.mp4", text, (insert,), meta=told)


def sound_document(samples: np.ndarray, transcript: str, rate: int = 16_000) -> Document:
    """An audio-text document with its samples as FLAC."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC")
    insert = Insert("audio", data=buffer.getvalue(), meta={"samples": len(samples), "sample_rate": rate})
    return Document("sound", "sounds", "audio-text", "sound.flac", f"{PLACEHOLDER} {transcript}", (insert,))
