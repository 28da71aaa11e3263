"""YouTube Data API v3 as documented: lists with page tokens, quota units by method, captions that need an OAuth token."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.data.connectors.protocol_server import Answer, Asked, ProtocolServer, as_json, ranged

KEY = "AIza" + "k3y" * 11
OAUTH = "ya29." + "0auth" * 6
COSTS = {"search": 100, "playlistItems": 1, "videos": 1, "captions": 50, "download": 200}
SRT = "1\n00:00:00,000 --> 00:00:02,500\nThe boats leave the harbour before dawn.\n\n2\n00:00:02,500 --> 00:00:05,000\nThey return with the tide.\n"


@dataclass(frozen=True)
class Video:
    """A video of the small service."""

    id: str
    title: str
    licence: str = "youtube"
    captions: tuple[str, ...] = ("en",)
    privacy: str = "public"
    media: bytes = b""
    tags: tuple[str, ...] = field(default_factory=tuple)


class YouTubeServer(ProtocolServer):
    """googleapis.com/youtube/v3, and a mirror of media files under /media/."""

    def __init__(self, videos: list[Video], *, quota: int = 10_000, page_limit: int = 50) -> None:
        super().__init__()
        self.videos = videos
        self.quota = quota
        self.used = 0
        self.page_limit = page_limit
        self.valid_oauth = OAUTH

    def answer(self, asked: Asked) -> Answer:
        """One of the API's replies."""
        if asked.path.startswith("/media/"):
            name = asked.path.removeprefix("/media/").split(".")[0]
            found = next((one for one in self.videos if one.id == name and one.media), None)
            return Answer(404) if found is None else ranged(asked, found.media, {"Content-Type": "video/mp4"})
        method = asked.path.removeprefix("/youtube/v3/")
        bearer = asked.headers.get("authorization")
        key = asked.headers.get("x-goog-api-key") or asked.one("key")
        if bearer is not None and bearer != f"Bearer {self.valid_oauth}":
            return _error(401, "authError", "Invalid Credentials")
        if bearer is None and key != KEY:
            return _error(400, "badRequest", "API key not valid. Please pass a valid API key.")
        cost = COSTS["download" if method.startswith("captions/") else method]
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

    def _search(self, asked: Asked) -> Answer:
        hits = [one for one in self.videos if asked.one("q") in one.title]
        if asked.one("videoLicense") == "creativeCommon":
            hits = [one for one in hits if one.licence == "creativeCommon"]
        return self._page(asked, [{"id": {"kind": "youtube#video", "videoId": one.id}} for one in hits])

    def _playlist(self, asked: Asked) -> Answer:
        if asked.one("playlistId") != "PLboats":
            return _error(404, "playlistNotFound", "The playlist cannot be found.")
        return self._page(asked, [{"contentDetails": {"videoId": one.id}} for one in self.videos])

    def _videos(self, asked: Asked) -> Answer:
        ids = asked.one("id").split(",")
        if len(ids) > 50:
            return _error(400, "invalidFilters", "too many ids")
        found = [self._described(one) for one in self.videos if one.id in ids and one.privacy == "public"]
        return as_json({"kind": "youtube#videoListResponse", "items": found})

    def _described(self, video: Video) -> dict[str, Any]:
        return {
            "id": video.id,
            "snippet": {
                "title": video.title,
                "description": f"About {video.title}.",
                "channelId": "UCboats",
                "channelTitle": "Harbour",
                "publishedAt": "2023-05-01T08:00:00Z",
                "defaultAudioLanguage": "en",
                "tags": list(video.tags),
            },
            "contentDetails": {
                "duration": "PT1M5S",
                "definition": "hd",
                "caption": "true" if video.captions else "false",
            },
            "status": {"license": video.licence, "privacyStatus": video.privacy, "embeddable": True},
        }

    def _captions(self, asked: Asked) -> Answer:
        video = next((one for one in self.videos if one.id == asked.one("videoId")), None)
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
        if track.split("-")[1] == "foreign":
            return _error(403, "forbidden", "The permissions associated with the request are not sufficient.")
        body = SRT if asked.one("tfmt") == "srt" else "WEBVTT\n\n" + SRT.replace(",", ".")
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
    return hashlib.md5(str(start).encode()).hexdigest()[:8] if start else "first"


def _error(status: int, reason: str, message: str) -> Answer:
    detail = {
        "domain": "youtube.quota" if reason == "quotaExceeded" else "global",
        "reason": reason,
        "message": message,
    }
    return as_json({"error": {"code": status, "message": message, "errors": [detail]}}, status)
