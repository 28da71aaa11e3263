"""Subtitles against clips."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from expedition.data.records import Document, documents_of
from expedition.data.stages.dedup.media import media_keys, media_near
from expedition.data.stages.video import VideoAlign, judge_alignment
from expedition.data.stages.video.alignment import histogram_cell
from tests.data.stages.documents import clip_document, photograph, run


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
    assert meta["phash"].startswith("video::")
    assert result.counts == {histogram_cell(meta["alignment_s"]): 1, "clips measured by picture": 1}


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


SPEECH = [(0.5, 3.1), (4.0, 5.2), (6.9, 9.0), (11.5, 12.1), (13.0, 17.4), (19.2, 20.0), (22.5, 25.0)]


@pytest.mark.parametrize("shift_s", [-4.2, -1.5, -0.3, 0.0, 0.4, 1.2, 6.0])
def test_the_shift_against_voice_is_found(shift_s: float) -> None:
    cues = [(start + shift_s, end + shift_s) for start, end in SPEECH if start + shift_s >= 0 and end + shift_s <= 28]
    found = judge_alignment(cues, 28.0, [], voice=SPEECH)
    assert found.difference_s == pytest.approx(shift_s, abs=0.03)
    assert (found.reason == "misaligned: subtitles shifted") == (abs(shift_s) > 0.75)


@given(st.floats(-0.5, 0.5), st.integers(0, 2**32))
def test_loose_cues_are_not_accused(shift_s: float, seed: int) -> None:
    """Cues as people set them: each a little early or late, some joined over a pause."""
    rng = np.random.default_rng(seed)
    cues = sorted((max(0.0, a + shift_s + rng.normal(0, 0.12)), b + shift_s + rng.normal(0, 0.2)) for a, b in SPEECH)
    assert judge_alignment(cues, 28.0, [], voice=SPEECH).reason is None


def test_voice_without_pause_says_nothing_of_a_shift() -> None:
    found = judge_alignment([(a + 3, b + 3) for a, b in SPEECH], 60.0, [], voice=[(0.0, 60.0)])
    assert found.reason is None


@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), max_size=12),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0.05, 5)), max_size=8),
    st.floats(0.1, 40),
)
def test_any_cues_and_voice_are_judged(
    cues: list[tuple[float, float]], voice: list[tuple[float, float]], end_s: float
) -> None:
    spans, at = [], 0.0
    for gap, length in voice:
        spans.append((at + gap, at + gap + length))
        at += gap + length
    found = judge_alignment(sorted(cues), end_s, [], voice=spans)
    assert all(abs(value) <= 10 for value in found.by_cue_s)
    assert found.difference_s is None or np.isfinite(found.difference_s)


def test_each_cue_stands_in_the_histogram_by_voice() -> None:
    document = clip_document(scenes(4, 4), TIMES, cues(4, 2.0, 0.1), 8.0)
    meta = {**document.meta, "voice_s": [[0.0, 1.6], [2.0, 3.7], [4.0, 5.5], [6.0, 7.6]]}
    told = Document(**{**{name: getattr(document, name) for name in Document.__slots__}, "meta": meta})
    counts = run(VideoAlign(), told).counts
    assert counts["cue_s:-0.25:0.25"] == 4
    assert counts["clips measured by voice"] == 1


def film(seed: int, views: int = 6, frames_each: int = 3) -> list[np.ndarray]:
    """Frames of several detailed views, each moving a little."""
    frames = []
    for view in range(views):
        wide = np.asarray(photograph(100 * seed + view, 200, 150))
        frames += [wide[2 * number : 2 * number + 120, 3 * number : 3 * number + 160] for number in range(frames_each)]
    return frames


def clip_of(frames: list[np.ndarray], text: str = "one thing") -> str:
    document = clip_document(frames, [0.25 * number for number in range(len(frames))], [[0.0, 1.0, text]], 8.0)
    return str(documents_of(run(VideoAlign(), document).batch)[0].meta["phash"])


def again(frames: list[np.ndarray], size: tuple[int, int], *, mirrored: bool = False) -> list[np.ndarray]:
    pictures = [Image.fromarray(frame).resize(size) for frame in frames]
    return [np.asarray(ImageOps.mirror(each) if mirrored else each) for each in pictures]


@pytest.mark.parametrize(
    "edit",
    [
        lambda frames: again(frames, (96, 64)),
        lambda frames: again(frames, (160, 120), mirrored=True),
        lambda frames: frames[3:],
        lambda frames: frames[::2],
    ],
    ids=["smaller", "mirrored", "trimmed", "half the frames"],
)
def test_edits_of_a_clip_are_near(edit: Callable[[list[np.ndarray]], list[np.ndarray]]) -> None:
    for seed in range(4):
        prints = clip_of(film(seed)), clip_of(edit(film(seed)), "other words")
        keys = [set(media_keys(value, words)[0].tolist()) for words, value in enumerate(prints)]
        assert not keys[0].isdisjoint(keys[1])
        assert media_near(*prints)


def test_other_clips_and_static_ones_are_not_near() -> None:
    prints = [clip_of(film(seed)) for seed in range(6)]
    assert not any(media_near(a, b) for number, a in enumerate(prints) for b in prints[:number])
    static = clip_of(film(1, views=1, frames_each=1) * 12), clip_of(film(1, views=1, frames_each=1) * 10)
    keys = [set(media_keys(value, words)[0].tolist()) for words, value in enumerate(static)]
    assert keys[0].isdisjoint(keys[1])
