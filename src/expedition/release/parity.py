"""The release in transformers' own class against ours: one document of text, picture, clip and sound, equal logits.

Both run in float32 on the same weights and inputs and differ only in the order of sums. The relative rounding of a sum
of n products is about sqrt(n) · 2^-24; with n ≤ 4096 and some tens of such sums one after the other that is below
2e-5 of the largest logit. A wrong position, mask, weight or activation changes logits by parts of themselves, not by
hundred-thousandths.
"""

from __future__ import annotations

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from expedition.data.loading import Batch, make_batch
from expedition.data.records import PLACEHOLDER, Insert
from expedition.data.tokenizer import Tokenizer
from expedition.model import OmniModel
from expedition.model.generation import prompt_tensors
from expedition.plan.media import MediaRule

RELATIVE_BOUND = 2e-5
ARCHITECTURE = "Qwen3OmniMoeForConditionalGeneration"


@dataclass(frozen=True, slots=True)
class Parity:
    """What came out. Both None where transformers is not installed."""

    loads_without_custom_code: bool | None
    logits_max_difference: float | None
    logits_bound: float | None
    modalities: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def equal(self) -> bool:
        """Loaded, and logits within the bound."""
        if self.logits_max_difference is None or self.logits_bound is None:
            return False
        return bool(self.loads_without_custom_code) and self.logits_max_difference <= self.logits_bound


def check_parity(folder: Path, model: OmniModel, tokenizer: Tokenizer, media: MediaRule) -> Parity:
    """Load `folder` through transformers' automatic class with no code of ours; compare its logits with `model`'s."""
    try:
        theirs, problem = _load(folder)
    except ImportError:
        return Parity(None, None, None, problem="transformers is not installed")
    if problem is not None:
        return Parity(False, None, None, problem=problem)
    batch = make_batch([example_document(media)], tokenizer, media)
    real = torch.from_numpy(batch.document_BS[0] > 0)
    with torch.inference_mode():
        ours_TV = model.head(model(**prompt_tensors(batch, torch.device("cpu"))).hidden_BSH)[0][real]
        theirs_TV = theirs.thinker(**transformers_inputs(batch, media)).logits[0]
    bound = RELATIVE_BOUND * float(theirs_TV.abs().max())
    difference = float((ours_TV - theirs_TV).abs().max())
    return Parity(True, difference, bound, ("text", "image", "video", "audio"))


def example_document(media: MediaRule) -> tuple[str, list[Insert]]:
    """A document with a picture, a clip and a sound, all computed here: it needs no data."""
    import soundfile

    picture = io.BytesIO()
    _image(0.0).save(picture, "PNG")
    frames = []
    for number in range(4):
        buffer = io.BytesIO()
        _image(number / 4).save(buffer, "JPEG", quality=90)
        frames.append(buffer.getvalue())
    time_s = np.arange(int(0.7 * media.sample_rate)) / media.sample_rate
    wave = 0.4 * np.sin(2 * np.pi * (200 + 900 * time_s) * time_s)
    sound = io.BytesIO()
    soundfile.write(sound, wave, media.sample_rate, format="FLAC")
    clip = {"sizes": [len(frame) for frame in frames], "fps_sampled": media.video_fps}
    inserts = [
        Insert("image", data=picture.getvalue()),
        Insert("video", data=b"".join(frames), meta=clip),
        Insert("audio", data=sound.getvalue()),
    ]
    return f"One {PLACEHOLDER} picture, a clip {PLACEHOLDER} and {PLACEHOLDER} a sound: 你好。", inserts


def transformers_inputs(batch: Batch, media: MediaRule) -> dict[str, Tensor]:
    """A batch of one row in the words of transformers' class, which finds the positions by itself."""
    real = batch.document_BS[0] > 0
    inputs: dict[str, Any] = {
        "input_ids": batch.tokens_BS[:, real],
        "attention_mask": np.ones((1, int(real.sum())), dtype=np.int64),
    }
    areas = batch.grid_G3.prod(axis=1)
    moving = np.repeat(batch.is_video_G, areas)
    for flag, values, grid in (
        (False, "pixel_values", "image_grid_thw"),
        (True, "pixel_values_videos", "video_grid_thw"),
    ):
        if (batch.is_video_G == flag).any():
            inputs[values] = batch.patches_PC[moving == flag]
            inputs[grid] = batch.grid_G3[batch.is_video_G == flag]
    if batch.is_video_G.any():
        seconds = media.second_per_grid(media.video_time_step(media.video_fps))
        inputs["video_second_per_grid"] = np.full(int(batch.is_video_G.sum()), seconds, dtype=np.float32)
    if len(batch.mel_lengths_A):
        inputs["input_features"] = batch.mel_MF[None]
        inputs["feature_attention_mask"] = np.ones((1, batch.mel_MF.shape[1]), dtype=np.int64)
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}


def _load(folder: Path) -> tuple[Any, str | None]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers import AutoModelForMultimodalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, info = AutoModelForMultimodalLM.from_pretrained(
            folder, output_loading_info=True, dtype=torch.float32, trust_remote_code=False
        )
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    if type(model).__name__ != ARCHITECTURE:
        return None, f"loaded as {type(model).__name__}"
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            return None, f"{len(info[kind])} {kind.replace('_', ' ')}, first {sorted(map(str, info[kind]))[0]}"
    return model.eval(), None


def _image(phase: float) -> Any:
    """A colour gradient of 48 x 40 pixels with a dark square that `phase` (0..1) moves."""
    from PIL import Image

    rows, columns = np.mgrid[0:40, 0:48]
    pixels = np.stack([rows * 6, columns * 5, (rows + columns) * 2], axis=2).astype(np.uint8)
    left = int(phase * 32)
    pixels[12:24, left : left + 12] = (20, 30, 40)
    return Image.fromarray(pixels)
