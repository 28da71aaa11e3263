"""The stage: pictures that are broken, tiny, blank or badly captioned are dropped; the rest get a perceptual hash."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.image.perceptual_hash import decode, hash_pixels
from expedition.data.stages.stage import StageResult

_FILE_NAME: Final = re.compile(
    r"^(?:img|dsc|image|photo|picture|screenshot|untitled)?[\s_()\d.-]*(?:\.(?:jpe?g|png|gif|webp))?$", re.IGNORECASE
)
_EMPTY_WORDS_TEXT: Final = (
    "image picture photo photograph img thumbnail logo icon null none n/a alt caption untitled 图片 照片 图像 bild foto"
)
_EMPTY_WORDS: Final = frozenset(_EMPTY_WORDS_TEXT.split())


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds of the picture filter."""

    min_side_px: int = 32
    max_aspect: float = 5.0
    min_caption_characters: int = 3
    min_contrast: float = 1.5
    """Standard deviation of grey levels below which a picture is blank."""


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """Stage: judge every picture of a document; one bad picture drops it, since text and picture belong together.

    Meta `phash` holds the perceptual hashes of the pictures, comma-separated.
    """

    kinds: frozenset[str] = frozenset({"image-text"})
    limits: ImageLimits = ImageLimits()
    name: str = "image_filter"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        return map_documents(batch, self.kinds, self._decide, media=True)

    def _decide(self, row: Row) -> Outcome:
        pictures = [insert for insert in row.inserts if insert.kind == "image"]
        if not pictures:
            return Outcome(drop="no picture")
        hashes: list[str] = []
        for picture in pictures:
            reason, value = self._judge(picture.data)
            if reason:
                return Outcome(drop=reason)
            hashes.append(value)
        caption = row.text.replace("\ufffc", " ").strip()
        if says_nothing(caption, self.limits.min_caption_characters):
            return Outcome(drop="caption says nothing")
        return Outcome(meta={"phash": ",".join(hashes)}, counts={"pictures hashed": len(hashes)})

    def _judge(self, data: bytes) -> tuple[str | None, str]:
        try:
            picture = decode(data)
        except (OSError, ValueError, SyntaxError):
            return "unreadable picture", ""
        width, height = picture.size
        # A draft decode halves at most until 256 pixels, so small sides are the picture's own.
        if min(width, height) < self.limits.min_side_px:
            return "picture too small", ""
        if max(width, height) > self.limits.max_aspect * min(width, height):
            return "picture too narrow", ""
        if float(np.asarray(picture.convert("L"), np.float32).std()) < self.limits.min_contrast:
            return "blank picture", ""
        return None, hash_pixels(picture)


def says_nothing(caption: str, min_characters: int = 3) -> bool:
    """Whether a caption is a file name, a lone generic word or too short. One Chinese character is a word."""
    letters = sum(map(str.isalnum, caption))
    chinese = sum("\u3400" <= character <= "\u9fff" for character in caption)
    if letters + 2 * chinese < min_characters:
        return True
    return caption.lower() in _EMPTY_WORDS or _FILE_NAME.match(caption) is not None
