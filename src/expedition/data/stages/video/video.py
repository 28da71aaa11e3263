"""The stage: clips whose subtitles do not belong to what is seen or heard are dropped."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from expedition.data.records import PLACEHOLDER, Insert
from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.image.perceptual_hash import hash_pixels
from expedition.data.stages.stage import StageResult
from expedition.data.stages.video.alignment import AlignLimits, Cue, histogram_cell, judge_alignment
from expedition.data.stages.video.events import frames_of, picture_changes, sound_onsets

_FINEST_S = 0.6
"""Frames stored further apart than this cannot time an event."""


@dataclass(frozen=True, slots=True)
class VideoAlign:
    """Stage: cues in meta `cues` ([start_s, end_s, text] rows from the clip's start) against range, picture and sound.

    Counts hold a histogram of differences, cells `alignment_s:low:high`. Meta `alignment_s` and `phash` (first, middle
    and last frame) are written. A clip without a word is dropped; subtitles without their clip pass.
    """

    kinds: frozenset[str] = frozenset({"video-text"})
    limits: AlignLimits = AlignLimits()
    min_frames: int = 1
    name: str = "video_align"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        clip = next((insert for insert in row.inserts if insert.kind == "video"), None)
        if clip is None:
            return Outcome(counts={"subtitles without a clip": 1})
        try:
            pictures = frames_of(clip)
        except (OSError, ValueError, SyntaxError):
            return Outcome(drop="unreadable frames")
        if len(pictures) < self.min_frames:
            return Outcome(drop="too few frames")
        if not row.text.replace(PLACEHOLDER, "").strip():
            if not row.meta.get("cues"):
                return Outcome(drop="no text")
            return Outcome(drop="misaligned: no subtitle in the clip", counts={histogram_cell(np.inf): 1})
        timestamps = [float(value) for value in clip.meta.get("timestamps_s", ())]
        duration = _duration_s(row, timestamps)
        spacing = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else 0.0
        # A change is known to lie between two frames, no better.
        limits = replace(self.limits, tolerance_s=max(self.limits.tolerance_s, 0.6 * min(spacing, _FINEST_S)))
        found = judge_alignment(_cues(row), duration, _events(row, pictures, timestamps), limits)
        counts = {} if found.difference_s is None else {histogram_cell(found.difference_s): 1}
        if found.reason:
            return Outcome(drop=found.reason, counts=counts)
        ends = sorted({0, len(pictures) // 2, len(pictures) - 1})
        meta = {"phash": ",".join(hash_pixels(pictures[number]) for number in ends)}
        if found.difference_s is not None:
            return Outcome(meta={**meta, "alignment_s": round(found.difference_s, 3)}, counts=counts)
        return Outcome(meta=meta, counts=counts)


def _cues(row: Row) -> list[Cue]:
    cues = []
    for cue in row.meta.get("cues", ()):
        if isinstance(cue, list) and len(cue) >= 2:
            cues.append((float(cue[0]), float(cue[1])))
    return sorted(cues)


def _duration_s(row: Row, timestamps: list[float]) -> float:
    start, end = row.meta.get("start_s"), row.meta.get("end_s")
    if isinstance(start, int | float) and isinstance(end, int | float) and end > start:
        return float(end) - float(start)
    step = timestamps[1] - timestamps[0] if len(timestamps) > 1 else 1.0
    return timestamps[-1] + step if timestamps else float("inf")


def _events(row: Row, pictures: list[Image.Image], timestamps: list[float]) -> list[float]:
    sound = next((insert for insert in row.inserts if insert.kind == "audio"), None)
    if sound is not None:
        onsets = sound_onsets(*samples_of(sound))
        if onsets:
            return onsets
    spacing = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else np.inf
    return picture_changes(pictures, timestamps) if spacing <= _FINEST_S else []


def samples_of(insert: Insert) -> tuple[npt.NDArray[np.float32], int]:
    """Mono float32 samples and rate of an audio insert. Raises soundfile.LibsndfileError on broken bytes."""
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(insert.data), dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)
