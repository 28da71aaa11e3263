"""video: subtitles checked against the clip that they belong to, with the differences kept as a histogram.

Why a room: everything that compares times of words with times of pictures or sounds.
Verbs (all that other rooms may call):
    judge_alignment(cues, duration_s, events_s, limits) -> Alignment     pure
    VideoAlign(kinds, limits)           the stage; fingerprint of the clip in meta `phash`
Seams: events may come from pictures (`events.py`) or from sound; both are lists of seconds.
Imports: data.stages.stage, data.stages.image.  Imported by: data.stages.catalogue.
Reads / writes in the workspace: nothing.
Invariants: a shifted track is found and a sound one kept [test_shifted_subtitles_are_dropped].
Read in this order:
    alignment.py    cues against range and events
    events.py       changes of picture and onsets of sound
    video.py        the stage
Try: pytest tests/data/stages/test_video.py
"""

from expedition.data.stages.video.alignment import AlignLimits, Alignment, judge_alignment
from expedition.data.stages.video.video import VideoAlign

__all__ = ["AlignLimits", "Alignment", "VideoAlign", "judge_alignment"]
