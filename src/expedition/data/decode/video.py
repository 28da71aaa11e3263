"""Clips to frames: the only module that imports PyAV (which must stay alone in its process; see FACTS on media)."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container.input import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from expedition.data.decode.audio import Samples, Sound
from expedition.data.decode.image import fitted, jpeg_bytes
from expedition.data.decode.piece import Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.scenes import THUMBNAIL, SceneCuts
from expedition.data.records import Insert
from expedition.data.stages.audio.voice import voiced_spans

av.logging.set_level(av.logging.PANIC)

_MAX_PIXELS = 4096 * 2304
_MAX_SAMPLES = 24_000_000
_VOICE_RATE = 8000


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a clip as an insert; timestamps in the insert count from `start_s`."""

    start_s: float
    end_s: float
    insert: Insert
    repairs: tuple[Repair, ...] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame that may be stored; `scene` is the number of its shot within the segment."""

    at_s: float
    jpeg: bytes
    scene: int


@dataclass(slots=True)
class _Sampler:
    """Picks frames at a spacing, and one of each new shot, and keeps them as JPEGs, one segment at a time."""

    rules: DecodeRules
    spacing_s: float
    start_s: float = 0.0
    next_s: float = 0.0
    frames: list[_Frame] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    scenes: SceneCuts = field(default_factory=SceneCuts)
    scene: int = 0

    def offer(self, frame: VideoFrame, at_s: float) -> None:
        """Take the frame if its time has come, or if it is the first that is known to be of a new shot."""
        small = frame.to_ndarray(format="rgb24", width=THUMBNAIL[0], height=THUMBNAIL[1])
        if self.scenes.offer(small.astype(np.uint8, copy=False), at_s):
            self._begin_scene(self.scenes.cuts_s[-1])
            if not self.frames or self.frames[-1].scene != self.scene:
                self._keep(frame, at_s)
        if at_s + 1e-6 < self.next_s:
            return
        if not self.frames or self.frames[-1].at_s != at_s:
            self._keep(frame, at_s)
        self.next_s += self.spacing_s * max(1, int((at_s - self.next_s) / self.spacing_s + 1))

    def _begin_scene(self, cut_s: float) -> None:
        """Frames that were taken between the cut and its confirmation are of the new shot."""
        self.scene += 1
        self.frames = [kept if kept.at_s < cut_s else _Frame(kept.at_s, kept.jpeg, self.scene) for kept in self.frames]

    def _keep(self, frame: VideoFrame, at_s: float) -> None:
        width, height = fitted(frame.width, frame.height, self.rules.video_max_pixels)
        pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        pixels = np.rot90(pixels, turns) if turns else pixels
        self.frames.append(_Frame(at_s, jpeg_bytes(pixels, self.rules.jpeg_quality), self.scene))
        self.size = (pixels.shape[1], pixels.shape[0])

    def close(self, end_s: float, repairs: tuple[Repair, ...] = ()) -> Segment:
        """The frames so far as a segment, thinned to the most that are stored: evenly, and no shot without a frame."""
        kept = [
            self.frames[place] for place in thinned([kept.scene for kept in self.frames], self.rules.video_max_frames)
        ]
        cuts = [round(cut - self.start_s, 4) for cut in self.scenes.cuts_s if self.start_s < cut < end_s]
        duration = max(end_s - self.start_s, 1e-3)
        meta = {
            "width": self.size[0],
            "height": self.size[1],
            "frames": len(kept),
            "sizes": [len(frame.jpeg) for frame in kept],
            "timestamps_s": [round(frame.at_s - self.start_s, 4) for frame in kept],
            "fps_sampled": round(len(kept) / duration, 4),
            **({"cuts_s": cuts} if cuts else {}),
        }
        insert = Insert("video", data=b"".join(frame.jpeg for frame in kept), meta=meta)
        segment = Segment(self.start_s, end_s, insert, repairs)
        self.frames, self.start_s = [], end_s
        return segment


def thinned(scenes: Sequence[int], most: int) -> list[int]:
    """Places of at most `most` frames whose shots are `scenes` (ascending): one of each shot, the longest first where there
    are too many; the rest by the shots' numbers of frames, evenly within each. Pure."""
    sizes: dict[int, int] = {}
    for scene in scenes:
        sizes[scene] = sizes.get(scene, 0) + 1
    count = min(len(scenes), most)
    shares = dict.fromkeys(sorted(sizes, key=lambda scene: (-sizes[scene], scene))[:count], 1)
    for _ in range(count - len(shares)):
        wanting = max(
            shares, key=lambda scene: (sizes[scene] / shares[scene] if shares[scene] < sizes[scene] else 0, -scene)
        )
        shares[wanting] += 1
    places: list[int] = []
    first = 0
    for scene, size in sizes.items():
        share = shares.get(scene, 0)
        places += [first + (2 * i + 1) * size // (2 * share) for i in range(share)]
        first += size
    return places


def read_clip(source: Path | bytes, rules: DecodeRules) -> Iterator[Segment]:
    """Segments of a clip of at most `rules.video_segment_s`, each with at most `rules.video_max_frames` frames.

    One decoder thread, frames by presentation time: equal bytes give equal frames. A clip that breaks off yields
    what was readable, with a repair. Raises Refused: TRUNCATED, CORRUPT, UNSUPPORTED_FORMAT, TOO_MANY_PIXELS.
    """
    with _opened(source) as container:
        if not container.streams.video:
            raise Refused(Reason.UNSUPPORTED_FORMAT, "no video stream")
        stream = container.streams.video[0]
        _check_size(stream.width, stream.height)
        _one_thread(stream)
        yield from _segments(container, stream, rules)


def read_clip_sound(source: Path | bytes, most_s: float) -> Sound | None:
    """The clip's first sound track, mono at its own rate, or None. Raises Refused(CORRUPT | TOO_LONG)."""
    with _opened(source) as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        _one_thread(stream)
        parts: list[Samples] = []
        rate, length = stream.rate or 0, 0
        try:
            for frame in container.decode(stream):
                if not 1000 <= frame.sample_rate <= 384_000:
                    raise Refused(Reason.CORRUPT, f"{frame.sample_rate} samples a second")
                rate = frame.sample_rate
                parts.append(_mono(frame.to_ndarray(), len(frame.layout.channels), frame.format.is_planar))
                length += len(parts[-1])
                if length > min(most_s * rate, _MAX_SAMPLES):
                    raise Refused(Reason.TOO_LONG, f"more than {length / rate:.0f} s of sound")
        except (FFmpegError, ValueError):
            if not parts:
                raise Refused(Reason.CORRUPT, "no readable sound") from None
    if not parts:
        return None
    return Sound(np.clip(np.nan_to_num(np.concatenate(parts)), -1.0, 1.0), rate)


@dataclass(frozen=True, slots=True)
class Voice:
    """Where somebody speaks in a clip, seconds from its start, as far as it was heard."""

    spans: tuple[tuple[float, float], ...]
    heard_s: float

    def between(self, start_s: float, end_s: float) -> list[list[float]]:
        """The spans within two times, counted from the first."""
        cut = [(max(first, start_s) - start_s, min(last, end_s) - start_s) for first, last in self.spans]
        return [[round(first, 2), round(last, 2)] for first, last in cut if last > first]


def read_clip_voice(source: Path | bytes) -> Voice | None:
    """Where somebody speaks in the clip's first sound track, at 8,000 samples a second; None without a readable one.

    Hears at most 50 minutes (24 million samples); a track that breaks off is heard up to there.
    """
    parts: list[Samples] = []
    length, offset_s = 0, 0.0
    try:
        with _opened(source) as container:
            if not container.streams.audio:
                return None
            stream = container.streams.audio[0]
            _one_thread(stream)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=_VOICE_RATE)
            timed = [item for item in container.streams if item.start_time is not None and item.time_base is not None]
            starts = [
                item.start_time * item.time_base for item in timed if item.start_time is not None and item.time_base
            ]
            if stream.start_time is not None and stream.time_base is not None and starts:
                offset_s = float(stream.start_time * stream.time_base - min(starts))
            for frame in container.decode(stream):
                for made in resampler.resample(frame):
                    parts.append(made.to_ndarray().reshape(-1).astype(np.float32))
                    length += len(parts[-1])
                if length > _MAX_SAMPLES:
                    break
    except (FFmpegError, ValueError, Refused, TypeError):
        pass
    if not parts:
        return None
    samples = np.clip(np.nan_to_num(np.concatenate(parts)), -1.0, 1.0)
    spans = tuple((start + offset_s, end + offset_s) for start, end in voiced_spans(samples, _VOICE_RATE))
    return Voice(spans, len(samples) / _VOICE_RATE + offset_s)


