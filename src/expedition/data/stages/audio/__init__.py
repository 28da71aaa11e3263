"""audio: sound judged by level, noise and speaking rate against its transcript.

Why a room: everything that listens.
Verbs (all that other rooms may call):
    measure_sound(samples, sample_rate) -> SoundMeasures    pure
    AudioChecks(kinds, limits)          the stage; fingerprint of the sound in meta `phash`
Seams: none.
Imports: data.stages.stage.  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing.
Invariants: silence is dropped and speech kept [test_silence_is_dropped].
Read in this order:
    sound.py        level, noise, activity
    audio.py        the stage
Try: pytest tests/data/stages/test_audio.py
"""

from expedition.data.stages.audio.audio import AudioChecks, AudioLimits
from expedition.data.stages.audio.sound import SoundMeasures, measure_sound

__all__ = ["AudioChecks", "AudioLimits", "SoundMeasures", "measure_sound"]
