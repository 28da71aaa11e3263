"""Speech: words of two syllables by a formant synthesiser whose voice (pitch, tract length, tempo, tilt) varies.

A voiced sound is a sum of harmonics of a gliding pitch, each as loud as the vocal tract's resonances let it be at that
moment (D. H. Klatt, "Software for a cascade/parallel formant synthesizer", 1980: resonance curves of three formants);
a hiss or burst is white noise shaped in frequency. Formants glide between sounds as the tongue would.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from expedition.sampleworld.world import WORDS, stream

SAMPLE_RATE = 16_000
"""Samples a second."""

_HOP = 80
"""Samples between two control points of the synthesiser (5 ms)."""

Wave = NDArray[np.float64]
"""Samples in -1..1."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker."""

    name: str
    pitch_hz: float
    tract: float
    """Factor on all formant frequencies: above 1 is a shorter vocal tract."""
    tempo: float
    """Factor on all durations."""
    tilt_db: float
    """Loss an octave of the glottal source above the first harmonic, decibels."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One phoneme: its formants, duration and the loudness of voice and of noise."""

    formants_hz: tuple[float, float, float]
    duration_s: float
    voice: float = 0.0
    noise: float = 0.0
    noise_hz: tuple[float, float] = (0.0, 0.0)
    """Centre and width of the noise band."""


SOUNDS: dict[str, Sound] = {
    "ɑ": Sound((760, 1200, 2500), 0.16, voice=1.0),
    "e": Sound((430, 2050, 2650), 0.16, voice=1.0),
    "i": Sound((280, 2350, 3000), 0.16, voice=1.0),
    "o": Sound((450, 820, 2450), 0.16, voice=1.0),
    "u": Sound((310, 680, 2250), 0.16, voice=1.0),
    "m": Sound((250, 950, 2100), 0.09, voice=0.35),
    "n": Sound((250, 1600, 2500), 0.09, voice=0.35),
    "l": Sound((350, 1150, 2700), 0.08, voice=0.55),
    "b": Sound((220, 750, 2200), 0.07, voice=0.12, noise=0.10, noise_hz=(700, 500)),
    "d": Sound((220, 1800, 2700), 0.07, voice=0.12, noise=0.15, noise_hz=(3800, 900)),
    "g": Sound((220, 1450, 1900), 0.07, voice=0.12, noise=0.15, noise_hz=(1800, 500)),
    "v": Sound((250, 1000, 2200), 0.09, voice=0.20, noise=0.12, noise_hz=(5500, 2500)),
    "z": Sound((250, 1700, 2600), 0.10, voice=0.20, noise=0.35, noise_hz=(6300, 1200)),
    "s": Sound((300, 1700, 2600), 0.11, noise=0.50, noise_hz=(6300, 1200)),
    "ʃ": Sound((300, 1800, 2400), 0.11, noise=0.50, noise_hz=(3300, 900)),
    "f": Sound((300, 1000, 2200), 0.10, noise=0.22, noise_hz=(5000, 3500)),
    "p": Sound((300, 750, 2200), 0.08, noise=0.25, noise_hz=(800, 600)),
    "t": Sound((300, 1800, 2700), 0.08, noise=0.35, noise_hz=(4500, 900)),
    "k": Sound((300, 1500, 1950), 0.08, noise=0.30, noise_hz=(1900, 500)),
}
"""The sounds of the world's words; formants after Peterson & Barney (1952), rounded."""

_BANDWIDTHS_HZ = (80.0, 110.0, 160.0)
_LEVELS = (1.0, 0.6, 0.35)
_STOPS = frozenset("bdgptk")


def voice(seed: int, number: int, held_out: bool) -> Voice:
    """Speaker `number` of the training (`train-…`) or the evaluation (`heldout-…`) side."""
    side = "heldout" if held_out else "train"
    rng = stream(seed, "voice", side, number)
    return Voice(
        name=f"{side}-{number:03d}",
        pitch_hz=float(rng.uniform(95, 230)),
        tract=float(rng.uniform(0.9, 1.14)),
        tempo=float(rng.uniform(0.85, 1.2)),
        tilt_db=float(rng.uniform(4, 9)),
    )


def ipa(word: str) -> str:
    """The word's sounds in the International Phonetic Alphabet."""
    return "".join(WORDS[word])