def _opened(source: Path | bytes) -> InputContainer:
    try:
        opened = av.open(
            str(source) if isinstance(source, Path) else io.BytesIO(source), "r", metadata_errors="replace"
        )
    except (FFmpegError, ValueError, OSError) as error:
        if _cut_off(source):
            raise Refused(Reason.TRUNCATED, "a box reaches past the end of the file") from None
        raise Refused(Reason.CORRUPT, str(error)[:120]) from None
    return opened


def _one_thread(stream: VideoStream | AudioStream) -> None:
    """One decoder thread: less memory, and nothing depends on timing. Raises Refused where no decoder is known."""
    if stream.codec_context is None:
        raise Refused(Reason.UNSUPPORTED_FORMAT, "no decoder for the stream")
    stream.codec_context.thread_count = 1


def _cut_off(source: Path | bytes) -> bool:
    """Whether an ISO media file's top-level boxes reach past its end, or its index (moov) is missing."""
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    names: list[bytes] = []
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
        at = 0
        while at + 8 <= size and len(names) < 1000:
            stream.seek(at)
            head = stream.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:16], "big")
            names.append(head[4:8])
            if length < 8:
                break
            at += length
    return bool(names) and names[0] == b"ftyp" and (at > size or b"moov" not in names)


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise Refused(Reason.TOO_MANY_PIXELS, f"{width} x {height} pixels a frame")
    if width < 1 or height < 1:
        raise Refused(Reason.CORRUPT, f"{width} x {height} pixels a frame")


