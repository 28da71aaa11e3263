"""A sound longer than one document may hold, as several: cut at pauses, with the words whose times are known."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from expedition.data.decode.audio import Sound, declared_s, read_sound, sound_insert
from expedition.data.decode.companion import Companion
from expedition.data.decode.piece import Decoded, Fault, Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.subtitles import Cue, Track, cue_rows, cue_text
from expedition.data.records import PLACEHOLDER
from expedition.data.stages.audio.voice import quietest

_MARGIN_S: Final = 0.5
"""Most that is taken of a pause before the first word of a part and after its last."""
_MOST_PARTS: Final = 4_000


def sound_by_cues(source: Path | bytes, track: Track, companion: Companion, rules: DecodeRules, inner: str) -> Decoded:
    """Neighbouring cues that fit into the longest stored sound, each group with its words and its stretch of sound.

    Cut at the quietest place of the pause between two groups. Cues that overlap are not parted.
    """
    groups: list[list[Cue]] = []
    for cue in track.cues:
        end_s = max(cue.end_s, groups[-1][-1].end_s) if groups else cue.end_s
        if cue.end_s - cue.start_s > rules.audio_max_s:
            yield Fault(Reason.TOO_LONG, "one cue", f"{inner}@{cue.start_s:g}s")
        elif groups and (
            end_s - groups[-1][0].start_s <= rules.audio_max_s or cue.start_s < groups[-1][-1].end_s - 0.05
        ):
            groups[-1].append(Cue(cue.start_s, max(cue.end_s, cue.start_s), cue.text))
        else:
            groups.append([cue])
    for number, group in enumerate(groups):
        before = max(cue.end_s for cue in groups[number - 1]) if number else 0.0
        after = groups[number + 1][0].start_s if number + 1 < len(groups) else None
        place = f"{inner}@{group[0].start_s:g}s"
        try:
            yield _part(source, group, (before, after), companion, rules, place)
        except Refused as refused:
            yield Fault(refused.reason, refused.detail, place)


def sound_by_pauses(source: Path | bytes, companion: Companion, rules: DecodeRules, inner: str) -> Decoded:
    """A sound without words in parts: each ends at the quietest place of its last third."""
    start_s = 0.0
    for _ in range(_MOST_PARTS):
        try:
            sound = read_sound(
                _stream(source), most_s=rules.audio_max_s + 1, start_s=start_s, end_s=start_s + rules.audio_max_s
            )
        except Refused as refused:
            if start_s == 0.0 or refused.reason not in (Reason.EMPTY, Reason.TRUNCATED):
                yield Fault(refused.reason, refused.detail, f"{inner}@{start_s:g}s")
            return
        last = sound.duration_s < rules.audio_max_s - 0.01
        end_s = sound.duration_s
        if not last:
            end_s = quietest(sound.samples, sound.rate, 2 / 3 * end_s, end_s)
        part = Sound(sound.samples[: round(end_s * sound.rate)], sound.rate, sound.repairs)
        try:
            insert, repairs = sound_insert(part, rules)
            meta = {**companion.meta, "start_s": round(start_s, 3), "end_s": round(start_s + end_s, 3)}
            yield Piece(PLACEHOLDER, (insert,), f"{inner}@{start_s:.2f}s", "audio-text", companion.url,
                        companion.licence, companion.language, meta, repairs)  # fmt: skip
        except Refused as refused:
            if not last:
                yield Fault(refused.reason, refused.detail, f"{inner}@{start_s:g}s")
        if last:
            return
        start_s += end_s
    yield Fault(Reason.CUT, f"more than {_MOST_PARTS} parts", inner)


def _part(
    source: Path | bytes,
    group: Sequence[Cue],
    bounds: tuple[float, float | None],
    companion: Companion,
    rules: DecodeRules,
    place: str,
) -> Piece:
    first_s, last_s = group[0].start_s, max(cue.end_s for cue in group)
    spare_s = max(0.0, rules.audio_max_s - (last_s - first_s)) / 2
    margin_s = min(_MARGIN_S, spare_s)
    from_s = max(first_s - margin_s, min(bounds[0], first_s), 0.0)
    to_s = last_s + margin_s if bounds[1] is None else min(last_s + margin_s, max(bounds[1], last_s))
    sound = read_sound(_stream(source), most_s=rules.audio_max_s + 1, start_s=from_s, end_s=to_s)
    if sound.duration_s < 0.9 * (last_s - from_s):
        raise Refused(Reason.BAD_CUES, "cues reach past the end of the sound")
    start_s = quietest(sound.samples, sound.rate, 0.0, first_s - from_s) if first_s > from_s else 0.0
    end_s = sound.duration_s
    if last_s - from_s < end_s:
        end_s = quietest(sound.samples, sound.rate, last_s - from_s, end_s)
    part = Sound(sound.samples[round(start_s * sound.rate) : round(end_s * sound.rate)], sound.rate, sound.repairs)
    insert, repairs = sound_insert(part, rules)
    moved = [Cue(max(0.0, cue.start_s - from_s - start_s), cue.end_s - from_s - start_s, cue.text) for cue in group]
    meta = {**companion.meta, "cues": cue_rows(moved), "start_s": round(from_s + start_s, 3)}
    told = replace(companion, meta=meta)
    text = f"{PLACEHOLDER} {cue_text(group)}"
    return Piece(text, (insert,), place, "audio-text", told.url, told.licence, told.language, told.meta, tuple(repairs))


def is_long(source: Path | bytes, most_s: float) -> bool:
    """Whether a sound declares more than `most_s` seconds."""
    try:
        return declared_s(_stream(source)) > most_s
    except Refused:
        return False


def _stream(source: Path | bytes) -> Path | BinaryIO:
    return source if isinstance(source, Path) else io.BytesIO(source)
