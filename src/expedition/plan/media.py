"""How many tokens a picture, clip or sound becomes: the media-token rule that data, model and evaluation share."""

from __future__ import annotations

import math

from pydantic import Field

from expedition.plan.section import Section

AUDIO_CHUNK_FRAMES = 100
AUDIO_CHUNK_TOKENS = 13


class MediaRule(Section):
    """Sizes of pictures, clips and sounds as the model sees them.

    The arithmetic is that of transformers' Qwen2-VL image processor and Qwen3-Omni audio tower, so an exported
    model gets the same number of tokens from its own processor.
    """

    patch: int = Field(default=8, ge=2, le=64)
    """Side of a vision patch, pixels."""
    merge: int = Field(default=2, ge=1, le=4)
    """Patches a side that are merged into one token."""
    temporal_patch: int = Field(default=2, ge=1, le=4)
    """Frames that make one patch; a picture is repeated to fill it."""
    image_min_pixels: int = Field(default=16 * 16, ge=64)
    """Smaller pictures are enlarged to this area, pixels."""
    image_max_pixels: int = Field(default=64 * 64, ge=64)
    """Larger pictures are reduced to this area, pixels."""
    video_max_pixels: int = Field(default=64 * 64, ge=64)
    """Larger frames are reduced to this area, pixels."""
    video_max_frames: int = Field(default=4, ge=1)
    """Frames kept of a clip, spread evenly over it."""
    video_fps: float = Field(default=4.0, gt=0)
    """Frames a second that are sampled where the clip is short enough."""
    position_id_per_seconds: int = Field(default=13, ge=1)
    """Temporal MRoPE positions a second of video or audio."""
    audio_in_video: bool = Field(default=False, exclude_if=lambda interleaved: not interleaved)
    """Whether a sound that directly follows its clip is interleaved with the clip's frames by time, as transformers'
    `use_audio_in_video` does; false sets it after the clip."""
    mel_bins: int = Field(default=128, ge=8)
    """Mel bands of the audio front end."""
    sample_rate: int = Field(default=16_000, ge=8_000)
    """Audio samples a second."""
    n_fft: int = Field(default=400, ge=64)
    """Samples of one spectral window."""
    hop: int = Field(default=160, ge=16)
    """Samples between two mel frames."""
    audio_max_s: float = Field(default=30.0, gt=0)
    """Longer sounds are cut, seconds."""

    @property
    def unit(self) -> int:
        """Side of the picture area that becomes one token, pixels."""
        return self.patch * self.merge

    def resized(self, height: int, width: int, max_pixels: int) -> tuple[int, int]:
        """Height and width (pixels, multiples of `unit`) that a picture is resized to.

        Same rule as transformers' `smart_resize`: round to the unit, then shrink or grow to the area's bounds.
        """
        unit = self.unit
        new_height = round(height / unit) * unit
        new_width = round(width / unit) * unit
        if new_height * new_width > max_pixels:
            beta = math.sqrt(height * width / max_pixels)
            new_height = max(unit, math.floor(height / beta / unit) * unit)
            new_width = max(unit, math.floor(width / beta / unit) * unit)
        elif new_height * new_width < self.image_min_pixels:
            beta = math.sqrt(self.image_min_pixels / (height * width))
            new_height = math.ceil(height * beta / unit) * unit
            new_width = math.ceil(width * beta / unit) * unit
        return new_height, new_width

    def image_grid(self, height: int, width: int) -> tuple[int, int, int]:
        """(t, h, w) in patches of a picture; t is 1."""
        new_height, new_width = self.resized(height, width, self.image_max_pixels)
        return 1, new_height // self.patch, new_width // self.patch

    def video_grid(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """(t, h, w) in patches of a clip of `frames` sampled frames."""
        new_height, new_width = self.resized(height, width, self.video_max_pixels)
        kept = min(frames, self.video_max_frames)
        return -(-kept // self.temporal_patch), new_height // self.patch, new_width // self.patch

    def grid_tokens(self, grid: tuple[int, int, int]) -> int:
        """Tokens of a grid."""
        return grid[0] * grid[1] * grid[2] // self.merge**2

    def image_tokens(self, height: int, width: int) -> int:
        """Tokens of a picture, without its start and end tokens."""
        return self.grid_tokens(self.image_grid(height, width))

    def video_tokens(self, frames: int, height: int, width: int) -> int:
        """Tokens of a clip, without its start and end tokens."""
        return self.grid_tokens(self.video_grid(frames, height, width))

    def video_time_step(self, frames_per_s: float) -> int:
        """Positions between two temporal patches of a clip sampled at `frames_per_s` (> 0): whole, at least 1."""
        return max(1, round(self.temporal_patch / frames_per_s * self.position_id_per_seconds))

    def second_per_grid(self, time_step: int) -> float:
        """Seconds between two temporal patches, as transformers' `second_per_grids` must hold them for `time_step`."""
        return time_step / self.position_id_per_seconds

    def audio_samples(self, samples: int) -> int:
        """Samples kept of a sound."""
        return min(samples, int(self.audio_max_s * self.sample_rate))

    def audio_frames(self, samples: int) -> int:
        """Mel frames of a sound of `samples` samples."""
        return self.audio_samples(samples) // self.hop

    def audio_tokens(self, frames: int) -> int:
        """Tokens of `frames` mel frames, without start and end tokens: three stride-2 convolutions a chunk of 100."""
        full, rest = divmod(frames, AUDIO_CHUNK_FRAMES)
        tokens = full * AUDIO_CHUNK_TOKENS
        if rest:
            for _ in range(3):
                rest = (rest - 1) // 2 + 1
            tokens += rest
        return tokens
