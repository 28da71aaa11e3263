"""transformers' own processor, loaded from an export, against our pipeline: same tokens, patches, mel frames, positions.

The processor needs torchvision for clips. Its wheels for a CPU build of torch are not in every registry, so it is put
beside this environment, in a folder that only the processor's own process sees; where pip has none, tests are skipped.

Bounds. Pictures and clips that need no resizing: 2e-7, a rounding of float32 (torchvision rescales and normalises in one
product). Resized ones: both resample bicubically in 8 bits with
antialiasing, PIL in integers and torchvision in floats, so a value may round to the neighbouring one of 256: 2/255 after
normalisation. Mel frames: ours in float64, theirs in float32 where torch computes them: 1e-4 of a range of about 2. In a
batch the processor pads shorter sounds with silence before it looks for frames, so the last frame or two of theirs, whose
window hangs over the end, sees silence where ours (and a sound alone) sees its reflection.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.expand import Mel, expand_document
from expedition.data.loading.media import image_patches, video_patches
from expedition.data.loading.mel import log_mel
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.tokenizer import Tokenizer
from expedition.model.config import OmniConfig
from expedition.model.export import to_transformers
from expedition.model.generation import prompt_tensors
from expedition.model.omni import OmniModel
from expedition.plan.shapes import TokenIds
from tests.data.loading.made_version import byte_tokenizer
from tests.peers import peer_package
from tests.train.tiny import tiny_shape

from .inputs import transformers_thinker
from .processor_cases import FRAMES_PER_S, RULE, Document, cases

TORCHVISION = {"2.13": "0.28.0", "2.12": "0.27.1", "2.11": "0.26.0"}
"""The torchvision of each torch."""
CASES = list(cases())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> OmniModel:
    ids = TokenIds.from_tokenizer(tokenizer.special)
    return OmniModel(OmniConfig.from_plan(tiny_shape(), RULE, ids, tokenizer.size)).eval()


@pytest.fixture(scope="module")
def theirs(model: OmniModel, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every array that the processor gives, by case and name."""
    version = TORCHVISION.get(".".join(torch.__version__.split(".")[:2]))
    if version is None:
        pytest.skip(f"no torchvision is known for torch {torch.__version__}")
    torchvision = peer_package("torchvision", f"torchvision=={version}")
    folder = tmp_path_factory.mktemp("processor")
    tokenizer.save(folder / "tokenizer")
    to_transformers(model.state_dict(), model.config, folder / "tokenizer", folder / "export", RULE)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([torchvision, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "tests.model.processor_peer", str(folder / "export"), str(folder / "out.npz")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, env=environ, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(folder / "out.npz") as file:
        return dict(file)


def ours(documents: list[Document], tokenizer: Tokenizer) -> Batch:
    """A batch by the loader's own code, from the same pixels and samples."""
    ids = MediaTokenIds.from_special(tokenizer.special)
    rows = []
    for number, document in enumerate(documents):
        stored: list[int] = []
        media: list[Any] = []
        for kind, *content in document:
            if kind == "text":
                stored += tokenizer.encode(content[0]).tolist()
                continue
            stored += [
                tokenizer.special(f"<|{name}|>") for name in (("video", "audio") if kind == "heard" else (kind,))
            ]
            if kind == "image":
                media.append(image_patches(content[0], RULE))
            if kind in ("video", "heard"):
                media.append(video_patches(content[0], RULE.video_time_step(FRAMES_PER_S), RULE))
            if kind in ("audio", "heard"):
                media.append(Mel(log_mel(content[-1], RULE)))
        rule = RULE.model_copy(update={"audio_in_video": any(part[0] == "heard" for part in document)})
        expanded = expand_document(np.asarray(stored, np.int32), media, ids, rule)
        rows.append(Row((expanded,), (-1,), number))
    width = max(len(row.documents[0].tokens) for row in rows)
    return collate(rows, width, RULE, ids.endoftext)


def of_case(theirs: dict[str, Any], case: str) -> dict[str, Any]:
    return {name.removeprefix(f"{case}/"): array for name, array in theirs.items() if name.startswith(f"{case}/")}


def real_rows(tokens: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> list[list[int]]:
    return [row[kept.astype(bool)].tolist() for row, kept in zip(tokens, mask, strict=True)]


def split_by_kind(batch: Batch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Patches of pictures and of clips: the processor gives them apart."""
    owner = np.repeat(batch.is_video_G, batch.grid_G3.prod(axis=1))
    return batch.patches_PC[~owner], batch.patches_PC[owner]


def test_the_processor_is_transformers_own(theirs: dict[str, Any]) -> None:
    assert theirs["classes"].tolist() == ["Qwen2VLImageProcessor", "Qwen2VLVideoProcessor", "WhisperFeatureExtractor"]


@pytest.mark.parametrize("case", CASES)
def test_tokens_and_positions_are_equal(
    theirs: dict[str, Any], model: OmniModel, tokenizer: Tokenizer, case: str
) -> None:
    """Token by token, and the positions that the class computes from the processor's inputs are the loader's."""
    batch, given = ours(cases()[case], tokenizer), of_case(theirs, case)
    assert real_rows(batch.tokens_BS, batch.document_BS > 0) == real_rows(given["input_ids"], given["attention_mask"])
    thinker = transformers_thinker(model)
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    mask = tensors.get("feature_attention_mask")
    positions = thinker.get_rope_index(
        tensors["input_ids"], tensors.get("image_grid_thw"), tensors.get("video_grid_thw"), tensors["attention_mask"],
        case == "video with its audio", None if mask is None else mask.sum(-1), tensors.get("video_second_per_grid"),
    )[0].numpy()  # fmt: skip
    for row, kept in enumerate(given["attention_mask"].astype(bool)):
        size = int(kept.sum())
        assert np.abs(positions[:, row, kept] - batch.positions_3BS[:, row, :size]).max() < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_patches_are_equal(theirs: dict[str, Any], tokenizer: Tokenizer, case: str) -> None:
    batch, given = ours(cases()[case], tokenizer), of_case(theirs, case)
    bound = (2 / 255 if "resized" in case else 0) + 2e-7
    still, moving = split_by_kind(batch)
    grids = (batch.grid_G3[~batch.is_video_G], batch.grid_G3[batch.is_video_G])
    for patches, grid, name, size in (
        (still, grids[0], "pixel_values", "image_grid_thw"),
        (moving, grids[1], "pixel_values_videos", "video_grid_thw"),
    ):
        if not len(grid):
            assert name not in given
            continue
        assert np.array_equal(grid, given[size])
        assert np.abs(patches - given[name]).max() <= bound


@pytest.mark.parametrize("case", [name for name in CASES if "audio" in name or "padding" in name])
def test_mel_frames_are_equal(theirs: dict[str, Any], tokenizer: Tokenizer, case: str) -> None:
    batch, given = ours(cases()[case], tokenizer), of_case(theirs, case)
    lengths = given["feature_attention_mask"].sum(-1)
    assert lengths.tolist() == batch.mel_lengths_A.tolist()
    starts = np.cumsum(lengths) - lengths
    for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        whole = length == lengths.max()
        kept = length if whole else length - 2
        mel = batch.mel_MF[:, start : start + kept]
        assert np.abs(mel - given["input_features"][number, :, :kept]).max() < 1e-4


@pytest.mark.parametrize("case", ["video with its audio", "batch with padding"])
def test_the_whole_chain_gives_equal_logits(
    theirs: dict[str, Any], model: OmniModel, tokenizer: Tokenizer, case: str
) -> None:
    """Raw media → their processor → their class, against raw media → our loader → our model.

    Mel frames differ by up to 1e-5 and the last two of a padded sound by more, so logits equal to 1e-4 of the largest
    where no sound is padded, and for other rows' tokens; a sound's own rows are left out where it is padded.
    """
    batch, given = ours(cases()[case], tokenizer), of_case(theirs, case)
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    thinker = transformers_thinker(model)
    with torch.no_grad():
        expected = thinker(**tensors, use_audio_in_video=case == "video with its audio").logits
        got = model.head(model(**prompt_tensors(batch, torch.device("cpu"))).hidden_BSH)
    lengths = given["feature_attention_mask"].sum(-1)
    padded = iter((lengths < lengths.max()).tolist())
    for row, document in enumerate(cases()[case]):
        heard = [next(padded) for part in document if part[0] in ("audio", "heard")]
        if any(heard):
            continue
        right = expected[row][tensors["attention_mask"][row].bool()]
        mine = got[row][torch.from_numpy(batch.document_BS[row] > 0)]
        assert (mine - right).abs().max() < 1e-4 * right.abs().max()
