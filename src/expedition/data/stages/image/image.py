"""The stage: pictures that are broken, tiny, blank or badly captioned are dropped; the rest get a perceptual hash."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from expedition.data.records import PLACEHOLDER
from expedition.data.stages.document_map import Outcome, Row, map_documents
from expedition.data.stages.image.captions import caption_fault, shares_a_word, words_in
from expedition.data.stages.image.perceptual_hash import decode, hash_pixels
from expedition.data.stages.media_phash import media_phash
from expedition.data.stages.stage import StageResult

_RUN: Final = re.compile(rf"(?:{PLACEHOLDER}\s*)+")
_OWN_LINE: Final = re.compile(rf"\n{PLACEHOLDER}|{PLACEHOLDER}\n")
"""How an interleaved document holds its pictures; a caption follows its picture on the line."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds of the picture filter."""

    min_side_px: int = 32
    """Shortest side. Web collections ask for 150 (OBELICS) to 200 (DataComp); small pictures of glyphs are sound."""
    max_aspect: float = 5.0
    """Longer side over shorter; banners and rules have more."""
    min_contrast: float = 1.5
    """Standard deviation of grey levels below which a picture is blank."""
    max_pictures: int = 30
    """Of an interleaved document."""
    max_run: int = 8
    """Pictures of an interleaved document without a word between them."""
    min_words_a_picture: float = 4.0
    """Of an interleaved document, two characters of a script without spaces counting as one word."""
    max_same_caption: int = 10
    """Pictures of a batch under one caption; half of the batch or more, and above this, is a caption of many pictures."""


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """Judges every picture and its caption, and interleaved documents as a whole; leaves a perceptual hash.

    A picture is decoded at reduced size, within a bound on its declared pixels. Of a document of several pictures the
    bad ones are left out with their places in the text; it is dropped where none is left. Meta `phash` holds the hashes
    (`dedup.media` compares them), meta `alt_differs` says that alternative text and caption have no word in common.

    Reasons:
    no picture: a document of image-text without one.
    unreadable picture: its bytes break its format's rules, or it declares more than 120 million pixels.
    picture too small, picture too narrow, blank picture: by the thresholds below.
    caption says nothing: a file name, a lone generic word ("image", "图片"), or under three letters.
    caption is an address: nothing but a URL or an e-mail address.
    caption is boilerplate: "click to enlarge", "no description available", or nothing after "image of".
    caption is mostly symbols: letters, marks and numbers are under 0.4 of what is no space.
    caption repeats itself: 12 words or more, under 0.35 of the first 40 different.
    caption of many pictures: one caption over more than 10 different pictures that are half of a batch or more.
    too many pictures, gallery, too few words for its pictures: interleaved documents, by the thresholds below.

    Thresholds:
    min_side_px: 32 pixels; OBELICS (arXiv:2306.16527, A.2) 150, DataComp (arXiv:2304.14108, 3.4) 200, less here because
    drawn glyphs and icons are sound.
    max_aspect: 5; DataComp 3, OBELICS 2: photographs have up to 3, scrolls and timelines more.
    max_pictures: 30 a document; OBELICS A.2.
    max_run: 8 pictures without a word between them; own choice, none of the open interleaved documents has it.
    min_words_a_picture: 4; MMC4 (arXiv:2304.06939) and OBELICS bound words of a document, this bounds their ratio;
    measured: articles have a hundred and more.
    max_same_caption: 10; ALIGN (arXiv:2102.05918, 3) discards texts shared by more than 10 pictures; the share of the
    batch keeps sets of few classes, whose captions recur.

    Keeps: the number and order of inserts; captions of one Chinese character; captions in every script, since letters
    are counted by Unicode category.
    """

    kinds: frozenset[str] = frozenset({"image-text"})
    limits: ImageLimits = ImageLimits()
    name: str = "image_filter"

    def __call__(self, batch: pa.RecordBatch) -> StageResult:
        shared = self._shared_captions(batch)
        return map_documents(batch, self.kinds, lambda row: self._decide(row, shared), media=True)

    def _shared_captions(self, batch: pa.RecordBatch) -> frozenset[str]:
        """Captions of single pictures that half of a batch or more have, above the bound."""
        rows = zip(batch.column("kind").to_pylist(), batch.column("text").to_pylist(), strict=True)
        captions = Counter(_caption(text) for kind, text in rows if kind in self.kinds and text.count(PLACEHOLDER) == 1)
        bound = max(self.limits.max_same_caption, captions.total() / 2)
        return frozenset(caption for caption, count in captions.items() if count > bound)

    def _decide(self, row: Row, shared: frozenset[str]) -> Outcome:
        pictures = [place for place, insert in enumerate(row.inserts) if insert.kind == "image"]
        if not pictures:
            return Outcome(drop="no picture")
        judged = {place: self._judge(row.inserts[place].data) for place in pictures}
        bad = {place: reason for place, (reason, _) in judged.items() if reason}
        if len(bad) == len(pictures):
            return Outcome(drop=next(iter(bad.values())))
        caption = _caption(row.text)
        article = len(pictures) > 1 or _OWN_LINE.search(row.text) is not None
        reason = self._document_fault(row.text, len(pictures)) if article else caption_fault(caption)
        if reason or (not article and caption in shared):
            return Outcome(drop=reason or "caption of many pictures")
        hashes = [value for reason, value in judged.values() if not reason]
        meta: dict[str, object] = {
            "phash": media_phash("article" if article else "image", row.language, ",".join(hashes))
        }
        counts = {"pictures hashed": len(hashes)}
        alternative = row.meta.get("alt")
        if isinstance(alternative, str) and caption_fault(alternative) is None:
            meta["alt_differs"] = not shares_a_word(caption, alternative)
            counts["alternative text differs" if meta["alt_differs"] else "alternative text agrees"] = 1
        if not bad:
            return Outcome(meta=meta, counts=counts)
        kept = tuple(place for place in range(len(row.inserts)) if place not in bad)
        return Outcome(
            text=without(row.text, frozenset(bad)),
            kept_inserts=kept,
            meta=meta,
            counts=counts,
            changed=tuple(f"left out: {reason}" for reason in bad.values()),
        )

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

    def _document_fault(self, text: str, pictures: int) -> str | None:
        if pictures > self.limits.max_pictures:
            return "too many pictures"
        if max(run.group().count(PLACEHOLDER) for run in _RUN.finditer(text)) > self.limits.max_run:
            return "gallery"
        if words_in(text.replace(PLACEHOLDER, " ")) < self.limits.min_words_a_picture * pictures:
            return "too few words for its pictures"
        return None


def without(text: str, places: frozenset[int]) -> str:
    """The text without these of its U+FFFC, and without the paragraph that was no more than one."""
    parts = text.split(PLACEHOLDER)
    result = parts[0]
    for place, part in enumerate(parts[1:]):
        if place not in places:
            result += PLACEHOLDER + part
        elif result.endswith("\n\n") or not result:
            result += part.lstrip("\n") if part.startswith("\n") or not result else part
        else:
            result += part
    return result


def _caption(text: str) -> str:
    return text.replace(PLACEHOLDER, " ").strip()
