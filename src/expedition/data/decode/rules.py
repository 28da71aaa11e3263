"""Bounds and sizes of decoding: what no input may pass, and how media are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from expedition.plan.media import MediaRule

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect a worker. Defaults keep one file within 256 MiB above an idle worker."""

    file_bytes: int = 32 * MIB
    """Largest file that is read as a whole, bytes. Containers and clips are read in parts and may be larger."""
    unpacked_bytes: int = 32 * MIB
    """Largest size of one unpacked stream or archive member, bytes."""
    archive_bytes: int = 4096 * MIB
    """Largest sum of the members of one archive, bytes."""
    archive_members: int = 200_000
    """Most members of one archive."""
    archive_depth: int = 3
    """Containers within containers."""
    html_bytes: int = 8 * MIB
    """A page is cut after this many bytes."""
    cues: int = 100_000
    """Most cues of one subtitle file; the rest is cut (a film has some two thousand)."""
    text_characters: int = 4_000_000
    """A text is split into documents of at most this many characters."""
    json_bytes: int = 8 * MIB
    """Largest JSON file, bytes: its values take some twenty times as much memory."""
    line_bytes: int = 4 * MIB
    """Longest line of a JSON-lines file, bytes."""
    pixels: int = 20_000_000
    """Most pixels of a picture that is not a JPEG, by its header."""
    jpeg_pixels: int = 60_000_000
    """Most pixels of a JPEG, which is checked at reduced size."""
    pdf_pages: int = 2_000
    """Pages read of one PDF."""
    pdf_s: float = 60.0
    """Soft bound on the time of one PDF, seconds: the rest is cut."""
    clip_s: float = 300.0
    """Soft bound on the decoding time of one clip, seconds: the rest is cut."""


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """How media are stored, and the bounds."""

    limits: Limits = field(default_factory=Limits)
    image_min_side: int = 8
    """Smaller pictures are dropped (tracking pixels), pixels."""
    image_max_pixels: int = 4_000_000
    """Larger pictures are stored smaller, pixels."""
    jpeg_quality: int = 90
    """Quality of pictures and frames that are stored again."""
    video_fps: float = 4.0
    """Frames sampled a second where the clip is short enough."""
    video_max_frames: int = 16
    """Frames stored of one clip or segment, spread evenly over it."""
    video_max_pixels: int = 256 * 256
    """Larger frames are stored smaller, pixels."""
    video_segment_s: float = 60.0
    """Longer clips become several documents, each with its own subtitles, seconds."""
    video_max_segments: int = 240
    """Segments of one clip; the rest is cut."""
    video_audio: bool = False
    """Whether a clip's sound is stored beside its frames."""
    sample_rate: int = 16_000
    """Samples a second of stored sound."""
    audio_max_s: float = 30.0
    """Longer sounds are split where their cues allow, and refused as too long for one transcript where not."""
    audio_min_s: float = 0.05
    """Shorter sounds are dropped, seconds."""
    page_setting: Literal["fast", "precise"] = "fast"
    """Setting of main-text extraction from web pages."""
    require_text: bool = True
    """Whether a picture or sound without a text that belongs to it is refused."""

    @classmethod
    def for_media(cls, media: MediaRule, page_setting: Literal["fast", "precise"] = "fast") -> DecodeRules:
        """Rules that store a little more than `media` shows the model, so that a later model may look closer."""
        return cls(
            page_setting=page_setting,
            video_fps=media.video_fps,
            video_max_frames=max(2 * media.video_max_frames, 8),
            video_max_pixels=max(4 * media.video_max_pixels, 128 * 128),
            sample_rate=media.sample_rate,
            audio_max_s=media.audio_max_s,
        )
