"""Level, noise and activity of a sound, from the energy of frames of 20 ms."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from expedition.data.records import Insert


@dataclass(frozen=True, slots=True)
class SoundMeasures:
    """Figures of one sound."""

    duration_s: float
    level_dbfs: float
    """Root mean square over the whole sound, relative to full scale."""
    snr_db: float
    """Level of the loudest tenth of frames over the quietest tenth; an estimate that speech pauses make meaningful."""
    active_s: float
    """Time above the activity bound, which lies 30 dB under the loudest frames, and 6 dB over the quietest."""
    clipped_share: float
    """Share of samples at full scale."""


def measure_sound(samples: npt.NDArray[np.float32], sample_rate: int) -> SoundMeasures:
    """Measure mono samples in -1..1. An empty sound has level -inf and no activity."""
    frame = max(sample_rate // 50, 1)
    count = max(len(samples) // frame, 1)
    padded = np.resize(samples, count * frame) if len(samples) >= frame else np.pad(samples, (0, frame - len(samples)))
    energy = (padded.reshape(count, frame).astype(np.float64) ** 2).mean(axis=1)
    levels = 10 * np.log10(np.maximum(energy, 1e-12))
    low, high = float(np.percentile(levels, 10)), float(np.percentile(levels, 90))
    bound = max(float(levels.max()) - 30.0, min(low + 6.0, float(levels.max()) - 6.0))
    total = float((samples.astype(np.float64) ** 2).mean()) if len(samples) else 0.0
    return SoundMeasures(
        duration_s=len(samples) / sample_rate,
        level_dbfs=10 * float(np.log10(total)) if total > 0 else float("-inf"),
        snr_db=high - low,
        active_s=float((levels > bound).sum()) * frame / sample_rate if total > 1e-9 else 0.0,
        clipped_share=float((np.abs(samples) >= 0.999).mean()) if len(samples) else 0.0,
    )


def samples_of(insert: Insert) -> tuple[npt.NDArray[np.float32], int]:
    """Mono float32 samples and rate of an audio insert. Raises soundfile.LibsndfileError on broken bytes."""
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(insert.data), dtype="float32", always_2d=True)
    return samples.mean(axis=1), int(rate)
