"""Near copies of pictures, clips and sounds: keys propose pairs, the fingerprints themselves decide.

A fingerprint is the string that the stages of pictures, clips and sounds leave in a document's meta as `phash`:
`image:<language>:<hash>`, `article:<language>:<hash>,…`, `video:<language>:<digest>:<frames>`,
`audio:<language>:<digest>:<anchors>:<bits>:<wave>`. Copies meet by keys of the content, and those with the same words by
a key of the words as well. A medium that tells too little (shapes on plain ground, a static clip, pictures within a
longer text) is a copy only where its words are the same. Media with words in two known languages are no copies: a
picture captioned in both teaches both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import xxhash

from expedition.data.stages.audio.fingerprint import SoundPrint, distance, read_print, wave_likeness
from expedition.data.stages.dedup.candidates import NO_PAIRS, Numbers, Pairs
from expedition.data.stages.image.likeness import DETAIL, Keys, Likeness, detail, likeness, picture_keys
from expedition.data.stages.image.perceptual_hash import hash_distance, parse, thumbnail_of
from expedition.data.stages.media_phash import phash_parts
from expedition.data.stages.video.frame_print import clip_keys, different, frames_of_print, shared_views

MEDIA_KINDS: Final = frozenset({"image-text", "video-text", "audio-text"})
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_FINE: Final = np.uint64(0xFFFFFFFF)
_PAIRS_AT_ONCE: Final = 4096


@dataclass(frozen=True, slots=True)
class MediaRule:
    """Bounds within which two media are one. Measured on edits of the open pictures, clips and sounds
    (`python -m benchmarks.quality.media`)."""

    max_bits: int = 24
    """Plain pictures with the same words: differing bits of 256 of the difference hash; re-encoding a 64-pixel picture
    at quality 50 changes up to 27."""
    max_colour_mean: float = 1.25
    """Plain pictures: mean difference of colour cells, of 255. Re-encoding changes 0.4 (median) to 1.5; pictures of one
    thing at two places of a plain ground differ by 1.7 and more."""
    max_colour_cell: int = 16
    """Plain pictures: largest difference of a colour cell, of 255."""
    whole: tuple[float, float] = (0.96, 0.75)
    """Pictures in one framing: least correlation, largest difference of a cell in standard deviations. Copies resized,
    stretched, mirrored or at quality 30: 0.977 and more, at most 0.63; two maps that mark other countries: 0.97."""
    cropped: tuple[float, float] = (0.93, 1.6)
    """Pictures in different framing. Crops of up to 5 % a side: 98 of 100 lie within; two planets on black: 0.936 and
    1.8."""
    max_chroma: tuple[float, float] = (24.0, 44.0)
    """Largest difference of a cell of a 4 × 4 grid in red less green or blue less green, of 510, in one framing and in
    another: what grey does not see. Brighter by 15 %: 21; crops 41; rings of another colour at the same place: 48."""
    clip_share: float = 0.6
    """Share of a clip's telling frames that must be found in the other, in order."""
    clip_views: int = 3
    """Different views that these must show; fewer are enough where the words are the same."""
    sound_bits: tuple[float, float] = (0.35, 0.5)
    """Largest share of differing bits, less the second over the root of the frames compared: chance is 0.5, and comes
    nearer in a short sound. Speech of 10 s: MP3, trimmed 0.21; two readings by one voice 0.44."""
    short_bits: float = 0.24
    short_wave: float = 0.965
    """Sounds under two seconds: least correlation of the waves. MP3 0.965 and more; a word said twice by one
    synthetic voice up to 0.962."""
    length_ratio: float = 0.5
    """A part shorter than this of a sound is not a copy of it."""


