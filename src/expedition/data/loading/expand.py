"""One document as the model sees it: stored tokens with each insert replaced by its start, pad and end tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading.media import Patches
from expedition.data.loading.positions import VisionSpan, interleaving, rope_positions
from expedition.data.loading.tokens import MediaTokenIds
from expedition.errors import InputError
from expedition.plan.media import MediaRule

IGNORED = -100
"""Label of a position that is not trained on (the default of torch's cross entropy)."""


@dataclass(frozen=True, slots=True)
class Mel:
    """A sound as log-mel frames [mel_bins, frames]."""

    mel_MF: npt.NDArray[np.float32]


Media = Patches | Mel


@dataclass(frozen=True, slots=True)
class ExpandedDocument:
    """Tokens [n], labels [n] (next token; IGNORED at the end, on pads and before them), positions [3, n], media."""

    tokens: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    media: tuple[Media, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        media = sum(item.mel_MF.nbytes if isinstance(item, Mel) else item.patches_PC.nbytes for item in self.media)
        return int(self.tokens.nbytes + self.labels.nbytes + self.positions.nbytes + media)


def expand_document(
    stored: npt.NDArray[np.int32], media: Sequence[Media], ids: MediaTokenIds, rule: MediaRule
) -> ExpandedDocument:
    """Expand the stored tokens [n] of a document whose inserts are `media`, in order. Pure.

    Raises InputError if the number of insert tokens or their kinds do not match `media`.
    """
    places = np.flatnonzero(is_one_of(stored, ids.inserts))
    if len(places) != len(media):
        raise InputError(f"a document has {len(places)} insert tokens for {len(media)} pictures, clips and sounds")
    parts: list[npt.NDArray[np.int64]] = []
    spans: list[VisionSpan] = []
    done, length, number = 0, 0, 0
    while number < len(media):
        place, item = int(places[number]), media[number]
        sound = _own_sound(places, media, number, rule)
        if sound is None:
            start, pad, end, count = _tokens_of(int(stored[place]), item, ids, rule)
            expanded = np.full(count + 2, pad, dtype=np.int64)
            expanded[0], expanded[-1] = start, end
        else:
            expanded = _with_sound(stored[place : place + 2], item, sound, ids, rule)
        parts += [stored[done:place].astype(np.int64), expanded]
        length += place - done
        if isinstance(item, Patches):
            heard = 0 if sound is None else rule.audio_tokens(sound.mel_MF.shape[1])
            spans.append(VisionSpan(length + 1 + (sound is not None), item.grid, item.time_step, heard))
        length += len(expanded)
        taken = 1 if sound is None else 2
        done, number = place + taken, number + taken
    parts.append(stored[done:].astype(np.int64))
    tokens = np.concatenate(parts)
    positions = rope_positions(len(tokens), spans, rule.merge)
    return ExpandedDocument(tokens, _labels(tokens, ids), positions, tuple(media))


def _own_sound(places: npt.NDArray[np.int64], media: Sequence[Media], number: int, rule: MediaRule) -> Mel | None:
    """The sound that belongs into clip `number`: the one that stands directly after it, where the rule says so."""
    item = media[number]
    if not rule.audio_in_video or isinstance(item, Mel) or not item.is_video or number + 1 == len(media):
        return None
    after = media[number + 1]
    follows = isinstance(after, Mel) and places[number + 1] == places[number] + 1
    return after if isinstance(after, Mel) and follows and rule.audio_tokens(after.mel_MF.shape[1]) else None


def _with_sound(
    stored: npt.NDArray[np.int32], item: Media, sound: Mel, ids: MediaTokenIds, rule: MediaRule
) -> npt.NDArray[np.int64]:
    """Vision start, audio start, frames and sound by time, audio end, vision end."""
    vision_start, video_pad, vision_end, _ = _tokens_of(int(stored[0]), item, ids, rule)
    audio_start, audio_pad, audio_end, heard = _tokens_of(int(stored[1]), sound, ids, rule)
    assert isinstance(item, Patches)
    shown = interleaving(VisionSpan(0, item.grid, item.time_step, heard), rule.merge)
    middle = np.where(shown, video_pad, audio_pad)
    return np.concatenate([[vision_start, audio_start], middle, [audio_end, vision_end]]).astype(np.int64)


def is_one_of(tokens: npt.NDArray[Any], ids: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Where a token is one of three ids: what `numpy.isin` gives, several times faster on short arrays."""
    return np.asarray((tokens == ids[0]) | (tokens == ids[1]) | (tokens == ids[2]))


def _labels(tokens: npt.NDArray[np.int64], ids: MediaTokenIds) -> npt.NDArray[np.int64]:
    labels = np.empty_like(tokens)
    labels[:-1] = tokens[1:]
    labels[-1:] = IGNORED
    pads = is_one_of(tokens, ids.pads)
    labels[pads] = IGNORED
    labels[:-1][pads[1:]] = IGNORED
    return labels


def _tokens_of(token: int, item: Media, ids: MediaTokenIds, rule: MediaRule) -> tuple[int, int, int, int]:
    """(start, pad, end, number of pads) of one insert."""
    if isinstance(item, Mel):
        found, tokens = ids.audio, (ids.audio_start, ids.audio_pad, ids.audio_end)
        count = rule.audio_tokens(item.mel_MF.shape[1])
    elif item.is_video:
        found, tokens = ids.video, (ids.vision_start, ids.video_pad, ids.vision_end)
        count = rule.grid_tokens(item.grid)
    else:
        found, tokens = ids.image, (ids.vision_start, ids.image_pad, ids.vision_end)
        count = rule.grid_tokens(item.grid)
    if token != found:
        raise InputError(f"insert token {token} of a document does not fit its medium (token {found})")
    return *tokens, count
