"""Media with their texts, in the canonical forms: the medium, a space, then caption, subtitles or transcript."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from expedition.data.decode.audio import Sound, read_sound, riff_length_repair, sound_insert
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.companion import Companion
from expedition.data.decode.image import image_insert
from expedition.data.decode.long_sound import is_long, sound_by_cues, sound_by_pauses
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.subtitles import Cue, Track, cue_rows, cue_text, read_track
from expedition.data.records import PLACEHOLDER, Insert

if TYPE_CHECKING:
    from expedition.data.decode.video import Segment, Voice

_TRACK_BYTES = 16 << 20
_HEAD_BYTES = 1 << 16
_PHONEMES = Insert("special", "<|ipa_phoneme|>")


def picture_piece(data: bytes, companion: Companion, rules: DecodeRules, inner: str = "") -> Piece:
    """Text "O caption". Raises Refused as `image_insert` does, and MISSING_TEXT where rules ask for a caption."""
    insert, repairs = image_insert(data, rules)
    caption = _words(companion.text)
    if not caption and rules.require_text:
        raise Refused(Reason.MISSING_TEXT, "no caption")
    return _piece(PLACEHOLDER + _after(caption), (insert,), "image-text", companion, inner, repairs)


def sound_pieces(source: Path | bytes, companion: Companion, rules: DecodeRules, inner: str = "") -> Decoded:
    """Text "O transcript", or "O transcript O ipa". Raises Refused.

    A sound longer than `rules.audio_max_s` becomes several, cut at pauses: its words are dealt out where their times are
    known, by subtitles or by the row's own segments; without times it is refused as too long, unless no words are asked
    for.
    """
    track = _track(companion)
    if is_long(source, rules.audio_max_s):
        if track is not None and track.cues:
            yield from sound_by_cues(source, track, companion, rules, inner)
            return
        if not rules.require_text and not companion.text:
            yield from sound_by_pauses(source, companion, rules, inner)
            return
    sound = _sound(source, rules)
    insert, repairs = sound_insert(sound, rules)
    words = _words(companion.text) or (cue_text(track.cues) if track else "")
    if not words and rules.require_text:
        raise Refused(Reason.MISSING_TEXT, "no transcript")
    text, inserts = PLACEHOLDER + _after(words), [insert]
    ipa = _words(companion.ipa)
    if ipa:
        text += PLACEHOLDER + ipa
        inserts.append(_PHONEMES)
    yield _piece(text, tuple(inserts), "audio-text", companion, inner, repairs)


def clip_pieces(source: Path | bytes, companion: Companion, rules: DecodeRules, inner: str = "") -> Decoded:
    """Text "O subtitles", one document a segment and subtitle track; the sound track too where rules ask for it."""
    from expedition.data.decode.video import read_clip, read_clip_voice

    tracks = _tracks(companion)
    told_by: list[tuple[str | None, Track | None]] = [*tracks] or [(companion.language, None)]
    words = _words(companion.text)
    sound = _clip_sound(source, rules)
    heard_by = read_clip_voice(source) if tracks and sound is None else None
    found = False
    for number, (segment, last) in enumerate(_marked_last(read_clip(source, rules))):
        first = number == 0
        heard = _segment_sound(sound, segment.start_s, segment.end_s, rules)
        inserts = (segment.insert,) if heard is None else (segment.insert, heard)
        for language, track in told_by:
            cues = _between(track.cues, segment, whole=first and last) if track else []
            said = cue_text(cues) if track else words if first else ""
            if not said and not first:
                continue
            found = found or bool(said) or not tracks
            place = inner if first and len(tracks) < 2 else f"{inner}@{segment.start_s:g}s {language or ''}".strip()
            repairs = (*segment.repairs, *(track.repairs if track and first else ()))
            told = replace(companion, language=language, meta=_clip_meta(companion, cues, segment, heard_by))
            yield _piece(PLACEHOLDER * len(inserts) + _after(said), inserts, "video-text", told, place, repairs)
    if not found:
        yield Fault(Reason.MISSING_TEXT, "no subtitle falls into the clip", inner)


def _piece(
    text: str, inserts: Sequence[Insert], kind: str, companion: Companion, inner: str, repairs: Sequence[Repair]
) -> Piece:
    return Piece(
        text=text,
        inserts=tuple(inserts),
        inner=inner,
        kind=kind,
        url=companion.url,
        licence=companion.licence,
        language=companion.language,
        meta=companion.meta,
        repairs=tuple(repairs),
    )


def _after(text: str) -> str:
    """A text as it follows its medium: after one space, which a byte-level vocabulary has inside its word entries."""
    return f" {text}" if text else ""


def _words(text: str | None) -> str:
    return tidy(clean(text)[0]) if text else ""


def _stream(source: Path | bytes) -> Path | BinaryIO:
    return source if isinstance(source, Path) else io.BytesIO(source)


def _sound(source: Path | bytes, rules: DecodeRules) -> Sound:
    """Through libsndfile; containers that it does not read (AAC in MP4, WebM) through PyAV."""
    try:
        sound = read_sound(_stream(source), most_s=rules.audio_max_s)
    except Refused as refused:
        if refused.reason is not Reason.UNSUPPORTED_FORMAT:
            raise
        from expedition.data.decode.video import read_clip_sound

        other = read_clip_sound(source, rules.audio_max_s)
        if other is None:
            raise
        return other
    head, size = _riff_head(source)
    repair = riff_length_repair(head, size)
    return replace(sound, repairs=(*sound.repairs, repair)) if repair and not sound.repairs else sound


def _riff_head(source: Path | bytes) -> tuple[bytes, int]:
    if isinstance(source, bytes):
        return source[:_HEAD_BYTES], len(source)
    with source.open("rb") as stream:
        return stream.read(_HEAD_BYTES), source.stat().st_size


def _track(companion: Companion) -> Track | None:
    tracks = _tracks(companion)
    if tracks:
        return tracks[0][1]
    return Track(companion.cues, {}) if companion.cues else None


def _tracks(companion: Companion) -> list[tuple[str | None, Track]]:
    """The readable subtitle tracks with cues, and the language that a file's name states."""
    found = []
    for path in companion.tracks:
        if path.stat().st_size > _TRACK_BYTES:
            continue
        try:
            track = read_track(path.read_bytes())
        except (Refused, OSError):
            continue
        if track.cues or track.dropped:
            found.append((track_language(path.name) or companion.language, track))
    return found


