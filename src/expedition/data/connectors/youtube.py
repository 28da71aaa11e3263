"""YouTube: metadata and captions through the Data API; media only of videos under a Creative Commons licence.

The Data API has no method that gives media, and nothing here works around that: media come from an address that the
operator names (a mirror or an agreed delivery), and only where the API says `status.license == creativeCommon`.
Captions can be downloaded only with the OAuth token of somebody who may edit the video: YouTube's own rule.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.service_api import paid_client, secret
from expedition.data.connectors.youtube_api import KEY_VARIABLE, OAUTH_VARIABLE, Quota, YouTubeApi
from expedition.errors import InputError
from expedition.workspace.atomic import write_atomic
from expedition.workspace.hashes import sha256_json

_BATCH = 50
"""Ids that videos.list takes at once."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LICENCES = {"creativeCommon": "CC-BY-3.0", "youtube": "LicenseRef-YouTube-Standard"}
"""SPDX id by the API's `status.license`; YouTube's Creative Commons option is CC BY 3.0."""

VideoLicence = Literal["creativeCommon", "youtube"]


class YouTubeConfig(BaseModel):
    """Which videos are wanted, and what of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    videos: tuple[str, ...] = ()
    """Video ids."""
    playlists: tuple[str, ...] = ()
    """Playlist ids."""
    channels: tuple[str, ...] = ()
    """Channel ids (UC…): their uploads."""
    search: tuple[str, ...] = ()
    """Search queries; 100 units a page of 50."""
    search_parameters: dict[str, str] = {}
    """Further parameters of search.list, such as relevanceLanguage, publishedAfter, regionCode."""
    licences: tuple[VideoLicence, ...] = ("creativeCommon",)
    """Videos of these licences give metadata and captions. Media are of creativeCommon alone, whatever stands here."""
    captions: bool = False
    """Download caption tracks: 50 + 200 units each, with the OAuth token of somebody who may edit the videos."""
    caption_languages: tuple[str, ...] = ()
    """Languages (BCP 47) of caption tracks; empty: all."""
    caption_format: Literal["vtt", "srt"] = "vtt"
    """Format of caption files."""
    automatic_captions: bool = False
    """Take tracks that speech recognition made, where there is no other of the language."""
    media: str | None = None
    """Approved address of media files, with {id} in it, such as https://media.example.org/{id}.mp4."""
    api: str = "https://www.googleapis.com"
    """API address."""
    daily_units: int = Field(10_000, ge=1)
    """Quota units a day that this source may use."""
    max_videos: int | None = Field(None, ge=1)
    """Stop after so many videos."""
    refresh: bool = False
    """List anew what was listed to its end before; videos already known are not asked for again."""

    @field_validator("videos", "playlists", "channels")
    @classmethod
    def _ids(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _ID.fullmatch(value):
                raise ValueError(f"{value!r} is no YouTube id")
        return values

    @field_validator("media")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith(("https://", "http://")) or value.count("{id}") != 1):
            raise ValueError("media has to be an http(s) address with {id} in it once")
        return value

    @model_validator(mode="after")
    def _names_something(self) -> YouTubeConfig:
        if not (self.videos or self.playlists or self.channels or self.search):
            raise ValueError("nothing is named: give videos, playlists, channels or search")
        return self


class YouTube:
    """The connector `youtube`."""

    name = "youtube"
    config = YouTubeConfig

    def items(self, context: Context, config: YouTubeConfig) -> Iterator[RemoteItem]:
        """For each batch of 50 videos: captions, media, then the metadata (videos-<n>.jsonl) that names both."""
        api = _api(context, config)
        if config.captions:
            _oauth()
        taken = 0
        for number, videos in enumerate(_batches(context, config, api)):
            if config.max_videos is not None:
                videos = videos[: config.max_videos - taken]
            taken += len(videos)
            rows = []
            for video in videos:
                if _licence(video) in config.licences:
                    tracks = _tracks(context, config, api, video) if config.captions else []
                    yield from (_caption_item(api, config, video, track) for track in tracks)
                    rows.append(_row(video, config, [_caption_key(video, track, config) for track in tracks]))
                if config.media is not None:
                    yield _media_item(config, video)
            if rows:
                path = context.state_dir / "rows" / f"videos-{number:06d}.jsonl"
                lines = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
                write_atomic(path, lines)
                ids = ",".join(str(video["id"]) for video in videos)
                digest = hashlib.sha256(lines).hexdigest()
                yield RemoteItem(
                    path.name,
                    api.url("videos", {"part": "snippet", "id": ids}),
                    expect_bytes=len(lines),
                    expect_sha256=digest,
                    meta={"videos": len(rows)},
                )
            if taken == config.max_videos:
                return

    def fetch(self, context: Context, config: YouTubeConfig, item: RemoteItem, target: Path) -> Downloaded:
        """One caption track, media file, or metadata file."""
        if "track" in item.meta:
            return _fetch_caption(_api(context, config), config, item, target)
        if "videos" in item.meta:
            return _stored(item, target, (context.state_dir / "rows" / item.key).read_bytes(), "application/jsonl")
        return context.client.download(item.url, target)


