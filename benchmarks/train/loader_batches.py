"""Batches that the real loader packs from a real dataset version: JPEG, MJPEG and FLAC that are decoded, text, cameras.

The version is written at the start into a folder of its own, by the writer that builds use, under the `onegpu` preset's media
rule; pixels are noise in blocks, sizes are those of the web: pictures of 256 to 900 pixels a side, clips of 4 to 16 frames,
sounds of 3 to 30 s. One byte is one token, so the ids are few; the model's vocabulary is the preset's all the same.

    python -m benchmarks.train.loader_batches FILE.npz     for a machine without the data engine's packages

writes what the loader packed, without the values of pixels and mel frames, which are noise again where it is read: a step's
work depends on sizes alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.train.rows import ROWS, Work
from expedition.data.loading.batch import Batch
from expedition.model.config import OmniConfig

if TYPE_CHECKING:
    from tests.data.loading.made_version import Made

MIX = {"web": 0.4, "code": 0.1, "image-text": 0.2, "video-text": 0.14, "audio-text": 0.1, "driving": 0.06}
"""Share of sequences by kind."""
DOCUMENTS = {"web": 90, "code": 30, "image-text": 60, "video-text": 24, "audio-text": 40, "driving": 12}
_FRAMES_PER_S = 2.0
_SIZES = ("tokens_BS", "labels_BS", "positions_3BS", "document_BS", "kind_BS", "grid_G3", "is_video_G", "mel_lengths_A")
_KEPT = 8
"""Micro-batches of a file."""


def documents(seed: int) -> Iterator[Made]:
    """All documents of the version."""
    g = np.random.default_rng(seed)
    for kind, count in DOCUMENTS.items():
        for _ in range(count):
            yield _document(kind, g)


def _document(kind: str, g: np.random.Generator) -> Made:
    from tests.data.loading.made_version import Made, clip, image, sound, words

    from expedition.data.records import CAMERAS, PLACEHOLDER, Insert

    if kind in ("web", "code"):
        return Made(kind, words(g, int(np.clip(150 * np.exp(g.normal(-0.5, 1.0)), 3, 650))))
    if kind == "image-text":
        return Made(kind, PLACEHOLDER + words(g, 20), (image(g, int(g.integers(256, 900)), int(g.integers(256, 900))),))
    if kind == "audio-text":
        return Made(kind, PLACEHOLDER + words(g, 20), (sound(g, int(16_000 * g.uniform(3, 30))),))
    if kind == "video-text":
        return Made(kind, PLACEHOLDER + words(g, 20), (clip(g, int(g.integers(4, 17)), 320, _FRAMES_PER_S),))
    views = [(Insert("special", f"<|camera_{name}|>"), clip(g, 4, 256, _FRAMES_PER_S)) for name in CAMERAS]
    return Made(kind, PLACEHOLDER * 12 + words(g, 4), tuple(insert for view in views for insert in view))


def loader_batches(work: Work, count: int) -> tuple[OmniConfig, list[Batch]]:
    """The model that fits the data, and `count` micro-batches in the loader's order."""
    from tests.data.loading.made_version import write_version

    from expedition.data.loading import Loader, LoadingConfig
    from expedition.plan import load_programme
    from expedition.train.setup import model_config
    from expedition.workspace import Workspace

    plain = load_programme("onegpu")
    run = plain.runs["main"].model_copy(
        update={
            "batch_sequences": (
                plain.runs["main"].batch_sequences[0].model_copy(update={"sequences": work.sequences}),
            ),
            "micro_batches": 1,
            "sequence_length": work.sequence_length,
            "segments": plain.runs["main"].segments[:1],
            "mix": MIX,
        }
    )
    programme = plain.model_copy(update={"runs": {"main": run}, "phases": ()})
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "w", create=True)
        write_version(ws, run.version_at(0), list(documents(7)), rule=programme.media)
        config = replace(model_config(ws, programme, run), vocabulary=work.vocabulary)
        loader = Loader(ws, programme, "main", LoadingConfig(ask_ledger=False))
        return config, [batch for step in range(count) for batch in loader.rank_batch(step, 0, 1)]


def save_layouts(path: Path, config: OmniConfig, batches: list[Batch]) -> None:
    """Everything but pixels and mel frames."""
    arrays = {f"{number}/{name}": getattr(batch, name) for number, batch in enumerate(batches) for name in _SIZES}
    arrays["config"] = np.frombuffer(json.dumps(config.to_json()).encode(), np.uint8)
    np.savez_compressed(path, **arrays)


def read_layouts(path: Path, count: int) -> tuple[OmniConfig, list[Batch]]:
    """The model and the first `count` micro-batches of a file, pixels and mel frames of noise."""
    generator = np.random.default_rng(0)
    with np.load(path) as file:
        config = OmniConfig.from_json(json.loads(file["config"].tobytes()))
        return config, [
            _with_noise(config, {name: file[f"{number}/{name}"] for name in _SIZES}, generator)
            for number in range(count)
        ]


def _with_noise(config: OmniConfig, arrays: dict[str, np.ndarray], generator: np.random.Generator) -> Batch:
    patches = (int(arrays["grid_G3"].prod(axis=1).sum()), config.shape.vision.patch_values)
    frames = (config.shape.audio.mel_bins, int(arrays["mel_lengths_A"].sum()))
    return Batch(
        **arrays,
        patches_PC=generator.standard_normal(patches, dtype=np.float32),
        mel_MF=generator.standard_normal(frames, dtype=np.float32),
        sample_ids=np.arange(len(arrays["tokens_BS"])),
        real_tokens=int((arrays["document_BS"] > 0).sum()),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.train.loader_batches FILE.npz")
    save_layouts(Path(sys.argv[1]), *loader_batches(ROWS["1b"], _KEPT))
