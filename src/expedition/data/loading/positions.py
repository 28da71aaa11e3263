"""Rotary positions (t, h, w) of an expanded document, equal to transformers' `Qwen3OmniMoe….get_rope_index`.

Text and audio tokens count on by one in all three. A picture or clip of T x H x W merged patches that starts at
position p gives its tokens (p + i·step, p + row, p + column), i being the temporal patch; what follows goes on at the
largest of these plus one. transformers keeps positions as float32 and takes step = second_per_grid x
position_id_per_seconds; here the step is rounded to a whole number of at least 1, so that positions are exact integers.
`second_per_grid` says which value to hand to transformers for the same positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expedition.plan.media import MediaRule


@dataclass(frozen=True, slots=True)
class VisionSpan:
    """A run of picture or clip tokens inside a document: `start` is the index of its first pad token.

    `grid` is (t, h, w) in patches before merging; `time_step` the positions between temporal patches.
    """

    start: int
    grid: tuple[int, int, int]
    time_step: int = 1


def video_time_step(frames_per_s: float, rule: MediaRule) -> int:
    """Positions between two temporal patches of a clip sampled at `frames_per_s` (> 0)."""
    return max(1, round(rule.temporal_patch / frames_per_s * rule.position_id_per_seconds))


def second_per_grid(time_step: int, rule: MediaRule) -> float:
    """Seconds between two temporal patches, as transformers' `second_per_grids` must hold them for `time_step`."""
    return time_step / rule.position_id_per_seconds


def rope_positions(length: int, spans: Sequence[VisionSpan], merge: int) -> npt.NDArray[np.int64]:
    """Positions [3, length] of one document of `length` tokens with vision `spans` in order. Pure.

    Raises ValueError if spans overlap, are out of order, or reach beyond the document.
    """
    out = np.empty((3, length), dtype=np.int64)
    done, position = 0, 0
    for span in spans:
        temporal, rows, columns = span.grid[0], span.grid[1] // merge, span.grid[2] // merge
        tokens = temporal * rows * columns
        if span.start < done or span.start + tokens > length:
            raise ValueError(f"vision span at {span.start} of {tokens} tokens does not fit ({done}..{length})")
        text = span.start - done
        out[:, done : span.start] = position + np.arange(text)
        position += text
        here = out[:, span.start : span.start + tokens].reshape(3, temporal, rows, columns)
        here[0] = position + span.time_step * np.arange(temporal)[:, None, None]
        here[1] = position + np.arange(rows)[None, :, None]
        here[2] = position + np.arange(columns)[None, None, :]
        position += max((temporal - 1) * span.time_step, rows - 1, columns - 1) + 1
        done = span.start + tokens
    out[:, done:] = position + np.arange(length - done)
    return out
