"""The stage: clips whose subtitles do not belong to what is seen or heard are dropped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from PIL import Image

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.audio.sound import samples_of
from expedition.data.stages.audio.voice import voiced_spans
from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.media_phash import media_phash
from expedition.data.stages.stage import StageResult
from expedition.data.stages.video.alignment import AlignLimits, Cue, histogram_cell, judge_alignment
from expedition.data.stages.video.events import frames_of, picture_changes
from expedition.data.stages.video.frame_print import clip_print

_FINEST_S = 0.6
"""Frames stored further apart than this cannot time an event."""


@dataclass(frozen=True, slots=True)
class VideoAlign:
    """Measures the time between subtitles and what is heard or seen; drops clips whose subtitles belong elsewhere.

    Cues (meta `cues`, rows of start, end and text, seconds from the clip's start) are compared with voice activity: of
    the stored sound, or the spans that the decoder measured (meta `voice_s`). The difference of a clip is the shift at
    which the masks of cues and voice correlate best; without a clear best it is the median of the cues' own differences
    to the nearest onset of voice. Clips without sound are compared with changes of the picture. Counts hold histograms,
    cells `alignment_s:low:high` a clip and `cue_s:low:high` a cue, subtitle minus speech. Meta `alignment_s` and `phash`
    (thumbnails of frames that show something, which `dedup.media` compares) are written. Subtitles whose clip is not
    there pass and are counted.

    Reasons:
    unreadable frames, too few frames: the stored pictures break their format's rules, or there are none.
    no text: neither cue nor caption.
    misaligned: no subtitle in the clip: there are cues, but none falls into it.
    misaligned: subtitles outside the clip: more than a fifth of the cues begin after its end, or end past it.
    misaligned: subtitles shifted: three cues or more, and they fit another shift than none clearly better.

    Thresholds:
    max_offset_s: 0.75 s; EBU-TT-D practice asks for 0.2 to 0.5 s, recognisers' cues begin up to half a second early.
    max_outside_share: 0.2; a clip that was cut keeps some cues past its end.
    search_s: 10 s; own choice, larger shifts appear as cues outside the clip.
    min_correlation, min_correlation_gain: 0.5 and 0.15; own choice, checked by shifting cues that stand at the pauses of
    real recordings (`benchmarks/quality/media.py`).
    min_events, min_explained, min_gain: 3, 0.8, 0.5; little evidence accuses nobody.

    Keeps: clips of one cue, music, and clips whose sound has no pause: nothing is concluded from them.
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
        voice = _voice(row)
        events = [] if voice else _events(pictures, timestamps, spacing)
        found = judge_alignment(_cues(row), duration, events, limits, voice)
        counts = Counter(histogram_cell(value, "cue_s") for value in found.by_cue_s)
        counts["clips measured by " + ("voice" if voice else "picture")] += found.difference_s is not None
        if found.difference_s is not None:
            counts[histogram_cell(found.difference_s)] += 1
        if found.reason:
            return Outcome(drop=found.reason, counts=counts)
        digest = xxhash.xxh3_128_hexdigest(clip.data)
        meta: dict[str, Any] = {"phash": media_phash("video", row.language, f"{digest}:{clip_print(pictures)}")}
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


def _voice(row: Row) -> list[tuple[float, float]] | None:
    """Spans in which somebody speaks: from the stored sound, else as the decoder measured them; None if unknown."""
    sound = next((insert for insert in row.inserts if insert.kind == "audio"), None)
    if sound is not None:
        try:
            return voiced_spans(*samples_of(sound))
        except (RuntimeError, ValueError):
            return None
    told = row.meta.get("voice_s")
    if not isinstance(told, list):
        return None
    return [(float(span[0]), float(span[1])) for span in told if isinstance(span, list) and len(span) == 2]


def _events(pictures: list[Image.Image], timestamps: list[float], spacing: float) -> list[float]:
    return picture_changes(pictures, timestamps) if 0 < spacing <= _FINEST_S else []
