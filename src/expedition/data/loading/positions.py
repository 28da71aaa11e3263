"""Rotary positions (t, h, w) of an expanded document, equal to transformers' `Qwen3OmniMoe….get_rope_index`.

Text and audio tokens count on by one in all three. A picture or clip of T x H x W merged patches that starts at
position p gives its tokens (p + i·step, p + row, p + column), i being the temporal patch; what follows goes on at the
largest of these plus one. transformers keeps positions as float32 and takes step = second_per_grid x
position_id_per_seconds; here the step is rounded to a whole number of at least 1, so that positions are exact integers.
A clip with its own sound has both in one run, ordered by time (`interleaving`), the sound counting on by one from p.
`MediaRule.second_per_grid` says which value to hand to transformers for the same positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class VisionSpan:
    """A run of picture or clip tokens inside a document: `start` is the index of its first pad token.

    `grid` is (t, h, w) in patches before merging; `time_step` the positions between temporal patches; `sound` the
    number of audio tokens that are interleaved with a clip's by time, 0 for a clip without its sound.
    """

    start: int
    grid: tuple[int, int, int]
    time_step: int = 1
    sound: int = 0


def interleaving(span: VisionSpan, merge: int) -> npt.NDArray[np.bool_]:
    """Which tokens of a clip with its sound are the clip's [n], by time; a frame comes before the sound of its moment.

    An audio token counts one position, 1/`position_id_per_seconds` s; transformers' processor merges in the same way.
    """
    frame = span.grid[1] // merge * (span.grid[2] // merge)
    shown = np.repeat(span.time_step * np.arange(span.grid[0]), frame)
    order = np.argsort(np.concatenate([shown, np.arange(span.sound)]), kind="stable")
    return np.asarray(order < len(shown))


def rope_positions(length: int, spans: Sequence[VisionSpan], merge: int) -> npt.NDArray[np.int64]:
    """Positions [3, length] of one document of `length` tokens with vision `spans` in order. Pure.

    Raises ValueError if spans overlap, are out of order, or reach beyond the document.
    """
    out = np.empty((3, length), dtype=np.int64)
    done, position = 0, 0
    for span in spans:
        temporal, rows, columns = span.grid[0], span.grid[1] // merge, span.grid[2] // merge
        tokens = temporal * rows * columns + span.sound
        if span.start < done or span.start + tokens > length:
            raise ValueError(f"vision span at {span.start} of {tokens} tokens does not fit ({done}..{length})")
        text = span.start - done
        out[:, done : span.start] = position + np.arange(text)
        position += text
        seen = np.empty((3, temporal, rows, columns), dtype=np.int64)
        seen[0] = position + span.time_step * np.arange(temporal)[:, None, None]
        seen[1] = position + np.arange(rows)[None, :, None]
        seen[2] = position + np.arange(columns)[None, None, :]
        here = out[:, span.start : span.start + tokens]
        if span.sound:
            shown = interleaving(span, merge)
            here[:, shown] = seen.reshape(3, -1)
            here[:, ~shown] = position + np.arange(span.sound)
            # transformers goes on after the last run of frames or of sound, not after the largest position of all.
            last_run = tokens - int(np.argmax(shown[::-1] != shown[-1]))
            position = int(here[:, last_run:].max()) + 1
        else:
            here[:] = seen.reshape(3, -1)
            position += max((temporal - 1) * span.time_step, rows - 1, columns - 1) + 1
        done = span.start + tokens
    out[:, done:] = position + np.arange(length - done)
    return out
