"""The text that belongs to a medium: what a manifest row or a file beside it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from expedition.data.decode.jsonl import row_licence
from expedition.data.decode.licence import named_licence
from expedition.data.decode.subtitles import Cue, plain_words

CAPTION_FIELDS: Final = (
    "caption", "text", "transcript", "transcription", "sentence", "normalized_text", "description", "captions",
    "title", "txt", "alt", "alt_text",
)  # fmt: skip
_KEPT: Final = (
    "alt", "credit", "source", "duration_s", "speaker", "speaker_id", "subtitle_kind", "transcript", "wave", "camera",
    "driving", "group", "note", "accent", "emotion", "id", "title", "offset_s",
)  # fmt: skip
_PAUSE_S: Final = 0.5
_PHRASE_S: Final = 10.0
_LONGEST_S: Final = 360_000.0
_MOST_CUES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Companion:
    """What is known about a medium from outside it. `tracks` are its subtitle files."""

    text: str | None = None
    ipa: str | None = None
    language: str | None = None
    licence: str | None = None
    url: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    tracks: tuple[Path, ...] = ()
    cues: tuple[Cue, ...] = ()
    """Parts of the text with their times, where a row gives them."""


NOTHING: Final = Companion()


def companion_of_row(row: Mapping[str, Any], tracks: tuple[Path, ...] = ()) -> Companion:
    """A manifest row as a companion; fields that are no text are left out. `transcript` may say how good `text` is."""
    text = None
    for name in CAPTION_FIELDS:
        value = row.get(name)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            value = value[0]
        if isinstance(value, str) and value.strip():
            text = value.strip()
            break
    return Companion(
        text=text,
        ipa=_text(row, "ipa", "phonemes", "phonetic"),
        language=_text(row, "lang", "language", "locale"),
        licence=row_licence(row) or named_licence(_text(row, "credit", "rights") or ""),
        url=_text(row, "url", "image_url", "source_url"),
        meta={key: row[key] for key in _KEPT if isinstance(row.get(key), str | int | float) and row[key] != text},
        tracks=tracks,
        cues=() if tracks else _cues(row),
    )


def _cues(row: Mapping[str, Any]) -> tuple[Cue, ...]:
    """Timed parts in the form that recognisers write: `segments` with start, end, text; `words` with start, end, word.

    One part without a sound time makes the whole list void: the words would not be those of the sound.
    """
    for name, text_name, gap_s in (("segments", "text", None), ("chunks", "text", None), ("words", "word", _PAUSE_S)):
        parts = row.get(name)
        if not isinstance(parts, list) or not parts or len(parts) > _MOST_CUES:
            continue
        cues = [_cue(part, text_name) for part in parts]
        if all(cue is not None for cue in cues):
            found = sorted((cue for cue in cues if cue is not None), key=lambda cue: (cue.start_s, cue.end_s))
            return tuple(found if gap_s is None else _phrases(found, gap_s))
    return ()


def _cue(part: Any, text_name: str) -> Cue | None:
    if not isinstance(part, Mapping):
        return None
    given = part.get("timestamp")
    span: list[Any] = given if isinstance(given, list) else [part.get("start"), part.get("end")]
    text = part.get(text_name, part.get("text"))
    if not isinstance(text, str) or len(span) != 2 or not all(isinstance(at, int | float) for at in span):
        return None
    start, end = float(span[0]), float(span[1])
    words = plain_words(text)
    return Cue(start, end, words) if 0 <= start < end < _LONGEST_S and words else None


def _phrases(words: list[Cue], gap_s: float) -> list[Cue]:
    """Words joined to phrases that end at pauses or after ten seconds."""
    phrases: list[Cue] = []
    for word in words:
        last = phrases[-1] if phrases else None
        if last and word.start_s - last.end_s < gap_s and word.end_s - last.start_s <= _PHRASE_S:
            phrases[-1] = Cue(last.start_s, max(last.end_s, word.end_s), f"{last.text} {word.text}")
        else:
            phrases.append(word)
    return phrases


def _text(row: Mapping[str, Any], *names: str) -> str | None:
    return next(
        (str(row[name]).strip() for name in names if isinstance(row.get(name), str) and row[name].strip()), None
    )