def media_keys(phash: str | None, words: int, *, other_words: bool = True) -> tuple[Keys, npt.NDArray[np.uint32]]:
    """Keys of a fingerprint and for each a finer code for large groups.

    `words` is the hash of the document's text; without `other_words` only media with the same words can meet.
    """
    if not phash:
        return np.empty(0, np.uint64), np.empty(0, np.uint32)
    kind, _, body = phash_parts(phash)
    found = _content_keys(kind, body)
    salt = np.uint64(xxhash.xxh3_64_intdigest(kind.encode())) ^ np.uint64(0 if other_words else words)
    with np.errstate(over="ignore"):
        keys = np.concatenate([(found * _MIX) ^ salt, np.array([words], np.uint64) ^ (salt * _MIX)])
    keys = (keys ^ (keys >> np.uint64(31))) * _MIX
    # Within a group of one key: equal where another, independent key is equal too.
    fine = np.roll(keys, len(keys) // 2)
    return keys, (fine & _FINE).astype(np.uint32)


def media_near(a: str, b: str, rule: MediaRule | None = None) -> bool:
    """Whether two fingerprints that share a key are copies; symmetric."""
    bounds = rule or MediaRule()
    a, b = min(a, b), max(a, b)
    (kind, language, one), (other_kind, other_language, other) = phash_parts(a), phash_parts(b)
    if kind != other_kind or (language and other_language and language != other_language):
        return False
    if kind in ("image", "article"):
        return _near_pictures(one.split(","), other.split(","), bounds)
    if kind == "video":
        return one.split(":")[0] == other.split(":")[0] or _near_clips(one, other, bounds)
    return one.split(":")[0] == other.split(":")[0] or _near_sounds(_sound(one), _sound(other), bounds)


def near_media(pairs: Pairs, phashes: Callable[[Numbers], Sequence[str]], rule: MediaRule | None = None) -> Pairs:
    """The pairs that are near copies. `phashes(numbers)` gives those of rising document numbers."""
    kept = [NO_PAIRS]
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        batch = pairs[start : start + _PAIRS_AT_ONCE]
        numbers, places = np.unique(batch, return_inverse=True)
        told = phashes(numbers)
        near = [media_near(told[a], told[b], rule) for a, b in places.reshape(-1, 2).tolist()]
        kept.append(batch[np.array(near, bool)])
    return np.concatenate(kept)


def _content_keys(kind: str, body: str) -> Keys:
    if kind == "article":
        return np.empty(0, np.uint64)
    if kind == "image":
        thumb = None if "," in body else thumbnail_of(body)
        return np.empty(0, np.uint64) if thumb is None or detail(thumb) < DETAIL else picture_keys(thumb)
    if kind == "video":
        frames = frames_of_print(body.split(":")[1])
        return clip_keys(frames) if different(frames) >= MediaRule().clip_views else np.empty(0, np.uint64)
    return np.unique(_sound(body).anchors).astype(np.uint64)


def _near_pictures(a: Sequence[str], b: Sequence[str], rule: MediaRule) -> bool:
    if len(a) != len(b):
        return False
    return all(_near_picture(one, other, rule) for one, other in zip(a, b, strict=True))


def _near_picture(a: str, b: str, rule: MediaRule) -> bool:
    apart = hash_distance(a, b)
    if apart.bits <= rule.max_bits and apart.colour_mean <= rule.max_colour_mean:
        return apart.colour_max <= rule.max_colour_cell
    one, other = thumbnail_of(a), thumbnail_of(b)
    if one is None or other is None or min(detail(one), detail(other)) < DETAIL:
        return False
    found: Likeness = likeness(one, other)
    correlation, worst = rule.cropped if found.cropped else rule.whole
    if found.correlation < correlation or found.worst > worst:
        return False
    chroma, other_chroma = _chroma(a), _chroma(b)
    apart_by = min(float(np.abs(chroma - each).max()) for each in (other_chroma, other_chroma[:, ::-1]))
    return apart_by <= rule.max_chroma[int(found.cropped)]


def _chroma(value: str) -> npt.NDArray[np.float64]:
    """Red less green and blue less green [4, 4, 2] of a picture's colour cells."""
    cells = parse(value)[1].reshape(4, 2, 4, 2, 3).astype(np.float64).mean(axis=(1, 3))
    return np.stack([cells[:, :, 0] - cells[:, :, 1], cells[:, :, 2] - cells[:, :, 1]], axis=-1)


def _near_clips(a: str, b: str, rule: MediaRule) -> bool:
    frames = [frames_of_print(body.split(":")[1]) for body in (a, b)]
    share, views = shared_views(*frames)
    # Clips of fewer views meet by their words alone, and every one of their frames must be found.
    few = min(map(different, frames)) < rule.clip_views
    return share == 1.0 and views > 0 if few else share >= rule.clip_share and views >= rule.clip_views


def _near_sounds(a: SoundPrint, b: SoundPrint, rule: MediaRule) -> bool:
    shorter, longer = sorted((len(a.bits), len(b.bits)))
    if shorter < rule.length_ratio * longer:
        return False
    share, frames = distance(a.bits, b.bits)
    base, spread = rule.sound_bits
    if len(a.wave) and len(b.wave):
        return share <= rule.short_bits and wave_likeness(a.wave, b.wave) >= rule.short_wave
    return frames > 0 and share <= max(rule.short_bits, base - spread / frames**0.5)


@lru_cache(maxsize=1024)
def _sound(body: str) -> SoundPrint:
    return read_print(body.partition(":")[2])
