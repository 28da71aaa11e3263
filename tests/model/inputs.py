"""Inputs for model tests: documents of text, images, videos and sounds, packed by us and as transformers takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from expedition.model.config import OmniConfig
from expedition.model.export_config import config_json
from expedition.model.omni import OmniModel
from expedition.plan.shapes import AudioShape, ModelShape, TokenIds, VisionShape

IDS = TokenIds(
    end_of_text=1, im_start=2, im_end=3, vision_start=4, vision_end=5,
    image_pad=6, video_pad=7, audio_start=8, audio_end=9, audio_pad=10,
)  # fmt: skip
VOCABULARY = 199
SMALL = ModelShape(
    hidden=48, layers=3, heads=4, kv_heads=2, head_dim=16, experts=6, top_k=2, expert_inner=20,
    dense_layers=(1,), dense_inner=40, mrope_section=(4, 2, 2), init="fan_in", position_std=0.3,
    vision=VisionShape(hidden=32, layers=3, heads=2, inner=40, patch=4, position_grid=5, deepstack_layers=(0, 2)),
    audio=AudioShape(hidden=32, layers=2, heads=4, inner=40, mel_bins=16, conv_channels=6, window_frames=200),
)  # fmt: skip
"""Every branch of the layout in little: dense and MoE layers, two deepstack levels, head size not hidden / heads."""
CONFIG = OmniConfig(SMALL, VOCABULARY, IDS)
MIDDLE = OmniConfig(
    ModelShape(
        hidden=192, layers=6, heads=12, kv_heads=2, head_dim=32, experts=24, top_k=4, expert_inner=48,
        dense_layers=(0, 3), dense_inner=256, mrope_section=(6, 5, 5), init="fan_in", position_std=0.3,
        vision=VisionShape(
            hidden=96, layers=5, heads=4, inner=160, patch=4, position_grid=7, deepstack_layers=(0, 2, 4)
        ),
        audio=AudioShape(hidden=96, layers=4, heads=6, inner=160, mel_bins=32, conv_channels=12, window_frames=400),
    ),
    1_000,
    IDS,
)  # fmt: skip
"""Mid-size: six layers of which two are dense, six query heads a key head, 24 experts, three deepstack levels."""


def randomised(config: OmniConfig = CONFIG, seed: int = 0) -> OmniModel:
    """A model whose biases and norms are random too, so that a test sees each of them."""
    model = OmniModel(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def _attention_flops(q: tuple[int, ...], k: tuple[int, ...], *rest: object, **named: object) -> int:
    """Scores and weighted values of the CPU's attention, unknown to torch's counter: every pair counts."""
    batch, heads, queries, size = q
    return 4 * batch * heads * queries * k[2] * size


COUNTED_HERE = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
"""For `FlopCounterMode(custom_mapping=…)`."""


@dataclass
class Row:
    """One document under construction."""

    tokens: list[int] = field(default_factory=list)
    grids: list[tuple[int, int, int]] = field(default_factory=list)
    is_video: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    audio_in_video: bool = False


class Writer:
    """Writes documents of random text and media."""

    def __init__(self, config: OmniConfig = CONFIG, seed: int = 0) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)

    def text(self, row: Row, count: int) -> Row:
        row.tokens += torch.randint(20, self.config.vocabulary, (count,), generator=self.generator).tolist()
        return row

    def image(self, row: Row, rows: int, columns: int) -> Row:
        return self._visual(row, (1, rows, columns), video=False, seconds=0.0)

    def video(self, row: Row, frames: int, rows: int, columns: int, seconds: float = 1.0) -> Row:
        return self._visual(row, (frames, rows, columns), video=True, seconds=seconds)

    def _visual(self, row: Row, grid: tuple[int, int, int], *, video: bool, seconds: float) -> Row:
        ids = self.config.token_ids
        count = grid[0] * grid[1] * grid[2] // self.config.shape.vision.merge_unit
        row.tokens += [ids.vision_start, *[ids.video_pad if video else ids.image_pad] * count, ids.vision_end]
        row.grids.append(grid)
        row.is_video.append(video)
        if video:
            row.seconds.append(seconds)
        return row

    def audio(self, row: Row, frames: int) -> Row:
        ids = self.config.token_ids
        row.tokens += [ids.audio_start, *[ids.audio_pad] * self.config.shape.audio.tokens(frames), ids.audio_end]
        row.frames.append(frames)
        return row

    def video_with_audio(self, row: Row, grid: tuple[int, int, int], frames: int, seconds: float = 1.0) -> Row:
        """A clip whose sound is interleaved with its frames by time, as transformers' processor writes it."""
        ids, merge = self.config.token_ids, self.config.shape.vision.merge_unit
        a_frame = grid[1] * grid[2] // merge
        a_second = self.config.position_id_per_seconds
        video = [step * seconds * a_second for step in range(grid[0]) for _ in range(a_frame)]
        audio = list(range(self.config.shape.audio.tokens(frames)))
        row.tokens += [ids.vision_start, ids.audio_start]
        while video and audio:
            row.tokens.append(ids.video_pad if video[0] <= audio[0] else ids.audio_pad)
            (video if video[0] <= audio[0] else audio).pop(0)
        row.tokens += [ids.video_pad] * len(video) + [ids.audio_pad] * len(audio) + [ids.audio_end, ids.vision_end]
        row.grids.append(grid)
        row.is_video.append(True)
        row.seconds.append(seconds)
        row.frames.append(frames)
        row.audio_in_video = True
        return row