def _api(context: Context, config: YouTubeConfig) -> YouTubeApi:
    key = secret(KEY_VARIABLE, "the youtube connector", f"export {KEY_VARIABLE}=… (a key for the YouTube Data API v3)")
    quota = Quota(context.state_dir / "quota.json", config.daily_units)
    return YouTubeApi(paid_client(context.client), config.api.rstrip("/"), key, quota)


def _oauth() -> str:
    why = "downloading captions (YouTube gives them only to those who may edit the video)"
    return secret(OAUTH_VARIABLE, why, f"export {OAUTH_VARIABLE}=… (scope youtube.force-ssl), or set captions: false")


def _batches(context: Context, config: YouTubeConfig, api: YouTubeApi) -> Iterator[list[dict[str, Any]]]:
    """Videos as videos.list describes them, 50 a batch; a video belongs to the batch that it was first met in."""
    folder = context.state_dir / "batches"
    known: set[str] = set()
    count = 0
    while (kept := _read_json(folder / f"{count:06d}.json")) is not None:
        known.update(kept["ids"])
        count += 1
        yield kept["items"]
    waiting: list[str] = []
    for video in _listed(context, config, api):
        if video in known:
            continue
        known.add(video)
        waiting.append(video)
        if len(waiting) == _BATCH:
            yield _describe(api, folder / f"{count:06d}.json", waiting)
            count, waiting = count + 1, []
    if waiting:
        yield _describe(api, folder / f"{count:06d}.json", waiting)


def _describe(api: YouTubeApi, path: Path, ids: list[str]) -> list[dict[str, Any]]:
    query = {"part": "snippet,contentDetails,status", "id": ",".join(ids), "maxResults": str(_BATCH)}
    items = [
        item for item in api.list("videos", query).get("items", []) if isinstance(item, dict) and item.get("id") in ids
    ]
    write_atomic(path, json.dumps({"ids": ids, "items": items}).encode())
    return items


def _listed(context: Context, config: YouTubeConfig, api: YouTubeApi) -> Iterator[str]:
    """Ids in the order of the configuration; each listing goes on at the page where an earlier run ended."""
    yield from config.videos
    uploads = [f"UU{channel[2:]}" if channel.startswith("UC") else channel for channel in config.channels]
    for playlist in (*config.playlists, *uploads):
        yield from _pages(context, config, api, "playlistItems", {"part": "contentDetails", "playlistId": playlist})
    for query in config.search:
        asked = {"part": "snippet", "type": "video", "order": "date", **config.search_parameters, "q": query}
        if config.licences == ("creativeCommon",):
            asked["videoLicense"] = "creativeCommon"
        yield from _pages(context, config, api, "search", asked)


def _pages(
    context: Context, config: YouTubeConfig, api: YouTubeApi, method: str, query: Mapping[str, str]
) -> Iterator[str]:
    path = context.state_dir / "listings" / f"{sha256_json([method, dict(query)])[:16]}.json"
    listing = _read_json(path) or {"ids": [], "next": "", "finished": False}
    if listing["finished"] and config.refresh:
        listing = {"ids": [], "next": "", "finished": False}
    yield from listing["ids"]
    restarted = False
    while not listing["finished"]:
        asked = {**query, "maxResults": str(_BATCH), **({"pageToken": listing["next"]} if listing["next"] else {})}
        try:
            answer = api.list(method, asked)
        except FetchFailed as failure:
            if "invalidPageToken" in failure.detail and listing["next"] and not restarted:
                context.note("YouTube has forgotten where the listing was: it is listed from its beginning")
                listing, restarted = {"ids": [], "next": "", "finished": False}, True
                continue
            if failure.status == 404:
                where = query.get("playlistId", query.get("q", ""))
                raise InputError(f"YouTube has no such list: {failure.detail}", where=where) from failure
            raise
        found = [video for item in answer.get("items", []) if (video := _video_id(item)) is not None]
        following = str(answer.get("nextPageToken") or "")
        listing = {"ids": [*listing["ids"], *found], "next": following, "finished": not following}
        write_atomic(path, json.dumps(listing).encode())
        yield from found


def _video_id(item: Any) -> str | None:
    """The video's id in a row of a playlist or a search."""
    if not isinstance(item, dict):
        return None
    place = item.get("contentDetails") or item.get("id")
    video = place.get("videoId") if isinstance(place, dict) else None
    return video if isinstance(video, str) and _ID.fullmatch(video) else None


def _licence(video: Mapping[str, Any]) -> str:
    status = video.get("status")
    return str(status.get("license", "")) if isinstance(status, dict) else ""


