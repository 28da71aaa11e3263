"""A sample as the outside world: which service offers which of its sources, and under which settings it is fetched.

Common Crawl, GitHub and YouTube offer the sources of their kind by HTTP; the others are folders to copy from.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from expedition.errors import UsageError
from expedition.sampleworld.catalogue import SOURCES, SourceCard
from expedition.sampleworld.services.common_crawl import CommonCrawl, listing
from expedition.sampleworld.services.github import TOKEN, GitHub, Repository
from expedition.sampleworld.services.protocol import ProtocolServer, serving
from expedition.sampleworld.services.youtube import COSTS, KEY, OAUTH, Video, YouTube

OWNER = "littleworld"
"""Owner of all repositories, and channel of all videos."""
PLAYLIST = "PLlittleworld"
CREDENTIALS = {"GITHUB_TOKEN": TOKEN, "YOUTUBE_API_KEY": KEY, "YOUTUBE_OAUTH_TOKEN": OAUTH}
"""What the local services ask for, by the variable that it is given in; worth nothing anywhere else."""
_CRAWLS = {"common_crawl": "SAMPLE-2026-05", "common_crawl_2": "SAMPLE-2026-10"}
_REPOSITORIES = "github_code"
_VIDEOS = "video_text"
_POLICY: Mapping[str, Any] = {"private_networks": ["127.0.0.0/8", "::1/128"], "requests_per_s": 10_000, "burst": 10_000}
"""These services are on this machine and may be asked as fast as they answer."""


@dataclass(frozen=True, slots=True)
class Offering:
    """A sample that is being offered: addresses of its services and settings of its sources, by source."""

    sample: Path
    addresses: Mapping[str, str]

    def settings(self, card: SourceCard) -> dict[str, Any]:
        """What `from:` of sources.yaml says for a source: connector, its settings, policy."""
        url = self.addresses.get(card.name)
        if card.name in _CRAWLS:
            crawl = {"crawls": [_CRAWLS[card.name]], "what": "warc", "base": url, "index": url}
            return {"connector": "common-crawl", **crawl, "policy": dict(_POLICY)}
        if card.name == _REPOSITORIES:
            return {"connector": "github", "organisations": [OWNER], "api": url, "policy": dict(_POLICY)}
        if card.name == _VIDEOS:
            captions = {"captions": True, "caption_format": "srt", "daily_units": _units(self.sample)}
            told = {"playlists": [PLAYLIST], **captions, "media": f"{url}/media/{{id}}.mp4", "api": url}
            return {"connector": "youtube", **told, "policy": dict(_POLICY)}
        return {"connector": "folder", "path": str(self.sample / card.name)}

    def report(self) -> dict[str, Any]:
        """What a person or a program needs to fetch from it."""
        return {
            "sample": str(self.sample),
            "services": dict(self.addresses),
            "env": CREDENTIALS,
            "from": {card.name: self.settings(card) for card in SOURCES},
        }


@contextmanager
def offer_sample(sample: Path, ports: Mapping[str, int] | None = None) -> Iterator[Offering]:
    """Serve a sample on 127.0.0.1 in threads of this process, until the block is left.

    `ports` by source; a free one where none is given. Raises UsageError for a folder that is no sample, or a port that
    is taken.
    """
    sample = Path(sample).absolute()
    if not (sample / "sample.json").is_file():
        raise UsageError("this is no sample", where=str(sample), fix=f"expedition sample {sample}")
    with ExitStack() as stack:
        addresses = {}
        for source, make in _MADE_BY.items():
            port = (ports or {}).get(source, 0)
            try:
                addresses[source] = stack.enter_context(serving(make(sample), port)).url
            except OSError as error:
                raise UsageError(
                    f"port {port} cannot be had: {error.strerror}", fix="give a free port, or 0"
                ) from error
        yield Offering(sample, addresses)


def repositories(sample: Path) -> list[Repository]:
    """The sample's repositories, by name; their API field for the licence is what the sample says."""
    folder = sample / _REPOSITORIES
    told = {row["repo"]: row["license"] for row in _rows(folder / "licenses.jsonl")}
    return [
        Repository(
            f"{OWNER}/{name}",
            {
                path.relative_to(folder / name).as_posix(): path.read_bytes()
                for path in sorted((folder / name).rglob("*"))
                if path.is_file()
            },
            licence,
            site="https://github.example",
        )
        for name, licence in sorted(told.items())
    ]


def _crawl(source: str, sample: Path) -> CommonCrawl:
    crawl, names = _CRAWLS[source], sorted(path.name for path in (sample / source).glob("*.warc.gz"))
    # Whole files land under their name below "crawl-data/": in the source's folder itself, as the sample has them.
    files: dict[str, bytes | Path] = {f"crawl-data/{name}": sample / source / name for name in names}
    return CommonCrawl(crawl, {**files, f"crawl-data/{crawl}/warc.paths.gz": listing(list(files))})


def _github(sample: Path) -> GitHub:
    found = repositories(sample)
    return GitHub(found, requests=max(5_000, 10 * len(found)))


def _youtube(sample: Path) -> YouTube:
    folder = sample / _VIDEOS
    videos = [
        Video(
            id=Path(row["video"]).stem,
            title=f"Clip {Path(row['video']).stem.removeprefix('clip_')}",
            licence="creativeCommon",
            captions={"en": (folder / row["subtitles"]).read_text("utf-8")},
            media=folder / row["video"],
            duration=f"PT{row['duration_s']:g}S",
        )
        for row in _rows(folder / "videos.jsonl")
    ]
    return YouTube(videos, playlist=PLAYLIST, channel=OWNER, quota=_units(sample))


_MADE_BY: dict[str, Callable[[Path], ProtocolServer]] = {
    **{source: partial(_crawl, source) for source in _CRAWLS},
    _REPOSITORIES: _github,
    _VIDEOS: _youtube,
}
"""Source → what makes its service from a sample."""
SERVED = tuple(_MADE_BY)
"""Sources that are offered by a web service."""


def _units(sample: Path) -> int:
    """Quota that fetching everything takes, twice, as an operator would have asked for."""
    videos = sum(1 for _ in _rows(sample / _VIDEOS / "videos.jsonl"))
    return max(10_000, 2 * videos * (COSTS["captions"] + COSTS["download"]) + 1_000)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def ports_of(texts: Iterable[str]) -> dict[str, int]:
    """`SOURCE=PORT` texts as ports by source. Raises UsageError."""
    ports = {}
    for text in texts:
        source, _, port = text.partition("=")
        if source not in SERVED or not port.isdigit() or int(port) > 65_535:
            raise UsageError(f"--port {text!r}", fix=f"SOURCE=PORT; sources: {', '.join(SERVED)}")
        ports[source] = int(port)
    return ports


def acquire_lines(offering: Offering, data: Path | None) -> list[str]:
    """What a person types to fetch from it: credentials, then a command a source."""
    lines = [*(f"{source:<16}{url}" for source, url in offering.addresses.items()), ""]
    lines += [f"export {name}={value}" for name, value in CREDENTIALS.items()]
    for source in offering.addresses:
        settings = offering.settings(next(card for card in SOURCES if card.name == source))
        if data is not None:
            lines.append(f"expedition data acquire {data} --source {source}")
            continue
        connector, policy = settings.pop("connector"), settings.pop("policy")
        told = [*settings.items(), *((f"policy.{name}", value) for name, value in policy.items())]
        texts = " ".join(f"--set {shlex.quote(f'{name}={json.dumps(value)}')}" for name, value in told)
        lines.append(f"expedition data acquire DATA --source {source} --from {connector} {texts}")
    return lines
