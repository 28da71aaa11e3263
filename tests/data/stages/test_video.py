"""Subtitles against clips."""

import numpy as np
import pytest

from expedition.data.records import documents_of
from expedition.data.stages.video import VideoAlign, judge_alignment
from expedition.data.stages.video.alignment import histogram_cell
from tests.data.stages.documents import clip_document, run


def scenes(count: int, frames_each: int) -> list[np.ndarray]:
    """Frames that change colour at each scene."""
    return [
        np.full((64, 64, 3), 40 + 50 * (number % 4), np.uint8) for number in range(count) for _ in range(frames_each)
    ]


def cues(count: int, each_s: float, shift_s: float) -> list[list[object]]:
    return [[number * each_s + shift_s, (number + 1) * each_s + shift_s, f"scene {number}"] for number in range(count)]


TIMES = [0.5 * number for number in range(16)]


def test_sound_subtitles_are_kept_with_their_difference() -> None:
    result = run(VideoAlign(), clip_document(scenes(4, 4), TIMES, cues(4, 2.0, 0.0), 8.0))
    assert result.dropped == ()
    meta = documents_of(result.batch)[0].meta
    assert abs(meta["alignment_s"]) <= 0.25
    assert meta["phash"].count(",") == 2
    assert sum(result.counts.values()) == 1


@pytest.mark.parametrize("shift_s", [1.0, 2.5, 10.0])
def test_shifted_subtitles_are_dropped(shift_s: float) -> None:
    result = run(VideoAlign(), clip_document(scenes(4, 4), TIMES, cues(4, 2.0, shift_s), 8.0))
    assert [item.reason.split(":")[0] for item in result.dropped] == ["misaligned"]


def test_a_clip_without_words_is_dropped() -> None:
    result = run(VideoAlign(), clip_document(scenes(4, 1), TIMES[:4], [], 2.0))
    assert [item.reason for item in result.dropped] == ["no text"]


def test_little_evidence_accuses_nobody() -> None:
    assert judge_alignment([(0.0, 1.0)], 1.0, []).reason is None
    assert judge_alignment([(0.3, 0.9)], 1.0, [0.7]).reason is None
    irregular = [(0.1, 1.0), (2.9, 4.0), (5.7, 6.0), (7.1, 7.9)]
    assert judge_alignment(irregular, 8.0, [1.3, 3.9, 4.4, 6.6]).reason is None


def test_cells_cover_all_differences() -> None:
    assert histogram_cell(0.0) == "alignment_s:-0.25:0.25"
    assert histogram_cell(-99.0) == "alignment_s:-inf:-10"
    assert histogram_cell(float("inf")) == "alignment_s:10:inf"