def _tracks(context: Context, config: YouTubeConfig, api: YouTubeApi, video: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Caption tracks of a video, one a language, those that people made first."""
    path = context.state_dir / "tracks" / f"{video['id']}.json"
    kept = _read_json(path)
    if kept is None:
        kept = {"items": api.list("captions", {"part": "snippet", "videoId": str(video["id"])}).get("items", [])}
        write_atomic(path, json.dumps(kept).encode())
    chosen: dict[str, dict[str, Any]] = {}
    for track in sorted(kept["items"], key=lambda one: (one["snippet"].get("trackKind") == "asr", str(one["id"]))):
        told = track["snippet"]
        language = re.sub(r"[^A-Za-z0-9-]", "", str(told.get("language", "und"))) or "und"
        automatic = str(told.get("trackKind", "")).lower() == "asr"
        if (automatic and not config.automatic_captions) or told.get("status", "serving") != "serving":
            continue
        if not config.caption_languages or language in config.caption_languages:
            chosen.setdefault(language, {"id": str(track["id"]), "language": language, "automatic": automatic})
    return [chosen[language] for language in sorted(chosen)]


def _caption_key(video: Mapping[str, Any], track: Mapping[str, Any], config: YouTubeConfig) -> str:
    return f"{video['id']}.{track['language']}.{config.caption_format}"


def _caption_item(
    api: YouTubeApi, config: YouTubeConfig, video: Mapping[str, Any], track: Mapping[str, Any]
) -> RemoteItem:
    url = api.url(f"captions/{track['id']}", {"tfmt": config.caption_format})
    meta = {"track": track["id"], "video": video["id"], "language": track["language"], "automatic": track["automatic"]}
    return RemoteItem(_caption_key(video, track, config), url, licence=LICENCES.get(_licence(video)), meta=meta)


def _media_item(config: YouTubeConfig, video: Mapping[str, Any]) -> RemoteItem:
    """The media file of a video: refused unless the API says creativeCommon."""
    licence, template = _licence(video), config.media or ""
    suffix = os.path.splitext(template.split("?")[0])[1].lower() or ".mp4"
    allowed = licence == "creativeCommon"
    why = f"status.license is {licence or 'missing'!r}: media are taken of creativeCommon videos only"
    return RemoteItem(
        f"{video['id']}{suffix}",
        template.replace("{id}", str(video["id"])),
        licence=LICENCES.get(licence),
        meta={"video": video["id"], "watch_url": f"https://www.youtube.com/watch?v={video['id']}"},
        refused=None if allowed else why,
    )


def _row(video: Mapping[str, Any], config: YouTubeConfig, captions: list[str]) -> dict[str, Any]:
    """A row of videos-<n>.jsonl: the fields that the data room's manifests know, and the attribution CC BY asks for."""
    told, details = video.get("snippet") or {}, video.get("contentDetails") or {}
    watch = f"https://www.youtube.com/watch?v={video['id']}"
    allowed = _licence(video) == "creativeCommon" and config.media is not None
    row = {
        "id": video["id"],
        "video": _media_item(config, video).key if allowed else None,
        "path": captions[0] if captions else None,
        "subtitles": captions or None,
        "subtitle_kind": "caption track of the video" if captions else None,
        "title": told.get("title"),
        "description": told.get("description"),
        "lang": told.get("defaultAudioLanguage") or told.get("defaultLanguage"),
        "duration_s": duration_s(str(details.get("duration", ""))),
        "license": LICENCES.get(_licence(video)),
        "attribution": f"“{told.get('title')}” by {told.get('channelTitle')}, {watch}",
        "channel_id": told.get("channelId"),
        "published_at": told.get("publishedAt"),
        "url": watch,
    }
    return {name: value for name, value in row.items() if value is not None}


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration such as PT1H2M3S or P1DT5S; None for anything else."""
    found = re.fullmatch(r"P(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6}(?:\.\d{1,6})?)S)?)?", text)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def _fetch_caption(api: YouTubeApi, config: YouTubeConfig, item: RemoteItem, target: Path) -> Downloaded:
    try:
        reply = api.caption(str(item.meta["track"]), config.caption_format, _oauth())
    except FetchFailed as failure:
        if failure.status == 403:
            why = "YouTube gives this track only to somebody who may edit the video"
            raise FetchFailed(FetchReason.NO_LICENCE, why, item.url, status=403) from failure
        raise
    if b"-->" not in reply.body or (
        config.caption_format == "vtt" and not reply.text.lstrip("\ufeff").startswith("WEBVTT")
    ):
        raise FetchFailed(FetchReason.WRONG_CONTENT, f"no {config.caption_format} captions", item.url)
    return _stored(item, target, reply.body, reply.headers.get("content-type"))


def _stored(item: RemoteItem, target: Path, data: bytes, content_type: str | None) -> Downloaded:
    write_atomic(target, data)
    digest = hashlib.sha256(data).hexdigest()
    return Downloaded(item.url, item.url, len(data), digest, content_type=content_type)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


CONNECTOR = YouTube()
