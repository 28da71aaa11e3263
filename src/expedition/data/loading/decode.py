"""Stored documents back from the shards: tokens and decoded media by `pread` at the index's offsets."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.cache import ShardReader
from expedition.data.loading.expand import Media, Mel, is_one_of
from expedition.data.loading.index import DocumentIndex, MediaSpan
from expedition.data.loading.media import decode_image, image_patches, kept_frames, split_frames, video_patches
from expedition.data.loading.mel import decode_audio, log_mel
from expedition.data.loading.tokens import MediaTokenIds
from expedition.errors import InputError
from expedition.plan.media import MediaRule

_NPY_MAGIC = b"\x93NUMPY\x01\x00"


class DocumentReader:
    """Reads the documents of one version. `folder` is the version's key; safe for many threads."""

    def __init__(
        self, index: DocumentIndex, shards: ShardReader, folder: str, ids: MediaTokenIds, rule: MediaRule
    ) -> None:
        self._index = index
        self._shards = shards
        self._keys = [f"{folder}/{name}" for name in index.shards]
        self._ids = ids
        self._rule = rule

    def tokens(self, document: int) -> npt.NDArray[np.int32]:
        """Stored tokens of a document, inserts as one token each. Raises InputError if they are damaged."""
        count, offset, length = self._index.stored(document)
        data = self._read(document, offset, length)
        try:
            tokens = parse_tokens(data, where="")
        except InputError as error:
            raise InputError(error.what, where=self._where(document)) from error
        if len(tokens) != count:
            raise InputError(f"{len(tokens)} tokens are stored, the index says {count}", where=self._where(document))
        return tokens

    def read_stored(self, document: int) -> int:
        """Read a document's stored tokens and media without decoding anything; how many bytes that was."""
        _, *tokens = self._index.stored(document)
        spans = [(tokens[0], tokens[1])]
        spans += [(span.offset, span.bytes) for span in self._index.media(document)]
        return sum(len(self._read(document, offset, length)) for offset, length in spans)

    def description(self, document: int) -> dict[str, Any]:
        """The document's JSON member."""
        columns = self._index.columns
        data = self._read(document, int(columns["json_offset"][document]), int(columns["json_bytes"][document]))
        value: dict[str, Any] = json.loads(data)
        return value

    def placeholders(self, document: int, tokens: npt.NDArray[np.int32]) -> list[int]:
        """Positions in `tokens` of the document's media."""
        return self._placeholders(document, tokens, self._index.media(document))

    def _placeholders(self, document: int, tokens: npt.NDArray[np.int32], spans: Sequence[MediaSpan]) -> list[int]:
        places: list[int] = np.flatnonzero(is_one_of(tokens, self._ids.inserts)).tolist()
        if len(places) != len(spans):
            raise InputError(f"{len(places)} insert tokens for {len(spans)} media", where=self._where(document))
        return places

    def piece(self, document: int, start: int, end: int) -> tuple[npt.NDArray[np.int32], list[Media]]:
        """Stored tokens start..end of a document and the media that stand among them, decoded."""
        tokens, spans = self.tokens(document), self._index.media(document)
        places = self._placeholders(document, tokens, spans)
        first, last = bisect.bisect_left(places, start), bisect.bisect_left(places, end)
        return tokens[start:end], self._media(document, spans, first, last)

    def media(self, document: int, first: int = 0, last: int | None = None) -> list[Media]:
        """Decoded media first..last of a document (all by default) in order.

        Raises InputError with shard and document if one does not decode.
        """
        return self._media(document, self._index.media(document), first, last)

    def _media(self, document: int, spans: Sequence[MediaSpan], first: int, last: int | None) -> list[Media]:
        chosen = spans[first:last]
        if not chosen:
            return []
        try:
            metas = self._video_metas(document) if any(span.kind == "video" for span in chosen) else []
            videos = iter(metas[sum(span.kind == "video" for span in spans[:first]) :])
            return [self._decode(document, span, next(videos) if span.kind == "video" else {}) for span in chosen]
        except InputError as error:
            raise InputError(error.what, where=self._where(document), fix=error.fix) from error

    def _decode(self, document: int, span: MediaSpan, meta: dict[str, Any]) -> Media:
        data = self._read(document, span.offset, span.bytes)
        if span.kind == "image":
            return image_patches(decode_image(data), self._rule)
        if span.kind == "audio":
            return Mel(log_mel(decode_audio(data, self._rule), self._rule))
        return decode_clip(data, meta, self._rule)

    def _video_metas(self, document: int) -> list[dict[str, Any]]:
        try:
            return [insert["meta"] for insert in self.description(document)["inserts"] if insert["kind"] == "video"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"the description of a document is damaged: {error!r}") from error

    def shard_key(self, document: int) -> str:
        """Key of the shard that a document lies in."""
        return self._keys[int(self._index.shard[document])]

    def _where(self, document: int) -> str:
        return f"{self.shard_key(document)} document {self._index.ids[document]}"

    def _read(self, document: int, offset: int, length: int) -> bytes:
        # By `pread`: beside decoding, a view of a mapped shard saves nothing that can be measured, and a disk that fails
        # or a file cut off under a mapping ends the process, where here it is an error.
        return self._shards.read(self.shard_key(document), offset, length)


def decode_clip(data: bytes, meta: dict[str, Any], rule: MediaRule) -> Media:
    """Patches of concatenated JPEG frames. `meta` has "sizes" and "fps_sampled" or "timestamps_s" (see records)."""
    frames = split_frames(data, meta["sizes"])
    kept = kept_frames(len(frames), rule)
    frames_per_s = _frames_per_s(meta, len(frames), rule) * len(kept) / len(frames)
    return video_patches([decode_image(frames[number]) for number in kept], rule.video_time_step(frames_per_s), rule)


def parse_tokens(data: bytes | memoryview, where: str) -> npt.NDArray[np.int32]:
    """The one-dimensional int32 array of a `.npy` member. Raises InputError for any other content."""
    header_end = 10 + int.from_bytes(data[8:10], "little")
    header = bytes(data[10:header_end])
    if data[:8] != _NPY_MAGIC or b"'<i4'" not in header or b"'fortran_order': False" not in header:
        raise InputError("the tokens of a document are no int32 array", where=where)
    try:
        return np.frombuffer(data, dtype="<i4", offset=header_end)
    except ValueError as error:
        raise InputError(f"the tokens of a document are damaged: {error}", where=where) from error


def _frames_per_s(meta: dict[str, Any], frames: int, rule: MediaRule) -> float:
    stated = meta.get("fps_sampled")
    if stated:
        return float(stated)
    times = meta.get("timestamps_s") or []
    if len(times) == frames and frames > 1 and times[-1] > times[0]:
        return (frames - 1) / float(times[-1] - times[0])
    return rule.video_fps