def say(word: str, speaker: Voice, rng: np.random.Generator) -> Wave:
    """The word, 0.45 to 0.75 s with a short silence on both sides; every call differs a little."""
    tracks = _control_tracks(word, speaker, rng)
    voiced = _voiced(tracks, speaker, rng)
    wave = voiced + _noise(tracks, rng)
    fade = int(0.012 * SAMPLE_RATE)
    wave[:fade] *= np.linspace(0, 1, fade)
    wave[-fade:] *= np.linspace(1, 0, fade)
    wave *= rng.uniform(0.5, 0.8) / np.max(np.abs(wave))
    silence = [np.zeros(int(rng.uniform(0.02, 0.06) * SAMPLE_RATE)) for _ in range(2)]
    joined = np.concatenate([silence[0], wave, silence[1]])
    return joined + rng.normal(0, 10 ** rng.uniform(-3.3, -2.6), size=joined.size)


def encode(wave: Wave, extension: str) -> bytes:
    """The sound as 16-bit mono file of type "flac" or "wav"."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1), SAMPLE_RATE, format=extension.upper(), subtype="PCM_16")
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Tracks:
    """Control values at every `_HOP` samples: formants [points, 3], loudness of voice and of each sound's noise."""

    formants_hz: NDArray[np.float64]
    voice: NDArray[np.float64]
    noises: list[tuple[Sound, NDArray[np.float64]]]


def _control_tracks(word: str, speaker: Voice, rng: np.random.Generator) -> _Tracks:
    sounds = [SOUNDS[symbol] for symbol in WORDS[word]]
    durations = [s.duration_s * speaker.tempo * rng.uniform(0.9, 1.1) for s in sounds]
    points = [max(4, round(d * SAMPLE_RATE / _HOP)) for d in durations]
    shift = speaker.tract * rng.uniform(0.98, 1.02)
    formants = np.concatenate([np.tile(s.formants_hz, (n, 1)) for s, n in zip(sounds, points, strict=True)]) * shift
    loud = np.concatenate([np.full(n, s.voice) for s, n in zip(sounds, points, strict=True)])
    noises = []
    start = 0
    for symbol, sound, length in zip(WORDS[word], sounds, points, strict=True):
        if sound.noise:
            envelope = np.zeros(sum(points))
            burst = max(3, length // 3) if symbol in _STOPS else length
            envelope[start + length - burst : start + length] = sound.noise
            noises.append((sound, _smooth(envelope, 3)))
        start += length
    glide = np.stack([_smooth(formants[:, k], 9) for k in range(3)], axis=1)
    return _Tracks(glide, _smooth(loud, 5), noises)


def _voiced(tracks: _Tracks, speaker: Voice, rng: np.random.Generator) -> Wave:
    points = tracks.voice.size
    samples = points * _HOP
    rise = np.linspace(rng.uniform(0.98, 1.1), rng.uniform(0.85, 0.98), points)
    pitch = speaker.pitch_hz * rng.uniform(0.95, 1.05) * rise
    times, grid = np.arange(samples), np.arange(points) * _HOP + _HOP / 2
    phase = np.cumsum(np.interp(times, grid, pitch)) * (2 * np.pi / SAMPLE_RATE)
    base = np.exp(1j * phase)
    turn = base.copy()
    wave = np.zeros(samples)
    for harmonic in range(1, int(4800 / speaker.pitch_hz) + 1):
        tilt = 10 ** (-speaker.tilt_db * np.log2(harmonic) / 20)
        level = tracks.voice * _resonance(harmonic * pitch, tracks.formants_hz) * tilt
        wave += np.interp(times, grid, level) * turn.imag
        turn *= base
    return wave


def _resonance(frequency_hz: NDArray[np.float64], formants_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain of the vocal tract at one frequency a control point: three parallel resonance curves."""
    gain = np.full(frequency_hz.shape, 0.01)
    for number in range(3):
        detune = (frequency_hz - formants_hz[:, number]) / _BANDWIDTHS_HZ[number]
        gain += _LEVELS[number] / np.sqrt(1 + detune**2)
    return gain


def _noise(tracks: _Tracks, rng: np.random.Generator) -> Wave:
    samples = tracks.voice.size * _HOP
    wave = np.zeros(samples)
    grid = np.arange(tracks.voice.size) * _HOP + _HOP / 2
    frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    for sound, envelope in tracks.noises:
        centre, width = sound.noise_hz
        shape = np.exp(-0.5 * ((frequencies - centre) / width) ** 2)
        hiss = np.fft.irfft(np.fft.rfft(rng.normal(size=samples)) * shape, samples)
        wave += np.interp(np.arange(samples), grid, envelope) * hiss / np.std(hiss)
    return wave


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")
