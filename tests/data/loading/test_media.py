"""Parity of pictures, clips and sounds with the processors of transformers that serve the exported model."""

import io

import numpy as np
import pytest
import simplejpeg
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from expedition.data.loading.media import (
    decode_image,
    image_patches,
    kept_frames,
    normalised,
    split_frames,
    video_patches,
)
from expedition.data.loading.mel import decode_audio, log_mel
from expedition.errors import InputError
from expedition.plan.media import MediaRule

RULE = MediaRule()


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def image_processor():
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    return module.Qwen2VLImageProcessorPil(
        min_pixels=RULE.image_min_pixels,
        max_pixels=RULE.image_max_pixels,
        patch_size=RULE.patch,
        temporal_patch_size=RULE.temporal_patch,
        merge_size=RULE.merge,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


@pytest.mark.parametrize("size", [(64, 64), (50, 90), (200, 33), (12, 18), (480, 640), (9, 40), (64, 48)])
def test_patches_equal_those_of_transformers(image_processor, size: tuple[int, int]) -> None:
    picture = pixels(*size)
    expected = image_processor(images=[picture], return_tensors="np")
    ours = image_patches(picture, RULE)
    assert list(ours.grid) == expected["image_grid_thw"][0].tolist()
    np.testing.assert_array_equal(ours.patches_PC, expected["pixel_values"])


def test_every_value_is_rounded_as_transformers_rounds() -> None:
    values = np.arange(256, dtype=np.uint8)
    rescaled = (values.astype(np.float64) * (1 / 255)).astype(np.float32)
    assert np.array_equal(normalised(values), (rescaled - np.float32(0.5)) / np.float32(0.5))


def test_clip_of_one_still_picture_equals_the_picture() -> None:
    picture = pixels(64, 48)
    still = video_patches([picture] * 4, 12, RULE)
    single = image_patches(picture, RULE)
    assert still.grid == (2, *single.grid[1:])
    np.testing.assert_array_equal(still.patches_PC, np.concatenate([single.patches_PC] * 2))


def test_odd_clip_repeats_its_last_frame() -> None:
    frames = [pixels(32, 32, seed) for seed in range(3)]
    np.testing.assert_array_equal(
        video_patches(frames, 1, RULE).patches_PC, video_patches([*frames, frames[-1]], 1, RULE).patches_PC
    )


def test_frames_within_a_temporal_patch_lie_side_by_side() -> None:
    first, second = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    patches = video_patches([first, second], 1, RULE).patches_PC.reshape(4, 3, 2, 8, 8)
    assert (patches[:, :, 0] == -1).all() and (patches[:, :, 1] == 1).all()


@given(st.integers(1, 50))
def test_kept_frames_are_spread_and_begin_at_the_first(frames: int) -> None:
    kept = kept_frames(frames, RULE)
    assert len(kept) == min(frames, RULE.video_max_frames) and kept[0] == 0
    assert kept == sorted(set(kept)) and kept[-1] < frames


def test_png_and_jpeg_decode() -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels(8, 8)).save(buffer, "PNG")
    np.testing.assert_array_equal(decode_image(buffer.getvalue()), pixels(8, 8))
    assert decode_image(simplejpeg.encode_jpeg(pixels(9, 7))).shape == (9, 7, 3)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg/>"])
def test_broken_picture_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError, match="does not decode"):
        decode_image(data)


def test_picture_that_claims_too_many_pixels_is_refused_before_decoding() -> None:
    huge = bytearray(simplejpeg.encode_jpeg(pixels(16, 16)))
    frame = huge.index(b"\xff\xc0")
    huge[frame + 5 : frame + 9] = b"\xff\x00\xff\x00"
    with pytest.raises(InputError, match="more than"):
        decode_image(bytes(huge))


def test_frame_sizes_must_fill_the_clip() -> None:
    assert split_frames(b"aabbb", [2, 3]) == [b"aa", b"bbb"]
    with pytest.raises(InputError, match="5 bytes"):
        split_frames(b"aabbb", [2, 2])


@pytest.fixture(scope="module")
def feature_extractor():
    transformers = pytest.importorskip("transformers")
    return transformers.WhisperFeatureExtractor(feature_size=RULE.mel_bins)


@pytest.mark.parametrize("samples", [401, 480, 12_345, 16_000, 48_001])
def test_mel_frames_equal_those_of_transformers(feature_extractor, samples: int) -> None:
    generator = np.random.default_rng(samples)
    wave = (0.1 * generator.standard_normal(samples)).astype(np.float32)
    wave[samples // 2 :] *= 1e-3
    expected = feature_extractor(wave, sampling_rate=16_000, padding=True, return_attention_mask=True)
    ours = log_mel(wave, RULE)
    assert ours.shape[1] == RULE.audio_frames(samples) == int(expected["attention_mask"].sum())
    np.testing.assert_allclose(ours, expected["input_features"][0], atol=1e-4)


@given(st.integers(0, 3000))
@settings(max_examples=60, deadline=None)
def test_audio_tokens_equal_those_of_transformers(frames: int) -> None:
    modeling = pytest.importorskip("transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe")
    assert RULE.audio_tokens(frames) == modeling._get_feat_extract_output_lengths(frames)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 200, 201])
def test_very_short_sounds_have_the_frames_that_the_rule_says(samples: int) -> None:
    mel = log_mel(np.full(samples, 0.1, dtype=np.float32), RULE)
    assert mel.shape == (RULE.mel_bins, RULE.audio_frames(samples))
    assert np.isfinite(mel).all()


def test_long_sound_is_cut_to_the_rule() -> None:
    rule = RULE.model_copy(update={"audio_max_s": 0.5})
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16_000, dtype=np.float32), 16_000, format="FLAC")
    assert len(decode_audio(buffer.getvalue(), rule)) == 8_000


def test_sound_of_another_rate_or_broken_is_an_input_error() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((100, 2)), 8_000, format="FLAC")
    with pytest.raises(InputError, match="8000 Hz and 2 channels"):
        decode_audio(buffer.getvalue(), RULE)
    with pytest.raises(InputError, match="does not decode"):
        decode_audio(b"fLaC nothing", RULE)
