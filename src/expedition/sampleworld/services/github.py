"""GitHub's REST API as documented: lists with Link pages, rate limits, ETags, renamed repositories, tarballs by redirect."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expedition.sampleworld.services.protocol import Answer, Asked, ProtocolServer, as_json, ranged

TOKEN = "ghp_" + "t0ken" * 8
"""The token that the local service knows; it opens nothing else."""
REQUESTS = 5000
"""Requests an hour with a token, as GitHub gives them."""


@dataclass
class Repository:
    """A repository: its files (texts, or bytes) by path, and what the API says about it."""

    full_name: str
    files: Mapping[str, str | bytes]
    api_licence: str | None = None
    fork: bool = False
    archived: bool = False
    former_names: tuple[str, ...] = ()
    extra_members: list[tarfile.TarInfo] = field(default_factory=list)
    private: bool = False
    site: str = "https://github.com"
    """Address of its page."""

    @property
    def sha(self) -> str:
        """The commit of the default branch: follows from its content."""
        told = repr((self.full_name, sorted(self.files.items()))).encode()
        return hashlib.sha1(told, usedforsecurity=False).hexdigest()

    @property
    def number(self) -> int:
        """The id that a rename keeps."""
        return int(hashlib.sha1(self.full_name.encode(), usedforsecurity=False).hexdigest()[:6], 16)

    @property
    def top(self) -> str:
        """The one folder of its archive."""
        return f"{self.full_name.replace('/', '-')}-{self.sha[:7]}"

    def tarball(self) -> bytes:
        """The archive as codeload sends it: one folder, names as `owner-name-sha7/…`."""
        top, buffer = self.top, io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path, content in sorted(self.files.items()):
                data = content.encode() if isinstance(content, str) else content
                info = tarfile.TarInfo(f"{top}/{path}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            for info in self.extra_members:
                archive.addfile(info)
        return gzip.compress(buffer.getvalue(), mtime=0)

    def described(self, base: str) -> dict[str, Any]:
        """The repository object of the API."""
        return {
            "id": self.number,
            "name": self.full_name.split("/")[1],
            "full_name": self.full_name,
            "html_url": f"{self.site}/{self.full_name}",
            "url": f"{base}/repos/{self.full_name}",
            "default_branch": "main",
            "fork": self.fork,
            "archived": self.archived,
            "disabled": False,
            "private": self.private,
            "size": 12,
            "pushed_at": "2024-02-20T10:00:00Z",
            "stargazers_count": 7,
            "license": None if self.api_licence is None else {"key": "x", "spdx_id": self.api_licence},
        }


class GitHub(ProtocolServer):
    """api.github.com under 127.0.0.1 and codeload.github.com under localhost, so that they are two hosts."""

    def __init__(
        self, repositories: list[Repository], *, page_limit: int = 100, requests: int = REQUESTS, token: str = TOKEN
    ) -> None:
        super().__init__()
        self.repositories = repositories
        self.left = requests
        self.reset_at = int(time.time()) + 3600
        self.valid_token = token
        self.page_limit = page_limit

    @property
    def codeload(self) -> str:
        """Base address of the archives."""
        return self.url.replace("127.0.0.1", "localhost")

    def answer(self, asked: Asked) -> Answer:
        """One of the API's replies."""
        if asked.path.startswith("/codeload/"):
            return self._tarball(asked)
        given = asked.headers.get("authorization")
        if given is not None and given != f"Bearer {self.valid_token}":
            return as_json({"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest"}, 401)
        if asked.path == "/rate_limit":
            return as_json({"resources": {"core": {"limit": REQUESTS, "remaining": self.left, "reset": self.reset_at}}})
        with self.lock:
            if self.left <= 0:
                return as_json({"message": "API rate limit exceeded for user ID 1."}, 403, self._limits())
            self.left -= 1
        reply = self._routed(asked)
        body = reply.body if isinstance(reply.body, bytes) else b""
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        if reply.status == 200 and asked.headers.get("if-none-match") == etag:
            with self.lock:
                self.left += 1
            return Answer(304, b"", {"ETag": etag, **self._limits()})
        return Answer(reply.status, reply.body, {**reply.headers, "ETag": etag, **self._limits()})

    def _limits(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(REQUESTS),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(self.reset_at),
        }

    def _routed(self, asked: Asked) -> Answer:
        if found := re.fullmatch(r"/(orgs|users)/([^/]+)/repos", asked.path):
            owned = [one for one in self.repositories if one.full_name.split("/")[0] == found.group(2)]
            return self._page(asked, owned) if owned else as_json({"message": "Not Found"}, 404)
        if asked.path == "/search/repositories":
            words = asked.one("q").split()
            hits = [one for one in self.repositories if all(word in one.full_name for word in words if ":" not in word)]
            return self._page(asked, hits, search=True)
        if found := re.fullmatch(r"/repositories/(\d+)", asked.path):
            return self._one(next((one for one in self.repositories if one.number == int(found.group(1))), None))
        if found := re.fullmatch(r"/repos/([^/]+/[^/]+)(?:/(commits|tarball)/([^/]+))?", asked.path):
            return self._repository(found.group(1), found.group(2), found.group(3))
        return as_json({"message": "Not Found"}, 404)

    def _one(self, repository: Repository | None) -> Answer:
        return as_json({"message": "Not Found"}, 404) if repository is None else as_json(repository.described(self.url))

    def _repository(self, name: str, what: str | None, ref: str | None) -> Answer:
        moved = next((one for one in self.repositories if name in one.former_names), None)
        if moved is not None:
            location = f"{self.url}/repositories/{moved.number}"
            return as_json({"message": "Moved Permanently", "url": location}, 301, {"Location": location})
        repository = next((one for one in self.repositories if one.full_name == name), None)
        if repository is None or what is None:
            return self._one(repository)
        if ref not in ("main", "HEAD", repository.sha):
            return as_json({"message": f"No commit found for SHA: {ref}"}, 422)
        if what == "commits":
            return as_json({"sha": repository.sha, "commit": {"committer": {"date": "2024-02-20T10:00:00Z"}}})
        return Answer(
            302, b"", {"Location": f"{self.codeload}/codeload/{name}/legacy.tar.gz/{repository.sha}?token=SHORTLIVED"}
        )

    def _tarball(self, asked: Asked) -> Answer:
        found = re.fullmatch(r"/codeload/([^/]+/[^/]+)/legacy.tar.gz/(\w+)", asked.path)
        named = [one for one in self.repositories if found is not None and one.full_name == found.group(1)]
        repository = next((one for one in named if found is not None and one.sha == found.group(2)), None)
        if repository is None:
            return Answer(404)
        headers = {"ETag": f'"{repository.sha}"', "Content-Type": "application/x-gzip"}
        return ranged(asked, repository.tarball(), headers)

    def _page(self, asked: Asked, rows: list[Repository], *, search: bool = False) -> Answer:
        size = min(int(asked.one("per_page", "30")), self.page_limit)
        number = int(asked.one("page", "1"))
        last = max(1, -(-len(rows) // size))
        described = [one.described(self.url) for one in rows[(number - 1) * size : number * size]]
        headers = {}
        if number < last:
            query = "&".join(
                f"{key}={value[0].replace(' ', '+')}" for key, value in asked.query.items() if key != "page"
            )
            address = f"{self.url}{asked.path}?{query}&page="
            headers["Link"] = f'<{address}{number + 1}>; rel="next", <{address}{last}>; rel="last"'
        if search:
            return as_json({"total_count": len(rows), "incomplete_results": False, "items": described}, headers=headers)
        return as_json(described, headers=headers)
