"""The text that belongs to a medium: what a manifest row or a file beside it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from expedition.data.decode.jsonl import row_licence
from expedition.data.decode.licence import named_licence

CAPTION_FIELDS: Final = (
    "caption", "text", "transcript", "transcription", "sentence", "normalized_text", "description", "captions",
    "title", "txt", "alt", "alt_text",
)  # fmt: skip
_KEPT: Final = (
    "alt", "credit", "source", "duration_s", "speaker", "speaker_id", "subtitle_kind", "transcript", "wave", "camera",
    "driving", "group", "note", "accent", "emotion", "id", "title", "offset_s",
)  # fmt: skip


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
    )


def _text(row: Mapping[str, Any], *names: str) -> str | None:
    return next(
        (str(row[name]).strip() for name in names if isinstance(row.get(name), str) and row[name].strip()), None
    )
