"""Hard cuts of clips are found; pans, shaken cameras and flashes are none; every shot keeps a frame."""

import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.scenes import THUMBNAIL, SceneCuts

SIZE = (96, 64)
MOTIONS = ("pan", "shake", "zoom", "still")


def shot(rng: np.random.Generator, frames: int, motion: str, *, flash: bool = False) -> list[np.ndarray]:
    """A made scene, wider than the picture, through which the camera moves."""
    cells = rng.integers(0, 256, (rng.integers(4, 9), rng.integers(4, 9), 3)).astype(np.uint8)
    scene = Image.fromarray(cells).resize((SIZE[0] * 3, SIZE[1] * 3), Image.Resampling.BICUBIC)
    made = []
    for number in range(frames):
        x, y, side = {
            "pan": (30 + 2 * number, 40, 1.0),
            "shake": (60 + int(rng.integers(-4, 5)), 50 + int(rng.integers(-4, 5)), 1.0),
            "zoom": (60, 50, 1 - 0.008 * number),
            "still": (60, 50, 1.0),
        }[motion]
        seen = scene.crop((x, y, x + int(SIZE[0] * side), y + int(SIZE[1] * side))).resize(SIZE)
        light = 110 if flash and frames // 2 <= number < frames // 2 + 2 else 0
        noise = rng.integers(-4, 5, (SIZE[1], SIZE[0], 1))
        made.append(np.clip(np.asarray(seen).astype(np.int16) + noise + light, 0, 255).astype(np.uint8))
    return made


def cuts_of(frames: list[np.ndarray]) -> list[int]:
    found = SceneCuts()
    for number, frame in enumerate(frames):
        found.offer(np.asarray(Image.fromarray(frame).resize(THUMBNAIL, Image.Resampling.BOX)), float(number))
    return [round(at) for at in found.cuts_s]


def test_cuts_are_found_and_nothing_else() -> None:
    hit = missed = false = 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        frames, cuts = [], []
        for _ in range(int(rng.integers(2, 6))):
            cuts += [len(frames)] if frames else []
            frames += shot(rng, int(rng.integers(14, 40)), str(rng.choice(MOTIONS)), flash=bool(rng.random() < 0.3))
        found = cuts_of(frames)
        hit += len(set(found) & set(cuts))
        missed += len(set(cuts) - set(found))
        false += len(set(found) - set(cuts))
    assert hit >= 0.95 * (hit + missed)
    assert hit >= 0.95 * (hit + false)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("flash", [False, True])
def test_one_shot_has_no_cut(motion: str, flash: bool) -> None:
    for seed in range(4):
        assert not cuts_of(shot(np.random.default_rng(seed), 40, motion, flash=flash))


def test_a_fade_to_black_and_a_still_clip_are_no_cut() -> None:
    frames = shot(np.random.default_rng(5), 40, "still")
    assert not cuts_of([(frame * (1 - number / 40)).astype(np.uint8) for number, frame in enumerate(frames)])
    assert not cuts_of([frames[0]] * 30)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 40))
def test_thinning_keeps_the_longest_shots_in_order(sizes: list[int], most: int) -> None:
    from expedition.data.decode.video import thinned

    scenes = [scene for scene, size in enumerate(sizes) for _ in range(size)]
    places = thinned(scenes, most)
    assert places == sorted(set(places)) and len(places) == min(len(scenes), most)
    kept = {scenes[place] for place in places}
    assert len(kept) == min(len(sizes), most)
    assert min(sizes[scene] for scene in kept) >= max((sizes[s] for s in range(len(sizes)) if s not in kept), default=0)
    if len(sizes) == 1:
        count = len(places)
        assert places == [(2 * i + 1) * len(scenes) // (2 * count) for i in range(count)]


def test_a_short_shot_between_two_long_ones_is_stored() -> None:
    import av

    from expedition.data.decode.video import read_clip

    rng = np.random.default_rng(11)
    frames = [*shot(rng, 60, "still"), *shot(rng, 9, "still"), *shot(rng, 60, "pan")]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=30)
        track.width, track.height, track.pix_fmt = *SIZE, "yuv420p"
        track.codec_context.thread_count = 1
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    rules = DecodeRules(video_fps=1.0, video_max_frames=4)
    insert = next(iter(read_clip(buffer.getvalue(), rules))).insert
    assert insert.meta["cuts_s"] == [pytest.approx(2.0, abs=0.05), pytest.approx(2.3, abs=0.05)]
    assert any(2.0 <= at < 2.3 for at in insert.meta["timestamps_s"])
    assert insert.meta["frames"] == 4
