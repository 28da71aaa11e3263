"""The sample world's YouTube with faults, and a small harbour of videos."""

from __future__ import annotations

from collections.abc import Sequence

from expedition.sampleworld.services import youtube
from expedition.sampleworld.services.youtube import COSTS, KEY, OAUTH, YouTube
from tests.data.connectors.protocol_server import FaultyServer

__all__ = ["COSTS", "KEY", "OAUTH", "SRT", "Video", "YouTubeServer"]

SRT = "1\n00:00:00,000 --> 00:00:02,500\nThe boats leave the harbour before dawn.\n\n2\n00:00:02,500 --> 00:00:05,000\nThey return with the tide.\n"


def Video(
    id: str,
    title: str,
    licence: str = "youtube",
    captions: Sequence[str] = ("en",),
    privacy: str = "public",
    media: bytes | None = None,
) -> youtube.Video:
    """A video whose captions all say the same."""
    texts = {language: SRT for language in captions}
    told = f"About {title}."
    return youtube.Video(id, title, licence, texts, privacy, media, description=told, owned=id != "foreign")


class YouTubeServer(FaultyServer, YouTube):
    """The service, whose answers can be made to fail."""

    def __init__(self, videos: list[youtube.Video], **settings: int) -> None:
        super().__init__(videos, playlist="PLboats", **settings)
