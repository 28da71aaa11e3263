"""YouTube: lists, quota across days, captions, media by licence alone, and credentials that are written nowhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from expedition.data.connectors.youtube import CONNECTOR, YouTubeConfig, duration_s
from expedition.data.connectors.youtube_api import next_reset, quota_day
from expedition.data.records import documents_of
from expedition.data.sources import discover
from expedition.data.sources.items import list_items
from expedition.data.sources.manifest import manifest_of
from expedition.data.sources.read import read_documents
from expedition.errors import InputError, Interrupted, UsageError
from tests.data.connectors.acquiring import SOURCE, acquire, approved, files_below, kept, turned_down
from tests.data.connectors.protocol_server import Answer, as_json, cut_short, serving
from tests.data.connectors.youtube_server import KEY, OAUTH, Video, YouTubeServer

VIDEOS = [
    Video("open-1", "Harbour at dawn", "creativeCommon", ("en", "de")),
    Video("closed1", "Harbour news"),
    Video("open-2", "Nets", "creativeCommon", ()),
    Video("hidden1", "Harbour secret", "creativeCommon", privacy="private"),
    Video("open-3", "Harbour at dusk", "creativeCommon", ("en",)),
]


@pytest.fixture
def youtube(monkeypatch: pytest.MonkeyPatch) -> Iterator[YouTubeServer]:
    monkeypatch.setenv("YOUTUBE_API_KEY", KEY)
    monkeypatch.setenv("YOUTUBE_OAUTH_TOKEN", OAUTH)
    with serving(YouTubeServer(list(VIDEOS), page_limit=2)) as server:
        yield server


def config(server: YouTubeServer, **changes: object) -> YouTubeConfig:
    return YouTubeConfig.model_validate({"playlists": ("PLboats",), "api": server.url, **changes})


def rows(data: Path) -> list[dict[str, object]]:
    paths = sorted((data / SOURCE).glob("videos-*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def next_day(data: Path) -> None:
    """The quota's file as it stands after midnight Pacific."""
    (path,) = [path for path in files_below(data) if path.name == "quota.json"]
    state = json.loads(path.read_bytes())
    before = (datetime.fromisoformat(state["day"]) - timedelta(days=1)).date().isoformat()
    path.write_text(json.dumps({**state, "day": before}))


def test_every_page_gives_metadata_of_open_videos_alone(tmp_path: Path, youtube: YouTubeServer) -> None:
    data = tmp_path / "data"
    result = acquire(approved(tmp_path), data, CONNECTOR, config(youtube))
    assert (result["kept"], result["failed"]) == (1, {})
    assert [row["id"] for row in rows(data)] == ["open-1", "open-2", "open-3"]
    first = rows(data)[0]
    assert (first["license"], first["duration_s"], first["lang"]) == ("CC-BY-3.0", 65.0, "en")
    assert first["attribution"] == "“Harbour at dawn” by Harbour, https://www.youtube.com/watch?v=open-1"
    assert youtube.used == 3 + 1


def test_media_come_of_creative_commons_videos_alone(tmp_path: Path, youtube: YouTubeServer, open_data: Path) -> None:
    clip = (open_data / "video_text" / "rabbit320.mp4").read_bytes()
    youtube.videos = [Video(one.id, one.title, one.licence, one.captions, one.privacy, clip) for one in VIDEOS]
    ws, data = approved(tmp_path), tmp_path / "data"
    wanted = config(
        youtube, media=f"{youtube.url}/media/{{id}}.mp4", captions=True, licences=("creativeCommon", "youtube")
    )
    result = acquire(ws, data, CONNECTOR, wanted)
    assert result["failed"] == {}
    refused = turned_down(data)
    assert set(refused) == {"closed1.mp4"}
    assert "status.license is 'youtube'" in str(refused["closed1.mp4"].detail)
    assert youtube.count("/media/closed1") == 0
    assert {key: record.licence for key, record in kept(data).items() if key.endswith(".mp4")} == {
        "open-1.mp4": "CC-BY-3.0",
        "open-2.mp4": "CC-BY-3.0",
        "open-3.mp4": "CC-BY-3.0",
    }
    source = next(one for one in discover(data) if one.name == SOURCE)
    manifest = manifest_of(source.folder)
    assert [track.name for track in manifest.companion("open-1.mp4").tracks] == ["open-1.de.vtt", "open-1.en.vtt"]
    assert manifest.rows["open-3.mp4"]["title"] == "Harbour at dusk"
    batches = list(read_documents(source, list_items(source)))
    found = [document for batch in batches if hasattr(batch, "num_rows") for document in documents_of(batch)]
    by_path = {document.path.removeprefix(f"{SOURCE}/"): document for document in found}
    assert "The boats leave the harbour" in by_path["open-1.mp4"].text
    assert by_path["open-1.mp4"].licence == "CC-BY-3.0"


