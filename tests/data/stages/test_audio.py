"""Sound: silence, clipping, speaking rate."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode.audio import Sound, resampled
from expedition.data.records import Document, documents_of
from expedition.data.stages.audio import AudioChecks, measure_sound, sound_print, voiced_spans
from expedition.data.stages.audio.fingerprint import distance, read_print
from expedition.data.stages.audio.transcript import spoken_letters
from expedition.data.stages.audio.voice import joined
from expedition.data.stages.dedup.media import media_keys, media_near
from expedition.data.stages.media_phash import media_phash
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
    assert meta["voice_s"] > 0.5
    assert meta["phash"].startswith("audio::")


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


def voice(seed: int, seconds: float) -> np.ndarray:
    """Syllables of changing pitch and formants with pauses, unlike for each seed."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * RATE:
        length = int(rng.uniform(0.08, 0.25) * RATE)
        times = np.arange(length) / RATE
        pitch, formants = rng.uniform(90, 220), rng.uniform((300, 900, 2000), (900, 1800, 2900))
        harmonics = np.arange(1, 24)
        weights = np.exp(-(((harmonics[:, None] * pitch - formants) / 180) ** 2)).sum(axis=1) + 0.02
        sound = (weights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * pitch * times)).sum(axis=0)
        parts += [sound * np.hanning(length) * rng.uniform(0.3, 1), np.zeros(int(rng.choice([0.0, 0.02, 0.3]) * RATE))]
    whole = np.concatenate(parts)[: int(seconds * RATE)]
    return (0.4 * whole / np.abs(whole).max() + rng.normal(0, 0.0005, len(whole))).astype(np.float32)


def coded(samples: np.ndarray, form: str, subtype: str, rate: int = RATE) -> np.ndarray:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0]


def through(samples: np.ndarray, rate: int) -> np.ndarray:
    return resampled(Sound(resampled(Sound(samples, RATE), rate), rate), RATE)


EDITS = {
    "mp3": lambda samples: coded(samples, "MP3", "MPEG_LAYER_III"),
    "ogg": lambda samples: coded(samples, "OGG", "VORBIS"),
    "gain": lambda samples: (0.3 * samples).astype(np.float32),
    "trimmed": lambda samples: samples[len(samples) // 14 : -len(samples) // 16],
    "8 kHz": lambda samples: through(samples, 8000),
    "22.05 kHz": lambda samples: through(samples, 22_050),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_edits_keep_the_fingerprint_near(edit: Callable[[np.ndarray], np.ndarray]) -> None:
    for seed, seconds in ((1, 0.6), (2, 0.9), (3, 5.0), (4, 9.0)):
        prints = [phash(voice(seed, seconds)), phash(edit(voice(seed, seconds)))]
        keys = [set(media_keys(value, words)[0].tolist()) for words, value in enumerate(prints)]
        assert not keys[0].isdisjoint(keys[1]), seconds
        assert media_near(*prints), seconds


def phash(samples: np.ndarray) -> str:
    return media_phash(
        "audio", "en", f"{xxhash.xxh3_128_hexdigest(samples.tobytes())}:{sound_print(samples, RATE).text()}"
    )


def test_other_sounds_are_never_near() -> None:
    prints = [phash(voice(seed, seconds)) for seconds in (0.6, 4.0) for seed in range(12)]
    assert not any(media_near(a, b) for number, a in enumerate(prints) for b in prints[:number])


def test_open_sounds_are_told_apart(open_data: Path) -> None:
    prints = []
    for path in sorted((open_data / "audio_text").iterdir())[::2]:
        if path.suffix in (".wav", ".flac"):
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            prints.append(phash(resampled(Sound(samples.mean(axis=1), rate), RATE)))
    assert len(prints) > 20
    assert not any(media_near(a, b) for number, a in enumerate(prints) for b in prints[:number])


@given(st.integers(0, 400), st.integers(0, 2**32))
def test_a_print_of_any_sound_can_be_written_and_read(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, length).astype(np.float32)
    made = sound_print(samples, RATE)
    again = read_print(made.text())
    assert again.text() == made.text()
    assert distance(made.bits, made.bits)[0] in (0.0, 1.0)


def test_voice_is_found_between_pauses() -> None:
    noise = np.random.default_rng(0).normal(0, 0.003, 10 * RATE).astype(np.float32)
    for start in (1, 4, 7):
        noise[start * RATE : (start + 1) * RATE] += voice(start, 1.0)
    spans = joined(voiced_spans(noise, RATE), 0.35)
    assert [(round(start), round(end)) for start, end in spans] == [(1, 2), (4, 5), (7, 8)]
    assert voiced_spans(np.zeros(RATE, np.float32), RATE) == []


@given(st.integers(0, 3000), st.integers(0, 2**32))
def test_voiced_spans_are_in_order_and_inside(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.1, length).astype(np.float32)
    edges = [edge for span in voiced_spans(samples, 1000) for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= length / 1000 + 0.02 for edge in edges)


@pytest.mark.parametrize(
    ("transcript", "reason"),
    [
        ("[Music]", "no transcript"),
        ("(applause) ♪", "no transcript"),
        ("thank you so much for it " * 12, "transcript runs in a loop"),
        ("[laughs] the boats come home", None),
        ("สวัสดีครับ", None),
    ],
)
def test_transcripts_are_judged_by_what_is_said(transcript: str, reason: str | None) -> None:
    assert reasons(speech(9.0 if "thank" in transcript else 2.0), transcript) == ([reason] if reason else [])


def test_an_installed_model_of_speech_is_asked() -> None:
    stage = AudioChecks(speech_language=lambda samples, rate: "fr")
    for language, dropped in (("en", ["speech in another language than its transcript"]), ("fr-CA", []), ("und", [])):
        document = sound_document(speech(2.0), "the boats come home")
        told = Document(**{**{name: getattr(document, name) for name in Document.__slots__}, "language": language})
        assert [item.reason for item in run(stage, told).dropped] == dropped