def _segments(container: InputContainer, stream: VideoStream, rules: DecodeRules) -> Iterator[Segment]:
    duration = _duration(container, stream)
    length = rules.video_segment_s
    per_segment = min(length, duration) if duration else length
    sampler = _Sampler(rules, max(1 / rules.video_fps, per_segment / rules.video_max_frames / 2))
    origin: float | None = None
    last_s, step_s, number = 0.0, 1 / 25, 0
    started = time.monotonic()
    repairs: tuple[Repair, ...] = ()
    try:
        for frame in container.decode(stream):
            if frame.time is None:
                continue
            _check_size(frame.width, frame.height)
            origin = frame.time if origin is None else origin
            at = max(0.0, frame.time - origin)
            step_s, last_s = (at - last_s) or step_s, at
            if at >= sampler.start_s + length and sampler.frames:
                yield sampler.close(sampler.start_s + length)
                number += 1
                if number >= rules.video_max_segments:
                    return
            sampler.offer(frame, at)
            if time.monotonic() - started > rules.limits.clip_s:
                repairs = (Repair(Reason.TIME_LIMIT, 1, f"read up to {at:.1f} s"),)
                break
    except (FFmpegError, ValueError, MemoryError) as error:
        repairs = (Repair(Reason.CORRUPT, 1, f"broken after {last_s:.1f} s: {error}"[:120]),)
    if not sampler.frames and number == 0:
        raise Refused(Reason.CORRUPT, "not one readable frame")
    if duration and last_s + step_s < 0.9 * duration - 0.5 and not repairs:
        repairs = (Repair(Reason.TRUNCATED, 1, f"{last_s:.1f} s of {duration:.1f} s are there"),)
    if sampler.frames:
        yield sampler.close(last_s + step_s, repairs)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _mono(values: np.ndarray, channels: int, planar: bool) -> Samples:
    """One channel in [-1, 1] of a frame's samples, shape [channels, n] if planar, else [1, n * channels]."""
    if values.dtype.kind == "i":
        values = values.astype(np.float32) / float(np.iinfo(values.dtype).max + 1)
    elif values.dtype.kind == "u":
        values = values.astype(np.float32) / 128.0 - 1.0
    table = values.astype(np.float32)
    table = table if planar else table.reshape(-1, channels).T
    return np.ascontiguousarray(table.mean(axis=0, dtype=np.float32))