def track_language(name: str) -> str | None:
    """Language of a subtitle file by its name: "clip.en.vtt", "clip.zh-Hans.srt"; None where it has none."""
    parts = name.split(".")
    tag = parts[-2] if len(parts) > 2 else ""
    plain = tag.replace("_", "-")
    main = plain.split("-")[0]
    return plain if len(main) in (2, 3) and main.isascii() and main.isalpha() and len(plain) <= 12 else None


def _marked_last(segments: Iterator[Segment]) -> Iterator[tuple[Segment, bool]]:
    before: Segment | None = None
    for segment in segments:
        if before is not None:
            yield before, False
        before = segment
    if before is not None:
        yield before, True


def _between(cues: Sequence[Cue], segment: Segment, *, whole: bool) -> list[Cue]:
    """Cues whose middle lies in the segment, times from its start. A clip that is one segment keeps all its cues, even
    those past its end: whether they fit the pictures is a later stage's question."""
    if whole:
        return list(cues)
    start_s, end_s = segment.start_s, segment.end_s
    return _moved([cue for cue in cues if start_s <= (cue.start_s + cue.end_s) / 2 < end_s], start_s)


def _moved(cues: Sequence[Cue], by_s: float) -> list[Cue]:
    return [Cue(max(0.0, cue.start_s - by_s), cue.end_s - by_s, cue.text) for cue in cues]


def _clip_meta(companion: Companion, cues: Sequence[Cue], segment: Segment, voice: Voice | None) -> dict[str, object]:
    """What is kept of a segment: its place in the clip, its cues, and where somebody speaks (`voice_s`, from its start),
    which is left out where the sound was not heard to the segment's end."""
    meta = {**companion.meta, "start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3)}
    if not cues:
        return meta
    meta["cues"] = cue_rows(cues)
    if voice is not None and voice.heard_s + 1.0 >= segment.end_s:
        meta["voice_s"] = voice.between(segment.start_s, segment.end_s)
    return meta


def _clip_sound(source: Path | bytes, rules: DecodeRules) -> Sound | None:
    if not rules.video_audio:
        return None
    from expedition.data.decode.video import read_clip_sound

    try:
        return read_clip_sound(source, rules.video_segment_s * rules.video_max_segments)
    except Refused:
        return None


def _segment_sound(sound: Sound | None, start_s: float, end_s: float, rules: DecodeRules) -> Insert | None:
    if sound is None:
        return None
    last_s = min(end_s, start_s + rules.audio_max_s)
    part = Sound(sound.samples[round(start_s * sound.rate) : round(last_s * sound.rate)], sound.rate)
    try:
        return sound_insert(part, rules)[0]
    except Refused:
        return None
