"""Sound as log-mel frames, equal to transformers' `WhisperFeatureExtractor` on the unpadded sound.

Alphabet: M mel bins, F frames of `hop` samples.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError
from expedition.plan.media import MediaRule

MAX_FREQUENCY_HZ = 8000.0
"""Upper edge of the mel bank, as in WhisperFeatureExtractor."""

Floats = npt.NDArray[np.float32]


def decode_audio(data: bytes, rule: MediaRule) -> Floats:
    """Samples [n] of a FLAC or WAV with one channel at the rule's rate, cut to its longest length.

    Raises InputError if it does not decode or has another rate or number of channels.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(f"a sound of {len(data)} bytes does not decode: {error}") from error
    if rate != rule.sample_rate or samples.shape[1] != 1:
        raise InputError(f"a sound has {rate} Hz and {samples.shape[1]} channels, not {rule.sample_rate} Hz and 1")
    return np.ascontiguousarray(samples[: rule.audio_samples(len(samples)), 0])


def log_mel(samples: Floats, rule: MediaRule) -> Floats:
    """[M, F] with F = samples // hop: log10 power in slaney mel bands, floor 8 below the maximum, then (x + 4) / 4.

    Frames are centred with reflected edges and a periodic Hann window; the last frame is left out (Whisper). Sounds of
    no more than half a window are extended by silence first.
    """
    frames = rule.audio_frames(len(samples))
    if frames == 0:
        return np.zeros((rule.mel_bins, 0), dtype=np.float32)
    half = rule.n_fft // 2
    whole = samples if len(samples) > half else np.pad(samples, (0, half + 1 - len(samples)))
    padded = np.pad(whole.astype(np.float64), half, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, rule.n_fft)[:: rule.hop][:frames]
    spectrum = np.fft.rfft(windows * _hann(rule.n_fft), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    bins, weights = _mel_bands(rule.mel_bins, rule.n_fft, rule.sample_rate)
    mel = np.log10(np.maximum(np.einsum("fmw,mw->fm", power[:, bins], weights), 1e-10))
    mel = np.maximum(mel, mel.max() - 8.0)
    return np.ascontiguousarray(((mel + 4.0) / 4.0).T, dtype=np.float32)


@lru_cache(maxsize=8)
def mel_bank(mel_bins: int, n_fft: int, sample_rate: int) -> npt.NDArray[np.float64]:
    """Triangular filters [n_fft // 2 + 1, mel_bins], slaney scale and norm (M. Slaney, Auditory Toolbox, 1998)."""
    fft_hz = np.linspace(0.0, sample_rate // 2, n_fft // 2 + 1)
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(0.0), _hz_to_mel(MAX_FREQUENCY_HZ), mel_bins + 2))
    widths = np.diff(edges_hz)
    slopes = edges_hz[None, :] - fft_hz[:, None]
    rising = -slopes[:, :-2] / widths[:-1]
    falling = slopes[:, 2:] / widths[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(bank * (2.0 / (edges_hz[2:] - edges_hz[:-2])))


@lru_cache(maxsize=8)
def _mel_bands(mel_bins: int, n_fft: int, sample_rate: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """`mel_bank` by band: spectrum bins [M, W] and their weights, W being the widest band.

    The bank is nine tenths zeros, and a matrix product of this size would wake every thread of the BLAS.
    """
    bank = mel_bank(mel_bins, n_fft, sample_rate)
    filled = bank > 0
    first = np.argmax(filled, axis=0)
    width = max(1, int(filled.sum(axis=0).max()))
    bins = np.minimum(first[:, None] + np.arange(width), len(bank) - 1)
    inside = first[:, None] + np.arange(width) < len(bank)
    return bins, np.take_along_axis(bank, bins.T, axis=0).T * inside


@lru_cache(maxsize=8)
def _hann(length: int) -> npt.NDArray[np.float64]:
    return np.asarray(np.hanning(length + 1)[:-1])


def _hz_to_mel(hz: float) -> float:
    return 3.0 * hz / 200.0 if hz < 1000.0 else 15.0 + float(np.log(hz / 1000.0)) * 27.0 / float(np.log(6.4))


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    curved = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0))
    return np.where(mel >= 15.0, curved, 200.0 * mel / 3.0)
