"""YouTube Data API v3 as documented: lists with page tokens, quota units by method, captions that need an OAuth token.

The API has no media; an approved mirror of them is served beside it, under /media/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.sampleworld.services.protocol import Answer, Asked, ProtocolServer, as_json, ranged

KEY = "AIza" + "k3y" * 11
OAUTH = "ya29." + "0auth" * 6
"""Credentials that the local service knows; they open nothing else."""
COSTS = {"search": 100, "playlistItems": 1, "videos": 1, "captions": 50, "download": 200}
"""Quota units of one call, by method."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video: its SubRip captions by language, and its media as the mirror has them (None: it has none)."""

    id: str
    title: str
    licence: str = "youtube"
    captions: Mapping[str, str] = field(default_factory=dict)
    privacy: str = "public"
    media: bytes | Path | None = None
    tags: tuple[str, ...] = ()
    duration: str = "PT1M5S"
    """ISO 8601."""
    description: str = ""
    owned: bool = True
    """Whether the holder of the OAuth token may edit it."""


class YouTube(ProtocolServer):
    """googleapis.com/youtube/v3 with one playlist of all videos, and a mirror of media files under /media/."""

    def __init__(
        self,
        videos: list[Video],
        *,
        playlist: str = "PLvideos",
        channel: str = "Harbour",
        quota: int = 10_000,
        page_limit: int = 50,
    ) -> None:
        super().__init__()
        self.videos = videos
        self.playlist = playlist
        self.channel = channel
        self.quota = quota
        self.used = 0
        self.page_limit = page_limit
        self.valid_oauth = OAUTH
        self._indexed: list[Video] | None = None
        self._by_id: dict[str, Video] = {}

    def answer(self, asked: Asked) -> Answer:
        """One of the API's replies."""
        if asked.path.startswith("/media/"):
            found = self._video(asked.path.removeprefix("/media/").split(".")[0])
            if found is None or found.media is None:
                return Answer(404)
            return ranged(asked, found.media, {"Content-Type": "video/mp4", "ETag": f'"{_digest(found.id)}"'})
        method = asked.path.removeprefix("/youtube/v3/")
        bearer = asked.headers.get("authorization")
        key = asked.headers.get("x-goog-api-key") or asked.one("key")
        if bearer is not None and bearer != f"Bearer {self.valid_oauth}":
            return _error(401, "authError", "Invalid Credentials")
        if bearer is None and key != KEY:
            return _error(400, "badRequest", "API key not valid. Please pass a valid API key.")
        cost = COSTS.get("download" if method.startswith("captions/") else method)
        if cost is None:
            return _error(404, "notFound", "The requested URL was not found on this server.")
        with self.lock:
            if self.used + cost > self.quota:
                return _error(
                    403, "quotaExceeded", "The request cannot be completed because you have exceeded your quota."
                )
            self.used += cost
        if method.startswith("captions/"):
            return self._caption(asked, method.removeprefix("captions/"), bearer)
        handler = {
            "search": self._search,
            "playlistItems": self._playlist,
            "videos": self._videos,
            "captions": self._captions,
        }
        return handler[method](asked)

    def _video(self, name: str) -> Video | None:
        with self.lock:
            if self._indexed is not self.videos or len(self._by_id) != len(self.videos):
                self._indexed, self._by_id = self.videos, {one.id: one for one in self.videos}
            return self._by_id.get(name)

    def _search(self, asked: Asked) -> Answer:
        hits = [one for one in self.videos if asked.one("q") in one.title]
        if asked.one("videoLicense") == "creativeCommon":
            hits = [one for one in hits if one.licence == "creativeCommon"]
        return self._page(asked, [{"id": {"kind": "youtube#video", "videoId": one.id}} for one in hits])

    def _playlist(self, asked: Asked) -> Answer:
        if asked.one("playlistId") != self.playlist:
            return _error(404, "playlistNotFound", "The playlist cannot be found.")
        return self._page(asked, [{"contentDetails": {"videoId": one.id}} for one in self.videos])

    def _videos(self, asked: Asked) -> Answer:
        ids = asked.one("id").split(",")
        if len(ids) > 50:
            return _error(400, "invalidFilters", "too many ids")
        known = [one for one in map(self._video, ids) if one is not None]
        found = [self._described(one) for one in known if one.privacy == "public"]
        return as_json({"kind": "youtube#videoListResponse", "items": found})

    def _described(self, video: Video) -> dict[str, Any]:
        return {
            "id": video.id,
            "snippet": {
                "title": video.title,
                "description": video.description,
                "channelId": f"UC{self.channel.lower()}",
                "channelTitle": self.channel,
                "publishedAt": "2023-05-01T08:00:00Z",
                "defaultAudioLanguage": "en",
                "tags": list(video.tags),
            },
            "contentDetails": {
                "duration": video.duration,
                "definition": "hd",
                "caption": "true" if video.captions else "false",
            },
            "status": {"license": video.licence, "privacyStatus": video.privacy, "embeddable": True},
        }

    def _captions(self, asked: Asked) -> Answer:
        video = self._video(asked.one("videoId"))
        if video is None:
            return _error(404, "videoNotFound", "The video cannot be found.")
        tracks = [
            {
                "id": f"track-{video.id}-{language}",
                "snippet": {"videoId": video.id, "language": language, "trackKind": "standard", "status": "serving"},
            }
            for language in video.captions
        ]
        return as_json({"items": tracks})

    def _caption(self, asked: Asked, track: str, bearer: str | None) -> Answer:
        if bearer is None:
            return _error(401, "required", "Login Required.")
        name, _, language = track.removeprefix("track-").rpartition("-")
        video = self._video(name)
        if video is None or language not in video.captions:
            return _error(404, "captionNotFound", "The caption track could not be found.")
        if not video.owned:
            return _error(403, "forbidden", "The permissions associated with the request are not sufficient.")
        text = video.captions[language]
        body = text if asked.one("tfmt") == "srt" else "WEBVTT\n\n" + text.replace(",", ".")
        return Answer(200, body.encode(), {"Content-Type": "application/octet-stream"})

    def _page(self, asked: Asked, rows: list[dict[str, Any]]) -> Answer:
        size = min(int(asked.one("maxResults", "5")), self.page_limit)
        tokens = {_token(start): start for start in range(0, len(rows) or 1, size)}
        given = asked.one("pageToken")
        if given and given not in tokens:
            return _error(400, "invalidPageToken", "The request specifies an invalid page token.")
        start = tokens[given] if given else 0
        body: dict[str, Any] = {"items": rows[start : start + size], "pageInfo": {"totalResults": len(rows)}}
        if start + size < len(rows):
            body["nextPageToken"] = _token(start + size)
        return as_json(body)


def _token(start: int) -> str:
    return _digest(str(start))[:8] if start else "first"


def _digest(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _error(status: int, reason: str, message: str) -> Answer:
    detail = {
        "domain": "youtube.quota" if reason == "quotaExceeded" else "global",
        "reason": reason,
        "message": message,
    }
    return as_json({"error": {"code": status, "message": message, "errors": [detail]}}, status)
