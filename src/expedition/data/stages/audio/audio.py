"""The stage: silent, clipped and mistranscribed sounds are dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile
import xxhash

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.audio.sound import SoundMeasures, measure_sound
from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.stage import StageResult
from expedition.data.stages.video.video import samples_of

_DENSE: Final = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]")
_LETTERS_A_SYLLABLE: Final = 2.5
"""Letters that one Chinese, Japanese or Korean character stands for when speaking rates are compared."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds of the audio checks."""

    min_duration_s: float = 0.08
    max_duration_s: float = 120.0
    min_level_dbfs: float = -55.0
    min_active_s: float = 0.05
    max_clipped_share: float = 0.10
    max_characters_per_s: float = 40.0
    """Letters for each second of the whole sound; fast speech reaches 25."""
    min_characters_per_s: float = 0.15
    """Over sounds longer than `judge_slow_above_s`: a transcript that covers a small part of the sound."""
    judge_slow_above_s: float = 8.0


@dataclass(frozen=True, slots=True)
class AudioChecks:
    """Stage: measure every sound of a document; drop by the first bound that is broken. Meta `snr_db`, `level_dbfs`,
    `characters_per_s`, `phash` (hash of the samples) are written."""

    kinds: frozenset[str] = frozenset({"audio-text"})
    limits: AudioLimits = AudioLimits()
    name: str = "audio_checks"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        sounds = [insert for insert in row.inserts if insert.kind == "audio"]
        if not sounds:
            return Outcome(drop="no sound")
        samples: list[npt.NDArray[np.float32]] = []
        rate = 16_000
        for sound in sounds:
            try:
                found, rate = samples_of(sound)
            except (soundfile.LibsndfileError, ValueError):
                return Outcome(drop="unreadable sound")
            samples.append(found)
        whole = np.concatenate(samples)
        measures = measure_sound(whole, rate)
        words = row.text.split(PLACEHOLDER)[1] if PLACEHOLDER in row.text else row.text
        per_s = spoken_letters(words) / max(measures.duration_s, 1e-6)
        reason = self._reason(measures, per_s, words)
        if reason:
            return Outcome(drop=reason)
        meta = {
            "snr_db": round(measures.snr_db, 1),
            "level_dbfs": round(measures.level_dbfs, 1),
            "characters_per_s": round(per_s, 2),
            "phash": xxhash.xxh3_128_hexdigest((np.round(whole * 32767).astype(np.int16)).tobytes()),
        }
        return Outcome(meta=meta, counts={f"snr_db:{_cell(measures.snr_db)}": 1})

    def _reason(self, measures: SoundMeasures, per_s: float, words: str) -> str | None:
        limits = self.limits
        if not limits.min_duration_s <= measures.duration_s <= limits.max_duration_s:
            return "sound too short" if measures.duration_s < limits.min_duration_s else "sound too long"
        if measures.level_dbfs < limits.min_level_dbfs or measures.active_s < limits.min_active_s:
            return "silence"
        if measures.clipped_share > limits.max_clipped_share:
            return "clipped sound"
        if not words.strip():
            return "no transcript"
        if per_s > limits.max_characters_per_s:
            return "transcript too long for the sound"
        if measures.duration_s > limits.judge_slow_above_s and per_s < limits.min_characters_per_s:
            return "transcript too short for the sound"
        return None


def spoken_letters(words: str) -> float:
    """Letters and digits that are spoken; a character of a syllabic script counts as several."""
    dense = len(_DENSE.findall(words))
    return sum(map(str.isalnum, words)) + dense * (_LETTERS_A_SYLLABLE - 1)


def _cell(value: float) -> str:
    low = min(max(int(value // 10) * 10, 0), 60)
    return f"{low}:{low + 10}"
