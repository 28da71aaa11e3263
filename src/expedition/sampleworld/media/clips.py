"""Clips: one second, four frames of 64 × 64, H.264 in MP4, and the SubRip text that belongs to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from expedition.sampleworld.media.pictures import Picture, ground, stamp
from expedition.sampleworld.world import Thing

FRAMES_PER_S = 4
FRAMES = 4

_TRAVEL: dict[str, tuple[float, float]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle, times in seconds from the clip's start."""

    start_s: float
    end_s: float
    text: str


def movement_frames(thing: Thing, direction: str, rng: np.random.Generator) -> list[Picture]:
    """Four frames in which `thing` crosses the picture."""
    empty = ground(rng)
    radius = float(rng.uniform(8.2, 9.2))
    travel = np.asarray(_TRAVEL[direction])
    aside = rng.uniform(-12, 12) * np.abs(travel[::-1])
    reach = rng.uniform(18, 21)
    frames = []
    for number in range(FRAMES):
        place = 32 + aside + travel * reach * (2 * number / (FRAMES - 1) - 1)
        frames.append(_frame(empty, thing, place, radius, rng))
    return frames


def succession_frames(things: Sequence[Thing], frames_each: int, rng: np.random.Generator) -> list[Picture]:
    """Each thing in turn, in the middle of the picture, `frames_each` frames long."""
    empty = ground(rng)
    frames = []
    for thing in things:
        place, radius = 32 + rng.uniform(-6, 6, size=2), float(rng.uniform(8.2, 9.2))
        frames += [_frame(empty, thing, place, radius, rng) for _ in range(frames_each)]
    return frames


def movement_text(thing: Thing, direction: str) -> str:
    """E.g. "a red circle moves left"."""
    return f"{thing.phrase} moves {direction}"


def succession_cues(things: Sequence[Thing], seconds_each: float) -> list[Cue]:
    """One cue a thing: "first a red circle", "then a blue square", …"""
    return [
        Cue(number * seconds_each, (number + 1) * seconds_each, f"{'then' if number else 'first'} {thing.phrase}")
        for number, thing in enumerate(things)
    ]


def subrip(cues: Sequence[Cue], offset_s: float = 0.0) -> str:
    """Cues as a SubRip file, all times moved by `offset_s` (never before zero)."""
    blocks = [
        f"{number}\n{_clock(cue.start_s + offset_s)} --> {_clock(cue.end_s + offset_s)}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    ]
    return "\n".join(blocks)


def encode_mp4(frames: Sequence[Picture], crf: int = 16) -> bytes:
    """Frames at 4 a second as H.264 in MP4: one encoder thread and no dates, so equal frames give equal bytes."""
    buffer = io.BytesIO()
    height, width = frames[0].shape[:2]
    with av.open(buffer, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=FRAMES_PER_S)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        track.codec_context.thread_count = 1
        track.options = {"preset": "ultrafast", "crf": str(crf)}
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return buffer.getvalue()


def _frame(empty: Picture, thing: Thing, place: np.ndarray, radius: float, rng: np.random.Generator) -> Picture:
    picture = empty.copy()
    jitter = rng.uniform(-0.6, 0.6, size=2)
    stamp(picture, thing.shape, thing.colour, (float(place[0] + jitter[0]), float(place[1] + jitter[1])), radius)
    return picture


def _clock(seconds: float) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
