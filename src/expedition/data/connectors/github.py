"""GitHub: repositories as archives pinned to a commit, each with the licence that its texts are found to be.

The licence is matched against the SPDX texts (data.stages.code); what the API's field says stands beside it. A
repository whose licence is of no wanted class is refused, and nothing of it is kept.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.connector import Context, RemoteItem
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.github_api import TOKEN_VARIABLE, GitHubApi, bad_token
from expedition.data.connectors.service_api import api_client, secret
from expedition.data.decode.archives import Member, open_stream, tar_members, zip_members
from expedition.data.decode.charset import readable_text
from expedition.data.decode.piece import Fault, Refused
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import Format
from expedition.data.stages.code import LicenceMatch, class_of, is_licence_evidence, repository_match
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, write_atomic

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LICENCE_BYTES = 1 << 20
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")

LicenceKind = Literal["permissive", "copyleft", "restricted", "unknown"]


class GitHubConfig(BaseModel):
    """Which repositories are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    organisations: tuple[str, ...] = ()
    """All repositories of these organisations."""
    users: tuple[str, ...] = ()
    """All repositories of these users."""
    repositories: tuple[str, ...] = ()
    """`owner/name`, or `owner/name@ref` for a branch, tag or commit."""
    search: tuple[str, ...] = ()
    """Queries of the repository search, such as "language:rust stars:>500"; GitHub gives 1000 results a query at most."""
    mirror: str | None = None
    """A folder of archives (.tar.gz, .tgz, .tar, .zip) instead of the API."""
    api: str = "https://api.github.com"
    """API address; a GitHub Enterprise server's ends in /api/v3."""
    anonymous: bool = False
    """Ask without a token: 60 requests an hour."""
    include: tuple[str, ...] = ()
    """Patterns (`*`, `?`) of owner/name, one of which must fit."""
    exclude: tuple[str, ...] = ()
    """Patterns of owner/name, none of which may fit."""
    forks: bool = False
    """Take forks too."""
    archived: bool = True
    """Take archived repositories too."""
    private: bool = False
    """Take private repositories that the token can see."""
    licence_classes: tuple[LicenceKind, ...] = ("permissive", "copyleft")
    """Classes of the licence found by text that are kept."""
    max_archive_bytes: int = Field(1 << 30, ge=1)
    """Larger archives are refused."""
    max_repositories: int | None = Field(None, ge=1)
    """Stop after so many repositories."""
    max_wait_s: float = Field(3700.0, ge=0)
    """Longest wait for a rate limit to end; a longer one ends the run, and the same command goes on."""
    refresh: bool = False
    """Pin repositories anew to what their branch is now; else a repository keeps the commit of the first run."""

    @field_validator("repositories")
    @classmethod
    def _full_names(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            parts = value.partition("@")[0].split("/")
            if len(parts) != 2 or not all(_NAME.fullmatch(part) and part not in (".", "..") for part in parts):
                raise ValueError(f"{value!r} is no owner/name or owner/name@ref")
        return values

    @field_validator("organisations", "users")
    @classmethod
    def _owners(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not _NAME.fullmatch(value):
                raise ValueError(f"{value!r} is no name of an organisation or user")
        return values

    @model_validator(mode="after")
    def _names_something(self) -> GitHubConfig:
        if not (self.organisations or self.users or self.repositories or self.search or self.mirror):
            raise ValueError("nothing is named: give organisations, users, repositories, search or mirror")
        return self


@dataclass(frozen=True, slots=True)
class _Listed:
    """A repository of a listing, and the ref that was asked for."""

    described: dict[str, Any]
    ref: str | None = None

    @property
    def full_name(self) -> str:
        return str(self.described.get("full_name", ""))


class GitHub:
    """The connector `github`."""

    name = "github"
    config = GitHubConfig

    def items(self, context: Context, config: GitHubConfig) -> Iterator[RemoteItem]:
        """One archive a repository, each repository once, in the order of the configuration and of GitHub's lists."""
        if config.mirror is not None:
            yield from _mirrored(context.base / config.mirror)
            return
        api = _api(context, config)
        met: set[str] = set()
        for listed in _listed(api, config):
            if listed.full_name in met or not _wanted(listed, config):
                continue
            met.add(listed.full_name)
            item = _item(api, context.state_dir / "pins", config, listed)
            if item is not None:
                yield item
            if len(met) == config.max_repositories:
                return

    def fetch(self, context: Context, config: GitHubConfig, item: RemoteItem, target: Path) -> Downloaded:
        """The archive, its licence found by text. Raises FetchFailed (NO_LICENCE) where that is of no wanted class."""
        arrived = target.with_name(f"{ASIDE_PREFIX}{target.name}")
        if config.mirror is not None:
            done = _copied(context.base / config.mirror / item.key, arrived, item.url)
        else:
            done = _downloaded(_api(context, config), config, item, arrived)
        try:
            match = archive_licence(arrived)
            licence = None if match is None else match.spdx
            if match is not None:
                item.meta.update(
                    licence_score=round(match.score, 4), licence_evidence=match.evidence, licence_nearest=match.nearest
                )
            found = "unknown" if licence is None else class_of(licence)
            item.meta["licence_class"] = found
            if found not in config.licence_classes:
                why = (
                    "has no licence file and names no licence elsewhere"
                    if match is None
                    else f"licence {licence} is {found}"
                )
                if match is not None and match.nearest:
                    why += f" (nearest: {match.nearest}, {match.score:.0%} of its words matched)"
                raise FetchFailed(FetchReason.NO_LICENCE, why, item.url)
            commit_file(arrived, target)
        except FetchFailed:
            arrived.unlink(missing_ok=True)
            raise
        return replace(done, licence=licence)


def archive_licence(path: Path) -> LicenceMatch | None:
    """What the files at the top of a repository's archive say of its licence; None where they say nothing.

    Names are judged as data.decode does: nothing is unpacked to disk, links are not followed. Raises FetchFailed
    (WRONG_CONTENT, TRUNCATED) for what is no whole archive.
    """
    texts: dict[str, str] = {}
    try:
        for member in _members(path):
            if isinstance(member, Fault):
                if str(member.reason) in ("truncated", "corrupt"):
                    cut = FetchReason.TRUNCATED if str(member.reason) == "truncated" else FetchReason.WRONG_CONTENT
                    raise FetchFailed(cut, f"no whole archive: {member.detail}", str(path.name))
                continue
            inside = _below_top(member.name)
            if is_licence_evidence(inside) and inside.count("/") <= 1 and len(member.data) <= _LICENCE_BYTES:
                if "/" in inside and not inside.startswith("LICENSES/"):
                    continue
                try:
                    texts[inside] = readable_text(member.data)[0]
                except Refused:
                    continue
    except Refused as refused:
        raise FetchFailed(FetchReason.WRONG_CONTENT, str(refused), str(path.name)) from None
    return repository_match(texts)


def _members(path: Path) -> Iterator[Member | Fault]:
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(0)
        if head[:2] == b"\x1f\x8b":
            yield from tar_members(open_stream(stream, Format.GZIP), Limits())
        elif head[:2] == b"PK":
            yield from zip_members(path, Limits())
        else:
            yield from tar_members(stream, Limits())


def _below_top(name: str) -> str:
    """A member's path below the one folder that GitHub's archives have."""
    return name.removeprefix("./").partition("/")[2]


def _api(context: Context, config: GitHubConfig) -> GitHubApi:
    token = None
    if not config.anonymous:
        fix = f"export {TOKEN_VARIABLE}=… (a token with read access to public repositories), or set anonymous: true"
        token = secret(TOKEN_VARIABLE, "the github connector", fix)
    address = config.api.rstrip("/")
    return GitHubApi(api_client(context.client), address, token, context.state_dir / "pages", config.max_wait_s)


def _listed(api: GitHubApi, config: GitHubConfig) -> Iterator[_Listed]:
    for full_name in config.repositories:
        name, _, ref = full_name.partition("@")
        described = api.one(f"repos/{name}")
        if described is None:
            raise InputError(f"GitHub has no repository {name}, or the token cannot see it", where="repositories")
        yield _Listed(described, ref or None)
    for kind, owners in (("orgs", config.organisations), ("users", config.users)):
        for owner in owners:
            for page in api.pages(f"{kind}/{owner}/repos", per_page=100, sort="full_name"):
                yield from map(_Listed, page)
    for query in config.search:
        for page in api.pages("search/repositories", q=query, per_page=100, sort="stars", order="desc"):
            yield from map(_Listed, page)


def _wanted(listed: _Listed, config: GitHubConfig) -> bool:
    told, name = listed.described, listed.full_name
    parts = name.split("/")
    if len(parts) != 2 or not all(_NAME.fullmatch(part) and part not in (".", "..") for part in parts):
        return False
    if (told.get("fork") and not config.forks) or (told.get("private") and not config.private):
        return False
    if told.get("disabled") or (told.get("archived") and not config.archived):
        return False
    if config.include and not any(fnmatch.fnmatchcase(name, pattern) for pattern in config.include):
        return False
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in config.exclude)


def _item(api: GitHubApi, pins: Path, config: GitHubConfig, listed: _Listed) -> RemoteItem | None:
    """A repository at its commit; None where it is empty."""
    told, name = listed.described, listed.full_name
    owner, short = name.split("/")
    pin = pins / f"{owner}--{short}.json"
    pinned = None if config.refresh or listed.ref else _pinned(pin)
    if pinned is None:
        ref = listed.ref or str(told.get("default_branch") or "HEAD")
        commit = api.one(f"repos/{name}/commits/{quote(ref, safe='')}")
        pinned = "" if commit is None else str(commit.get("sha", ""))
        if not re.fullmatch(r"[0-9a-f]{40,64}", pinned):
            if listed.ref:
                raise InputError(f"{name} has no branch, tag or commit {listed.ref!r}", where="repositories")
            return None
        if not listed.ref:
            write_atomic(pin, json.dumps({"repository": name, "commit": pinned}).encode())
    licence = told.get("license")
    meta = {
        "repository": name,
        "commit": pinned,
        "html_url": told.get("html_url"),
        "page_url": f"{told.get('html_url')}/tree/{pinned}" if told.get("html_url") else None,
        "pushed_at": told.get("pushed_at"),
        "fork": bool(told.get("fork")),
        "api_licence": licence.get("spdx_id") if isinstance(licence, dict) else None,
    }
    key = f"{owner}--{short}--{pinned[:12]}.tar.gz"
    return RemoteItem(key, f"{api.address}/repos/{name}/tarball/{pinned}", meta=meta)


def _pinned(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_bytes())["commit"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _downloaded(api: GitHubApi, config: GitHubConfig, item: RemoteItem, arrived: Path) -> Downloaded:
    while True:
        try:
            done = api.client.download(item.url, arrived, headers=api.headers(), max_bytes=config.max_archive_bytes)
        except FetchFailed as failure:
            if failure.status == 401:
                raise bad_token(f"status 401 for {item.key}", api.token) from failure
            # A used-up limit is waited for; any other 403 is about this repository.
            if failure.status == 403 and api.limit_waited_for(item.url):
                continue
            # The archive's own address may hold a short-lived token: it must not come into a record.
            detail = failure.detail.replace(failure.url, item.url)
            raise FetchFailed(failure.reason, detail, item.url, status=failure.status) from None
        return replace(done, final_url=done.final_url.partition("?")[0])


def _mirrored(folder: Path) -> Iterator[RemoteItem]:
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}", where="mirror", fix="give a folder of repositories' archives")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.lower().endswith(_ARCHIVES) and not path.is_symlink():
            key = path.relative_to(folder).as_posix()
            yield RemoteItem(key, path.as_uri(), expect_bytes=path.stat().st_size, meta={"repository": path.name})


def _copied(path: Path, arrived: Path, url: str) -> Downloaded:
    arrived.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, arrived)
    digest = hashlib.sha256()
    with arrived.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return Downloaded(url=url, final_url=url, bytes=arrived.stat().st_size, sha256=digest.hexdigest())


CONNECTOR = GitHub()
