"""The stage: silent, clipped and mistranscribed sounds are dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import soundfile
import xxhash

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.audio.fingerprint import sound_print
from expedition.data.stages.audio.sound import SoundMeasures, measure_sound, samples_of
from expedition.data.stages.audio.transcript import loops, said, spoken_letters
from expedition.data.stages.audio.voice import voiced_spans
from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.media_phash import media_phash
from expedition.data.stages.stage import StageResult

SpeechLanguage = Callable[[npt.NDArray[np.float32], int], str | None]
"""Language tag of what is said in mono samples at a rate; None where it is not sure."""


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """Bounds of the audio checks."""

    min_duration_s: float = 0.08
    max_duration_s: float = 120.0
    min_level_dbfs: float = -55.0
    min_active_s: float = 0.05
    max_clipped_share: float = 0.10
    min_snr_db: float = 2.0
    """Sounds longer than `judge_slow_above_s`: loudest tenth of frames over the quietest."""
    max_characters_per_s: float = 40.0
    """Letters for each second of the whole sound; fast speech reaches 25."""
    min_characters_per_s: float = 0.15
    """Over sounds longer than `judge_slow_above_s`: a transcript that covers a small part of the sound."""
    judge_slow_above_s: float = 8.0


@dataclass(frozen=True, slots=True)
class AudioChecks:
    """Measures every sound of a document and its transcript; drops by the first bound that is broken.

    Level, noise and clipping come from frames of 20 ms; voice activity from the energy between 120 and 3,400 Hz over
    the noise of the neighbourhood. Letters are counted by script: one Chinese, Japanese or Korean character as 2.5, a
    letter of a script that leaves vowels out as 1.4. What is not said ([music]) does not count. Where a model of spoken
    language is installed (entry point `expedition.speech_language`) it is asked whether the transcript's language is
    the one that is heard. Meta `snr_db`, `level_dbfs`, `voice_s` (seconds), `characters_per_s` and `phash` (content
    digest and fingerprint, which `dedup.media` compares) are written.

    Reasons:
    no sound, unreadable sound: there is none, or its bytes break its format's rules.
    sound too short, sound too long: by the thresholds below.
    silence: too quiet in all, or not active for 50 ms.
    clipped sound: a tenth of the samples or more at full scale.
    steady noise: longer than 8 s, and the loudest tenth of its frames is less than 2 dB over the quietest.
    no transcript: there is none, or nothing in it is said.
    transcript runs in a loop: deflate shortens it more than 2.4 times.
    transcript too long for the sound, transcript too short for the sound: letters a second, by the thresholds below.
    speech in another language than its transcript: by the installed model.

    Thresholds:
    min_duration_s, max_duration_s: 0.08 s, 120 s; a spoken letter, and four times what the model is shown.
    min_level_dbfs: -55; quieter recordings of the open set: none, 16-bit noise lies at -96.
    max_clipped_share: 0.10; own choice.
    min_snr_db: 2; speech with pauses has 15 and more, a steady tone under 1 (measured on the open sounds).
    max_characters_per_s: 40; the fastest open recording has 21, auctioneers speak 25 letters a second.
    min_characters_per_s: 0.15 over sounds longer than 8 s; read speech has 10 to 15.
    loop ratio: 2.4; Whisper (arXiv:2212.04356, 4.5).

    Keeps: single spoken digits of 0.2 s; whispered and noisy speech; transcripts in every script; IPA beside the words.
    """

    kinds: frozenset[str] = frozenset({"audio-text"})
    limits: AudioLimits = AudioLimits()
    speech_language: SpeechLanguage | None = None
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
        words = said(row.text.split(PLACEHOLDER)[1] if PLACEHOLDER in row.text else row.text)
        per_s = spoken_letters(words) / max(measures.duration_s, 1e-6)
        reason = self._reason(measures, per_s, words) or self._other_language(whole, rate, row.language)
        if reason:
            return Outcome(drop=reason)
        digest = xxhash.xxh3_128_hexdigest((np.round(whole * 32767).astype(np.int16)).tobytes())
        voice_s = sum(end - start for start, end in voiced_spans(whole, rate))
        meta = {
            "snr_db": round(measures.snr_db, 1),
            "level_dbfs": round(measures.level_dbfs, 1),
            "voice_s": round(voice_s, 2),
            "characters_per_s": round(per_s, 2),
            "phash": media_phash("audio", row.language, f"{digest}:{sound_print(whole, rate).text()}"),
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
        long = measures.duration_s > limits.judge_slow_above_s
        if long and measures.snr_db < limits.min_snr_db:
            return "steady noise"
        return self._transcript_reason(per_s, words, long=long)

    def _transcript_reason(self, per_s: float, words: str, *, long: bool) -> str | None:
        if not any(map(str.isalnum, words)):
            return "no transcript"
        if per_s > self.limits.max_characters_per_s:
            return "transcript too long for the sound"
        if loops(words):
            return "transcript runs in a loop"
        if long and per_s < self.limits.min_characters_per_s:
            return "transcript too short for the sound"
        return None

    def _other_language(self, samples: npt.NDArray[np.float32], rate: int, language: str | None) -> str | None:
        if self.speech_language is None or not language or language == "und":
            return None
        heard = self.speech_language(samples, rate)
        if heard is None or heard.split("-")[0] == language.split("-")[0]:
            return None
        return "speech in another language than its transcript"


def _cell(value: float) -> str:
    low = min(max(int(value // 10) * 10, 0), 60)
    return f"{low}:{low + 10}"
