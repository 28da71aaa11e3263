"""The released model through transformers' own class, and its inputs: text and pictures as one document.

Needs torch, transformers, safetensors, numpy and Pillow; no torchvision and no code of the project that trained it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from PIL import Image
from transformers import AutoModelForMultimodalLM, AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging

logging.disable_progress_bar()  # type: ignore[no-untyped-call]

RELEASE = Path(__file__).resolve().parents[1]
"""The release: the folder above the kit."""


@dataclass(frozen=True)
class Release:
    """A loaded release. `images` turns pictures into patches without torchvision."""

    model: Any
    tokenizer: Any
    images: Any
    device: torch.device


def load_release(folder: Path = RELEASE) -> Release:
    """Load the release on a GPU where there is one, else on the CPU, in the precision of its files."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForMultimodalLM.from_pretrained(folder, dtype="auto").to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Release(model, tokenizer, Qwen2VLImageProcessorPil.from_pretrained(folder), device)


def document(release: Release, text: str, pictures: list[Path]) -> tuple[list[int], list[Any]]:
    """Token ids of the pictures followed by `text`, and each picture's patches and grid.

    A picture of a grid of t x h x w patches is t·h·w / merge² pad tokens between a start and an end token. Names of
    special tokens in `text` are ordinary text.
    """
    special = release.tokenizer.convert_tokens_to_ids
    merge = release.images.merge_size
    tokens: list[int] = []
    patches: list[Any] = []
    for picture in pictures:
        with Image.open(picture) as image:
            found = release.images(images=image.convert("RGB"), return_tensors="pt")
        pads = int(found["image_grid_thw"][0].prod()) // merge**2
        tokens += [special("<|vision_start|>"), *[special("<|image_pad|>")] * pads, special("<|vision_end|>")]
        patches.append(found)
    return tokens + text_tokens(release, text), patches


def text_tokens(release: Release, text: str) -> list[int]:
    """Token ids of plain text."""
    if not text:
        return []
    ids: list[int] = release.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def batch(release: Release, rows: list[list[int]], patches: list[Any]) -> dict[str, torch.Tensor]:
    """Rows padded at the right, with the patches of all pictures in order of appearance."""
    width = max(len(row) for row in rows)
    pad = release.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    inputs = {
        "input_ids": torch.tensor([row + [pad] * (width - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    }
    if patches:
        dtype = release.model.dtype
        inputs["pixel_values"] = torch.cat([found["pixel_values"] for found in patches]).to(dtype)
        inputs["image_grid_thw"] = torch.cat([found["image_grid_thw"] for found in patches])
    return {name: value.to(release.device) for name, value in inputs.items()}


@torch.inference_mode()
def answer(release: Release, text: str, pictures: list[Path], new_tokens: int) -> str:
    """The likeliest text after the pictures and `text`."""
    tokens, patches = document(release, text, pictures)
    inputs = batch(release, [tokens], patches)
    made = generate(release, inputs, new_tokens)
    return str(release.tokenizer.decode(made[0, len(tokens) :], skip_special_tokens=True))


def generate(release: Release, inputs: dict[str, torch.Tensor], new_tokens: int, least: int = 0) -> torch.Tensor:
    """The likeliest ids after `inputs`, with them; between `least` and `new_tokens` new ones.

    `thinker` is the model without a voice; `generate` of the whole class has other defaults for its length and end.
    """
    ends = [release.tokenizer.convert_tokens_to_ids(name) for name in ("<|endoftext|>", "<|im_end|>")]
    made: torch.Tensor = release.model.thinker.generate(
        **inputs,
        max_new_tokens=new_tokens,
        min_new_tokens=least,
        do_sample=False,
        eos_token_id=ends,
        pad_token_id=ends[0],
    )
    return made
