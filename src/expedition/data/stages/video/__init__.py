"""video: subtitles checked against the clip that they belong to, with the differences kept as a histogram.

Why a room: everything that compares times of words with times of pictures or sounds.
Verbs (all that other rooms may call):
    judge_alignment(cues, duration_s, events_s, limits, voice) -> Alignment     pure
    VideoAlign(kinds, limits)           the stage; fingerprint of the clip in meta `phash`
Seams: none.
Imports: data.stages.stage, data.stages.image, data.stages.audio.  Imported by: data.stages.catalogue, data.stages.dedup.
Reads / writes in the workspace: nothing.
Invariants: a shifted track is found and a sound one kept [test_shifted_subtitles_are_dropped].
Read in this order:
    alignment.py    cues against range, voice and events
    events.py       changes of picture
    frame_print.py  finding copies
    video.py        the stage
Try: pytest tests/data/stages/test_video.py
"""

from expedition.data.stages.video.alignment import AlignLimits, Alignment, judge_alignment
from expedition.data.stages.video.video import VideoAlign

__all__ = ["AlignLimits", "Alignment", "VideoAlign", "judge_alignment"]
