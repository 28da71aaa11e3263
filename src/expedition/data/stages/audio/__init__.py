"""audio: sound judged by level, noise and speaking rate against its transcript, with a fingerprint for finding copies.

Why a room: everything that listens.
Verbs (all that other rooms may call):
    measure_sound(samples, sample_rate) -> SoundMeasures    pure
    voiced_spans(samples, sample_rate) -> [(start_s, end_s)]    where somebody speaks; pure
    sound_print(samples, sample_rate) -> SoundPrint         survives coding, gain, resampling, trimming; pure
    AudioChecks(kinds, limits)          the stage; fingerprint of the sound in meta `phash`
Seams: SpeechLanguage (a model of spoken language: samples, rate -> tag), entry point group expedition.speech_language.
Imports: data.stages.stage.  Imported by: data.stages.catalogue, data.stages.dedup, data.decode.
Reads / writes in the workspace: nothing.
Invariants: silence is dropped and speech kept [test_silence_is_dropped]; coding, gain, resampling and trimming keep the
fingerprint near [test_edits_keep_the_fingerprint_near].
Read in this order:
    sound.py        level, noise, activity
    voice.py        voice activity, where to cut
    transcript.py   what can have been said
    fingerprint.py  finding copies
    audio.py        the stage
Try: pytest tests/data/stages/test_audio.py
"""

from expedition.data.stages.audio.audio import AudioChecks, AudioLimits, SpeechLanguage
from expedition.data.stages.audio.fingerprint import SoundPrint, sound_print
from expedition.data.stages.audio.sound import SoundMeasures, measure_sound
from expedition.data.stages.audio.voice import voiced_spans

__all__ = [
    "AudioChecks",
    "AudioLimits",
    "SoundMeasures",
    "SoundPrint",
    "SpeechLanguage",
    "measure_sound",
    "sound_print",
    "voiced_spans",
]
