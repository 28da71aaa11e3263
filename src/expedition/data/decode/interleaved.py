"""Documents with pictures in reading order, from JSON rows: items in a list, or texts and images side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.image import image_insert
from expedition.data.decode.jsonl import row_licence
from expedition.data.decode.piece import Piece, Refused, Repair
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules
from expedition.data.records import PLACEHOLDER, Insert

PictureOf = Callable[[str], bytes]
"""Bytes of a picture by the name that a row gives it; raises Refused(MISSING_MEDIA | UNSAFE_PATH | …)."""

_LISTS: Final = ("items", "content", "contents", "parts", "elements", "interleaved")
_MAX_PICTURES = 200


def parts_of(row: Any) -> list[tuple[str, str]] | None:
    """("text" | "image", value) in reading order, or None where the row is not an interleaved document.

    Known forms: a list of {"type": "text" | "image", …} items; parallel lists `texts` and `images` in which one of
    the two is null at each place.
    """
    if not isinstance(row, Mapping):
        return None
    for name in _LISTS:
        items = row.get(name)
        if isinstance(items, list) and items and all(isinstance(item, Mapping) for item in items):
            parts = [part for item in items if (part := _part(item)) is not None]
            return parts if len(parts) == len(items) else None
    texts, images = row.get("texts"), row.get("images")
    if isinstance(texts, list) and isinstance(images, list) and len(texts) == len(images):
        return [
            ("image", str(image)) if image else ("text", str(text))
            for text, image in zip(texts, images, strict=True)
            if image or text
        ]
    return None


def interleaved_piece(row: Mapping[str, Any], picture_of: PictureOf, rules: DecodeRules, inner: str) -> Piece:
    """A row as a document: paragraphs parted by empty lines, one U+FFFC on its own line for each picture.

    Pictures that cannot be used are left out and counted as repairs. Raises Refused(WRONG_TYPE | NO_TEXT).
    """
    parts = parts_of(row)
    if parts is None:
        raise Refused(Reason.WRONG_TYPE, "not an interleaved document")
    blocks: list[str] = []
    inserts: list[Insert] = []
    repairs: list[Repair] = []
    for kind, value in parts:
        if kind == "text":
            block = tidy(clean(value)[0])
        elif len(inserts) >= _MAX_PICTURES:
            repairs.append(Repair(Reason.CUT, 1, f"more than {_MAX_PICTURES} pictures"))
            continue
        else:
            try:
                insert, changes = image_insert(picture_of(value), rules)
            except Refused as refused:
                repairs.append(Repair(refused.reason, 1, f"{value[:100]}: {refused.detail}"))
                continue
            inserts.append(insert)
            repairs += changes
            block = PLACEHOLDER
        if block:
            blocks.append(block)
    if not any(block != PLACEHOLDER for block in blocks):
        raise Refused(Reason.NO_TEXT, "pictures only")
    meta = {key: row[key] for key in ("id", "title", "date", "wave") if isinstance(row.get(key), str | int)}
    return Piece(
        text="\n\n".join(blocks),
        inserts=tuple(inserts),
        inner=inner,
        kind="image-text",
        url=row["url"] if isinstance(row.get("url"), str) else None,
        licence=row_licence(row),
        language=next((row[key] for key in ("language", "lang") if isinstance(row.get(key), str)), None),
        meta=meta,
        repairs=tuple(repairs),
    )


def _part(item: Mapping[str, Any]) -> tuple[str, str] | None:
    kind = item.get("type")
    if kind == "text" and isinstance(item.get("text", item.get("value")), str):
        return "text", str(item.get("text", item.get("value")))
    if kind in ("image", "image_url", "picture"):
        name = next(
            (item[key] for key in ("image", "path", "file", "src", "value") if isinstance(item.get(key), str)), None
        )
        return None if name is None else ("image", name)
    return None
