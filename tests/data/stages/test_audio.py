"""Sound: silence, clipping, speaking rate."""

import numpy as np
import pytest

from expedition.data.records import documents_of
from expedition.data.stages.audio import AudioChecks, measure_sound
from expedition.data.stages.audio.audio import spoken_letters
from tests.data.stages.documents import run, sound_document

RATE = 16_000


def speech(seconds: float, level: float = 0.3) -> np.ndarray:
    """Bursts of tone with pauses over a little noise."""
    times = np.arange(int(seconds * RATE)) / RATE
    envelope = (np.sin(2 * np.pi * 3 * times) > 0).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 0.001, len(times))
    return (level * envelope * np.sin(2 * np.pi * 180 * times) + noise).astype(np.float32)


def reasons(samples: np.ndarray, transcript: str) -> list[str]:
    return [item.reason for item in run(AudioChecks(), sound_document(samples, transcript)).dropped]


def test_speech_is_kept_with_its_figures() -> None:
    result = run(AudioChecks(), sound_document(speech(2.0), "the boats come home"))
    meta = documents_of(result.batch)[0].meta
    assert meta["snr_db"] > 20
    assert meta["characters_per_s"] == pytest.approx(8.0, abs=0.1)
    assert len(meta["phash"]) == 32


def test_silence_is_dropped() -> None:
    assert reasons(np.zeros(RATE, np.float32), "hello") == ["silence"]
    assert reasons(speech(1.0, level=0.0), "hello") == ["silence"]


@pytest.mark.parametrize(
    ("samples", "transcript", "reason"),
    [
        (speech(0.05), "a", "sound too short"),
        (np.clip(speech(1.0) * 50, -1, 1), "hello there", "clipped sound"),
        (speech(1.0), "", "no transcript"),
        (speech(1.0), "far too many words " * 10, "transcript too long for the sound"),
        (speech(20.0), "a", "transcript too short for the sound"),
    ],
)
def test_bad_sounds_are_named(samples: np.ndarray, transcript: str, reason: str) -> None:
    assert reasons(samples, transcript) == [reason]


def test_a_chinese_character_counts_as_a_syllable() -> None:
    assert spoken_letters("一二三四") == 10
    assert reasons(speech(1.0), "早上好") == []


def test_an_empty_sound_can_be_measured() -> None:
    measures = measure_sound(np.zeros(0, np.float32), RATE)
    assert measures.duration_s == 0
    assert measures.active_s == 0