def test_captions_land_once_a_language(tmp_path: Path, youtube: YouTubeServer) -> None:
    data = tmp_path / "data"
    acquire(approved(tmp_path), data, CONNECTOR, config(youtube, captions=True, caption_format="srt"))
    assert set(kept(data)) == {"open-1.en.srt", "open-1.de.srt", "open-3.en.srt", "videos-000000.jsonl"}
    assert rows(data)[0]["subtitles"] == ["open-1.de.srt", "open-1.en.srt"]
    assert youtube.used == 3 + 1 + 3 * 50 + 3 * 200
    (data / "sources.yaml").write_text(f"sources: {{{SOURCE}: {{kind: video-text}}}}\n")
    source = next(one for one in discover(data) if one.name == SOURCE)
    assert "videos-000000.jsonl" in manifest_of(source.folder).metadata


def test_second_run_costs_no_unit(tmp_path: Path, youtube: YouTubeServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    acquire(ws, data, CONNECTOR, config(youtube, captions=True))
    used = youtube.used
    assert acquire(ws, data, CONNECTOR, config(youtube, captions=True))["kept"] == 0
    assert youtube.used == used
    youtube.videos.append(Video("open-9", "Harbour in winter", "creativeCommon"))
    acquire(ws, data, CONNECTOR, config(youtube, captions=True, refresh=True))
    assert [row["id"] for row in rows(data)] == ["open-1", "open-2", "open-3", "open-9"]


@pytest.mark.parametrize("side", ["service", "own budget"])
def test_the_quota_ends_the_run_and_the_next_day_goes_on(tmp_path: Path, youtube: YouTubeServer, side: str) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    units = 3 + 1 + 50 + 200 + 50
    youtube.quota = units if side == "service" else 10_000
    wanted = config(youtube, captions=True, daily_units=units if side == "own budget" else 10_000)
    days = 0
    while True:
        days += 1
        assert days < 9
        try:
            acquire(ws, data, CONNECTOR, wanted)
            break
        except Interrupted as stopped:
            assert stopped.exit_code == 4
            assert "midnight Pacific" in str(stopped)
        asked = len(youtube.asked)
        with pytest.raises(Interrupted):
            acquire(ws, data, CONNECTOR, wanted)
        # The same day asks at most for what the budget still holds; once it is used up, for nothing.
        assert len(youtube.asked) - asked <= 3
        youtube.used = 0
        next_day(data)
    assert set(kept(data)) == {"open-1.en.vtt", "open-1.de.vtt", "open-3.en.vtt", "videos-000000.jsonl"}
    assert youtube.count("/playlistItems") == 3
    assert days > 1


def test_a_forgotten_page_token_starts_the_list_anew_without_copies(tmp_path: Path, youtube: YouTubeServer) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    with pytest.raises(Interrupted):
        acquire(ws, data, CONNECTOR, config(youtube, daily_units=2))
    (path,) = [path for path in files_below(data) if path.parent.name == "listings"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "next": "gone"}))
    acquire(ws, data, CONNECTOR, config(youtube))
    assert [row["id"] for row in rows(data)] == ["open-1", "open-2", "open-3"]


def test_search_asks_for_open_videos(tmp_path: Path, youtube: YouTubeServer) -> None:
    data = tmp_path / "data"
    wanted = config(
        youtube, playlists=(), search=("Harbour",), search_parameters={"regionCode": "DE"}, videos=("open-2",)
    )
    acquire(approved(tmp_path), data, CONNECTOR, wanted)
    assert sorted(str(row["id"]) for row in rows(data)) == ["open-1", "open-2", "open-3"]
    searches = [asked for asked in youtube.asked if asked.path.endswith("/search")]
    assert all((one.one("videoLicense"), one.one("regionCode")) == ("creativeCommon", "DE") for one in searches)


