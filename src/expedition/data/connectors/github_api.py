"""GitHub's REST API: pages by Link header, rate limits waited for, answers kept by ETag, renamed repositories followed.

As documented for API version 2022-11-28: primary limit (`X-RateLimit-Remaining: 0`, reset time in epoch seconds),
secondary limits (403 or 429, with Retry-After or at least a minute), conditional requests that cost nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from expedition.data.connectors.client import Client, Reply
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.service_api import json_of, said
from expedition.errors import Interrupted, UsageError
from expedition.workspace.atomic import write_atomic

TOKEN_VARIABLE = "GITHUB_TOKEN"
_VERSION = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
_NEXT = re.compile(r'<([^<>]{1,4000})>\s*;[^,<>]{0,200}rel="?next"?')
_SECONDARY_S = 60.0
_TRIES = 6


@dataclass(frozen=True, slots=True)
class GitHubApi:
    """Requests to one API address. Safe for many threads; the token is in a header only."""

    client: Client
    address: str
    token: str | None
    pages_dir: Path
    """Answers by address, with their ETags, across runs."""
    max_wait_s: float
    """Longest wait for a limit's end; a longer one ends the run, resumable."""

    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {**_VERSION, **({"authorization": f"Bearer {self.token}"} if self.token else {})}

    def one(self, path: str) -> dict[str, Any] | None:
        """The object at `path`; None where there is none (404, 451) or nothing to it (409, 422). Raises as `_answer`."""
        value = self._kept(f"{self.address}/{path.lstrip('/')}", missing_ok=True)[0]
        if value is not None and not isinstance(value, dict):
            raise FetchFailed(FetchReason.WRONG_CONTENT, "a list instead of an object", f"{self.address}/{path}")
        return value

    def pages(self, path: str, **query: str | int) -> Iterator[list[dict[str, Any]]]:
        """Every page of a list, by the Link header's `next`. Raises FetchFailed, Interrupted, UsageError."""
        url: str | None = f"{self.address}/{path.lstrip('/')}?{urlencode(query)}"
        met: set[str] = set()
        while url is not None:
            if url in met:
                raise FetchFailed(FetchReason.WRONG_CONTENT, "the Link header leads in a circle", url)
            met.add(url)
            value, link = self._kept(url)
            items = value.get("items") if isinstance(value, dict) else value
            if not isinstance(items, list):
                raise FetchFailed(FetchReason.WRONG_CONTENT, "no list of results", url)
            yield [item for item in items if isinstance(item, dict)]
            url = self._next(url, link)

    def limit_waited_for(self, url: str) -> bool:
        """Whether the primary limit was what refused `url`; it is over now. Raises Interrupted where it lasts too long."""
        limits = json_of(self._answer(f"{self.address}/rate_limit", {}).require_ok())
        core = limits.get("resources", {}).get("core", {}) if isinstance(limits, dict) else {}
        if core.get("remaining") != 0:
            return False
        wait_s = max(0.0, float(core.get("reset", 0)) - time.time()) + 1.0
        if wait_s > self.max_wait_s:
            raise self._out_of_time(f"the limit ends at {_moment(wait_s)}", url)
        self.client.pause(wait_s, url)
        return True

    def _next(self, url: str, link: str) -> str | None:
        found = _NEXT.search(link)
        if found is None:
            return None
        following: str = urljoin(url, str(found.group(1)))
        if not following.startswith(f"{self.address}/"):
            raise FetchFailed(FetchReason.WRONG_CONTENT, f"the next page is elsewhere: {following[:200]}", url)
        return following

    def _kept(self, url: str, *, missing_ok: bool = False) -> tuple[Any, str]:
        """(value, Link header) at `url`: what is kept where the server says that it has not changed."""
        path = self.pages_dir / f"{hashlib.sha256(url.encode()).hexdigest()[:24]}.json"
        kept = _read(path)
        reply = self._answer(url, {"if-none-match": kept["etag"]} if kept else {})
        if reply.status == 304 and kept:
            return kept["value"], kept["link"]
        if missing_ok and reply.status in (404, 409, 422, 451):
            return None, ""
        if not reply.ok:
            raise FetchFailed(FetchReason.HTTP_STATUS, said(reply), url, status=reply.status)
        value, link, etag = json_of(reply), reply.headers.get("link", ""), reply.headers.get("etag")
        if etag:
            write_atomic(path, json.dumps({"etag": etag, "link": link, "value": value}).encode())
        return value, link

    def _answer(self, url: str, extra: dict[str, str]) -> Reply:
        """An answer that is no limit's refusal: limits are waited for.

        Raises UsageError (exit 2) for a token that is not valid, Interrupted (exit 4) for a limit that lasts too long.
        """
        for attempt in range(_TRIES):
            try:
                reply = self.client.get(url, headers={**self.headers(), **extra})
            except FetchFailed as failure:
                if failure.reason is FetchReason.THROTTLED:
                    raise self._out_of_time(failure.detail, url) from failure
                raise
            if reply.status == 401:
                raise bad_token(said(reply), self.token)
            wait_s = limit_wait_s(reply, time.time(), attempt)
            if wait_s is None:
                return reply
            if wait_s > self.max_wait_s:
                raise self._out_of_time(f"{said(reply)}; the limit ends at {_moment(wait_s)}", url)
            self.client.pause(wait_s, url)
        raise self._out_of_time(f"still limited after {_TRIES} waits", url)

    def _out_of_time(self, why: str, url: str) -> Interrupted:
        hint = "" if self.token else f"; a token in ${TOKEN_VARIABLE} raises the limit from 60 to 5000 requests an hour"
        fix = f"run the same command again then: it goes on where it was{hint}"
        return Interrupted(f"GitHub limits requests: {why}", where=url.split("?")[0], fix=fix)


def limit_wait_s(reply: Reply, now_s: float, attempt: int) -> float | None:
    """Seconds to wait where an answer is a limit's refusal; None where it is none. Pure.

    Retry-After counts first, then the reset of a used-up primary limit, else a minute that doubles (GitHub's own rule).
    """
    if reply.status not in (403, 429):
        return None
    asked = reply.headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked[:9])
    reset = reply.headers.get("x-ratelimit-reset", "").strip()
    if reply.headers.get("x-ratelimit-remaining", "").strip() == "0" and reset.isdigit():
        return max(0.0, float(reset[:12]) - now_s) + 1.0
    if reply.status == 429 or re.search(rb"rate limit|abuse detection", reply.body[:4096], re.I):
        return _SECONDARY_S * 2.0**attempt
    return None


def bad_token(why: str, token: str | None) -> UsageError:
    """The error for a token that GitHub does not take (any more)."""
    held = f"the token in ${TOKEN_VARIABLE}" if token else "a request without a token"
    fix = f"make a new token (read access to public repositories is enough), export {TOKEN_VARIABLE}=…, and run again"
    return UsageError(f"GitHub refuses {held} ({why}): it is wrong, expired or revoked", fix=fix)


def _moment(wait_s: float) -> str:
    return datetime.fromtimestamp(time.time() + wait_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"etag", "link", "value"} <= value.keys() else None