@dataclass
class Inputs:
    """The same documents twice: a row each with left or right padding."""

    ours: dict[str, Tensor]
    theirs: dict[str, Any]
    real_BS: Tensor


def transformers_thinker(model: OmniModel) -> Any:
    """transformers' own class with the same weights (names equal: nothing is renamed)."""
    from transformers import Qwen3OmniMoeConfig
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeThinkerForConditionalGeneration

    config = Qwen3OmniMoeConfig(**config_json(model.config)).thinker_config
    config._attn_implementation = "sdpa"
    theirs = Qwen3OmniMoeThinkerForConditionalGeneration(config).eval()
    theirs.load_state_dict(model.state_dict(), strict=True)
    theirs.tie_weights()
    return theirs


def pack(rows: list[Row], thinker: Any, config: OmniConfig = CONFIG, seed: int = 0, side: str = "left") -> Inputs:
    """Rows padded at a `side` (transformers' processor pads left), random pixels and mel frames.

    Positions are those of transformers' get_rope_index.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = config.shape
    size = max(len(row.tokens) for row in rows)
    tokens_BS = torch.full((len(rows), size), config.token_ids.end_of_text)
    real_BS = torch.zeros(len(rows), size, dtype=torch.bool)
    for number, row in enumerate(rows):
        start = size - len(row.tokens) if side == "left" else 0
        tokens_BS[number, start : start + len(row.tokens)] = torch.tensor(row.tokens)
        real_BS[number, start : start + len(row.tokens)] = True
    grids = [grid for row in rows for grid in row.grids]
    video = [flag for row in rows for flag in row.is_video]
    grid_G3 = torch.tensor(grids, dtype=torch.long).reshape(-1, 3)
    patches = [torch.randn(int(g.prod()), shape.vision.patch_values, generator=generator) for g in grid_G3]
    frames = [count for row in rows for count in row.frames]
    mels = [torch.randn(shape.audio.mel_bins, count, generator=generator) for count in frames]
    theirs: dict[str, Any] = {"input_ids": tokens_BS, "attention_mask": real_BS.long()}
    still = [p for p, flag in zip(patches, video, strict=True) if not flag]
    moving = [p for p, flag in zip(patches, video, strict=True) if flag]
    flags = torch.tensor(video, dtype=torch.bool)
    if still:
        theirs |= {"pixel_values": torch.cat(still), "image_grid_thw": grid_G3[~flags]}
    if moving:
        seconds = torch.tensor([s for row in rows for s in row.seconds])
        theirs |= {"pixel_values_videos": torch.cat(moving), "video_grid_thw": grid_G3[flags]}
        theirs |= {"video_second_per_grid": seconds, "use_audio_in_video": any(row.audio_in_video for row in rows)}
    if frames:
        longest = max(frames)
        padded = torch.zeros(len(mels), shape.audio.mel_bins, longest)
        mask = torch.zeros(len(mels), longest, dtype=torch.long)
        for number, mel in enumerate(mels):
            padded[number, :, : mel.shape[1]] = mel
            mask[number, : mel.shape[1]] = 1
        theirs |= {"input_features": padded, "feature_attention_mask": mask}
    positions = thinker.get_rope_index(
        tokens_BS, theirs.get("image_grid_thw"), theirs.get("video_grid_thw"), real_BS.long(),
        theirs.get("use_audio_in_video", False), torch.tensor(frames) if frames else None,
        theirs.get("video_second_per_grid"),
    )[0]  # fmt: skip
    ours = {
        "tokens_BS": tokens_BS,
        "positions_3BS": positions,
        "document_BS": real_BS.int(),
        "patches_PC": torch.cat(patches) if patches else torch.zeros(0, shape.vision.patch_values),
        "grid_G3": grid_G3,
        "is_video_G": flags,
        "mel_MF": torch.cat(mels, dim=1) if mels else torch.zeros(shape.audio.mel_bins, 0),
        "mel_lengths_A": torch.tensor(frames, dtype=torch.long),
    }
    return Inputs(ours, theirs, real_BS)