def test_faults_of_the_network_are_tried_again(tmp_path: Path, youtube: YouTubeServer) -> None:
    youtube.fail("/playlistItems", Answer(500), cut_short)
    youtube.fail(r"/captions\?", Answer(429, b"", {"Retry-After": "0"}))
    fast = {"error": {"code": 403, "message": "slow", "errors": [{"reason": "userRateLimitExceeded"}]}}
    youtube.fail("/videos", as_json(fast, 403))
    youtube.fail("/captions/", Answer(200, b"<html>not captions</html>"))
    result = acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube, captions=True))
    assert result["failed"] == {"wrong-content": 1}
    assert acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube, captions=True))["kept"] == 1


def test_a_key_that_is_refused_is_named_with_what_to_do(
    tmp_path: Path, youtube: YouTubeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOUTUBE_API_KEY", "AIza-wrong")
    with pytest.raises(UsageError, match="refuses the key") as failed:
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube))
    assert "AIza-wrong" not in str(failed.value)
    monkeypatch.delenv("YOUTUBE_API_KEY")
    with pytest.raises(UsageError, match="YOUTUBE_API_KEY, which is not set"):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube))


def test_an_expired_caption_token_is_named_and_a_foreign_track_refused(
    tmp_path: Path, youtube: YouTubeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    youtube.valid_oauth = "another"
    with pytest.raises(UsageError, match="access tokens last an hour"):
        acquire(ws, data, CONNECTOR, config(youtube, captions=True))
    youtube.valid_oauth = OAUTH
    youtube.videos.append(Video("foreign", "Harbour abroad", "creativeCommon"))
    result = acquire(ws, data, CONNECTOR, config(youtube, captions=True, refresh=True, videos=("foreign",)))
    assert result["refused"] == {"no-licence": 1}
    assert "only to somebody who may edit the video" in str(turned_down(data)["foreign.en.vtt"].detail)
    monkeypatch.delenv("YOUTUBE_OAUTH_TOKEN")
    with pytest.raises(UsageError, match="captions: false"):
        acquire(ws, data, CONNECTOR, config(youtube, captions=True))


def test_credentials_are_in_no_address_and_no_file(tmp_path: Path, youtube: YouTubeServer) -> None:
    acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube, captions=True))
    assert not any("key" in asked.query for asked in youtube.asked)
    secrets = (KEY.encode(), OAUTH.encode())
    assert not [path for path in files_below(tmp_path) if any(one in path.read_bytes() for one in secrets)]


def test_an_unknown_playlist_is_named(tmp_path: Path, youtube: YouTubeServer) -> None:
    with pytest.raises(InputError, match="no such list"):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, config(youtube, playlists=("PLnone",)))


@pytest.mark.parametrize(
    ("now", "day", "reset"),
    [
        ("2024-01-15T07:59:59+00:00", "2024-01-14", "2024-01-15T08:00:00+00:00"),
        ("2024-01-15T08:00:00+00:00", "2024-01-15", "2024-01-16T08:00:00+00:00"),
        ("2024-07-15T06:59:59+00:00", "2024-07-14", "2024-07-15T07:00:00+00:00"),
        # The clocks change on 10 March 2024 at two in the morning.
        ("2024-03-10T12:00:00+00:00", "2024-03-10", "2024-03-11T07:00:00+00:00"),
    ],
)
def test_the_quotas_day_is_pacific(now: str, day: str, reset: str) -> None:
    moment = datetime.fromisoformat(now)
    assert (quota_day(moment), next_reset(moment).isoformat()) == (day, reset)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)))
def test_a_reset_is_always_ahead_and_begins_the_next_day(naive: datetime) -> None:
    now = naive.replace(tzinfo=UTC)
    reset = next_reset(now)
    assert timedelta(0) < reset - now <= timedelta(hours=25)
    assert quota_day(reset) > quota_day(now) == quota_day(reset - timedelta(microseconds=1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1M5S", 65.0),
        ("PT2H", 7200.0),
        ("P1DT1S", 86401.0),
        ("PT0S", 0.0),
        ("P0D", 0.0),
        ("", None),
        ("P", None),
        ("1:05", None),
    ],
)
def test_durations_are_iso_8601(text: str, seconds: float | None) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"videos": ["a/b"]},
        {"videos": ["a"], "media": "file:///x/{id}"},
        {"videos": ["a"], "media": "https://x/y.mp4"},
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        YouTubeConfig.model_validate(values)
