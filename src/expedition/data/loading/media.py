"""Pictures and clips as flattened patches, in the order and with the values of transformers' Qwen2-VL processors.

Alphabet: P patches, C = 3 x temporal_patch x patch x patch values of one patch (channel, frame, row, column).
Patches of one merge x merge neighbourhood lie together; temporal patches come first in order.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError
from expedition.plan.media import MediaRule

Pixels = npt.NDArray[np.uint8]

MAX_DECODED_PIXELS = 1 << 26
"""A picture that claims more is refused before it is decoded."""


@dataclass(frozen=True, slots=True)
class Patches:
    """A picture or clip for the vision encoder. `grid` is (t, h, w) in patches; `time_step` is 1 for a picture."""

    patches_PC: npt.NDArray[np.float32]
    grid: tuple[int, int, int]
    is_video: bool
    time_step: int = 1


def decode_image(data: bytes) -> Pixels:
    """RGB pixels [height, width, 3] of a JPEG or PNG. Raises InputError if it is neither, broken, or too large."""
    import simplejpeg

    try:
        if data[:2] == b"\xff\xd8":
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
            _refuse_large(height, width)
            pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
            return pixels
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            _refuse_large(image.height, image.width)
            return np.asarray(image.convert("RGB"))
    except (ValueError, OSError, SyntaxError) as error:
        raise InputError(f"a picture of {len(data)} bytes does not decode: {error}") from error


def split_frames(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The single JPEGs of concatenated frames. Raises InputError if `sizes` does not sum to the data's length."""
    if sum(sizes) != len(data):
        raise InputError(f"a clip has {len(data)} bytes, its frame sizes sum to {sum(sizes)}")
    ends = np.cumsum(np.asarray(sizes, dtype=np.int64)).tolist()
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def kept_frames(frames: int, rule: MediaRule) -> list[int]:
    """Indices of the frames that are kept of a clip, spread evenly: floor(i · frames / kept)."""
    kept = min(frames, rule.video_max_frames)
    return [index * frames // kept for index in range(kept)]


def image_patches(pixels: Pixels, rule: MediaRule) -> Patches:
    """Patches of a picture of [height, width, 3]; values equal Qwen2VLImageProcessorPil's (mean and std 0.5)."""
    grid = rule.image_grid(pixels.shape[0], pixels.shape[1])
    still = _patchify(_resized(pixels, grid, rule)[None], grid, rule, depth=1)
    side = rule.patch * rule.patch
    # A picture fills a temporal patch with copies of itself, next to each other within a channel.
    patches = still.reshape(-1, 3, 1, side).repeat(rule.temporal_patch, axis=2).reshape(len(still), -1)
    return Patches(patches, grid, is_video=False)


def video_patches(frames: Sequence[Pixels], time_step: int, rule: MediaRule) -> Patches:
    """Patches of the kept frames of a clip, each [height, width, 3]; the last is repeated to fill a temporal patch."""
    grid = rule.video_grid(len(frames), frames[0].shape[0], frames[0].shape[1])
    resized = [_resized(frame, grid, rule) for frame in frames]
    resized += [resized[-1]] * (grid[0] * rule.temporal_patch - len(resized))
    patches = _patchify(np.stack(resized), grid, rule, rule.temporal_patch)
    return Patches(patches, grid, is_video=True, time_step=time_step)


def _refuse_large(height: int, width: int) -> None:
    if height * width > MAX_DECODED_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_DECODED_PIXELS}")


def _resized(pixels: Pixels, grid: tuple[int, int, int], rule: MediaRule) -> Pixels:
    height, width = grid[1] * rule.patch, grid[2] * rule.patch
    if pixels.shape[:2] == (height, width):
        return pixels
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).resize((width, height), resample=Image.Resampling.BICUBIC))


def _patchify(frames: Pixels, grid: tuple[int, int, int], rule: MediaRule, depth: int) -> npt.NDArray[np.float32]:
    """[t·depth, height, width, 3] → [P, 3·depth·patch·patch]."""
    merge, patch = rule.merge, rule.patch
    blocks = frames.reshape(grid[0], depth, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch, 3)
    ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
    return normalised(ordered.reshape(grid[0] * grid[1] * grid[2], 3 * depth * patch * patch))


def normalised(values: Pixels) -> npt.NDArray[np.float32]:
    """8-bit values rescaled by 1/255, mean 0.5, deviation 0.5: for each of the 256 what transformers rounds it to.

    A look-up in a table of them would first widen each byte to eight.
    """
    scaled = values.astype(np.float32)
    scaled /= np.float32(255)
    scaled -= np.float32(0.5)
    scaled /= np.float32(0.5)
    return scaled
