"""Sound: any rate and channels to 16 kHz mono FLAC, by length that is there, not by the length that is declared."""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile as sf
from scipy.signal import resample_poly

from expedition.data.decode.piece import Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.records import Insert

Samples = npt.NDArray[np.float32]

_BLOCK = 1 << 16
_MAX_RATE = 384_000
_MAX_CHANNELS = 64
_PLAUSIBLE_S = 86_400.0
_STREAMED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono samples in [-1, 1] at `rate` samples a second, and what had to be repaired."""

    samples: Samples
    rate: int
    repairs: tuple[Repair, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length, seconds."""
        return len(self.samples) / self.rate


def read_sound(source: Path | BinaryIO, *, most_s: float, start_s: float = 0.0, end_s: float | None = None) -> Sound:
    """Samples of a sound file between two times, channels averaged, in blocks (never by the declared length).

    Raises Refused: CORRUPT, TRUNCATED (fewer samples than a plausible header declares), EMPTY, UNSUPPORTED_FORMAT,
    TOO_LONG (more than `most_s` seconds).
    """
    with _opened(source) as opened:
        rate = opened.samplerate
        first, whole = round(start_s * rate), start_s == 0.0 and end_s is None
        try:
            if first:
                opened.seek(min(first, opened.frames))
            last = None if end_s is None else max(0, round(end_s * rate) - first)
            samples = _blocks(opened, most_s, last)
        except (sf.LibsndfileError, ValueError, OverflowError, OSError) as error:
            raise Refused(Reason.CORRUPT, str(error)[:120]) from None
        repairs = _length_repairs(opened.frames, len(samples), rate) if whole else ()
        return Sound(samples, rate, repairs)


def declared_s(source: Path | BinaryIO) -> float:
    """Length by the header, seconds; it may be false. Raises Refused as `read_sound` does."""
    with _opened(source) as opened:
        return float(opened.frames / opened.samplerate)


def _opened(source: Path | BinaryIO) -> sf.SoundFile:
    try:
        opened = sf.SoundFile(source)
    except sf.LibsndfileError as error:
        text = str(error.error_string)
        unknown = "not recognised" in text or "unknown" in text.lower() or "unimplemented" in text.lower()
        raise Refused(Reason.UNSUPPORTED_FORMAT if unknown else Reason.CORRUPT, text[:120]) from None
    except (ValueError, OverflowError, OSError, TypeError) as error:
        raise Refused(Reason.CORRUPT, str(error)[:120]) from None
    if not 1000 <= opened.samplerate <= _MAX_RATE or not 1 <= opened.channels <= _MAX_CHANNELS:
        opened.close()
        raise Refused(Reason.CORRUPT, f"{opened.samplerate} samples a second, {opened.channels} channels")
    return opened


def _blocks(opened: sf.SoundFile, most_s: float, last: int | None) -> Samples:
    read, parts = 0, []
    while last is None or read < last:
        block = opened.read(_BLOCK if last is None else min(_BLOCK, last - read), dtype="float32", always_2d=True)
        if not len(block):
            break
        parts.append(block.mean(axis=1, dtype=np.float32) if opened.channels > 1 else block[:, 0].copy())
        read += len(block)
        if read > most_s * opened.samplerate:
            raise Refused(Reason.TOO_LONG, f"more than {most_s:g} s of sound")
    if not read:
        raise Refused(Reason.TRUNCATED if opened.frames else Reason.EMPTY, "not one sample")
    samples: Samples = np.clip(np.nan_to_num(np.concatenate(parts), nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return samples


def _length_repairs(declared: int, read: int, rate: int) -> tuple[Repair, ...]:
    if read < 0.98 * declared and declared < _PLAUSIBLE_S * rate:
        raise Refused(Reason.TRUNCATED, f"{read} of {declared} samples are there")
    return () if _near(declared, read) else (_wrong_length(declared, read),)


def _near(declared: int, read: int) -> bool:
    return abs(declared - read) <= max(4096, read // 50)


def _wrong_length(declared: int, read: int) -> Repair:
    return Repair(Reason.DECLARED_LENGTH, 1, f"{declared} samples declared, {read} there")


def riff_length_repair(data: bytes, file_size: int) -> Repair | None:
    """For RIFF, whose declared length libsndfile corrects silently: None where data and declaration agree.

    A declaration of gigabytes that are not there is what streaming writers leave: the real length is used, a repair.
    `data` is the file's beginning. Raises Refused(TRUNCATED) where a plausible declaration is not met.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"data":
            there = file_size - at - 8
            if size - there > _STREAMED_BYTES:
                return Repair(Reason.DECLARED_LENGTH, 1, f"{size} bytes declared, {there} there")
            if there < 0.98 * size:
                raise Refused(Reason.TRUNCATED, f"{there} of {size} bytes of sound are there")
            return None
        at += 8 + size + (size & 1)
    return None


def resampled(sound: Sound, rate: int) -> Samples:
    """Samples at `rate` by a polyphase filter (scipy's default Kaiser window): deterministic, mono in, mono out."""
    if sound.rate == rate:
        return sound.samples
    divisor = gcd(sound.rate, rate)
    result = resample_poly(sound.samples.astype(np.float64), rate // divisor, sound.rate // divisor)
    clipped: Samples = np.clip(result, -1.0, 1.0).astype(np.float32)
    return clipped


def flac_insert(samples: Samples, rate: int) -> Insert:
    """Mono samples as a 16-bit FLAC insert with meta `samples`, `sample_rate`."""
    buffer = io.BytesIO()
    pcm = np.round(samples.astype(np.float64) * 32767).astype(np.int16)
    sf.write(buffer, pcm, rate, format="FLAC", subtype="PCM_16")
    return Insert("audio", data=buffer.getvalue(), meta={"samples": len(pcm), "sample_rate": rate})


def sound_insert(sound: Sound, rules: DecodeRules) -> tuple[Insert, tuple[Repair, ...]]:
    """A sound of at most `rules.audio_max_s` as an insert. Raises Refused(TOO_SMALL | TOO_LONG)."""
    if sound.duration_s < rules.audio_min_s:
        raise Refused(Reason.TOO_SMALL, f"{sound.duration_s:.3f} s of sound")
    if sound.duration_s > rules.audio_max_s:
        raise Refused(Reason.TOO_LONG, f"{sound.duration_s:.1f} s of sound, limit {rules.audio_max_s:g} s")
    repairs = list(sound.repairs)
    if sound.rate != rules.sample_rate:
        repairs.append(Repair(Reason.RECODED, 1, f"{sound.rate} to {rules.sample_rate} samples a second"))
    return flac_insert(resampled(sound, rules.sample_rate), rules.sample_rate), tuple(repairs)
