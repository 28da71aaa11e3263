"""The one way to the outside: polite, bounded, resumable HTTP, with a name for everything that can go wrong.

A client may be used by many threads. It follows redirects itself, and judges each hop anew: scheme, address,
robots.txt, pace; headers with credentials never go to another origin.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import httpx

from expedition.data.connectors import opt_out
from expedition.data.connectors.body import bounded, inflated
from expedition.data.connectors.expectation import (
    ByteRange,
    Want,
    range_headers,
    require_body,
    require_length,
    validators_of,
)
from expedition.data.connectors.failure import TRANSIENT, FetchFailed, FetchReason
from expedition.data.connectors.host_cache import DAY_S, UNREACHABLE_S, HostCache
from expedition.data.connectors.network import Deadline, GuardedBackend, GuardedTransport, named_errors
from expedition.data.connectors.pace import Pace
from expedition.data.connectors.part import Part
from expedition.data.connectors.policy import RETRIED_STATUS, FetchPolicy, backoff_s, retry_after_s
from expedition.data.connectors.robots import MAX_ROBOTS_BYTES, HostRules, load_rules
from expedition.data.connectors.url import checked_url, host_of, origin_of

MAX_REPLY_BYTES = 16 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHARED_HEADERS = frozenset({"accept", "accept-encoding", "accept-language", "range", "if-range", "user-agent"})
"""Headers that may follow a redirect to another origin; any other may be a credential."""
_HOST_FILE_ATTEMPTS = 3
_STOP_S = 0.2
"""How soon a waiting thread notices that the client was stopped."""
_WRITE_BYTES = 1 << 20
_PAGE_TYPES = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Reply:
    """A small answer, whole and decoded. Any status: the caller judges it."""

    url: str
    """Where the answer came from, after redirects."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated ones joined by ", "."""
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as UTF-8, faulty bytes replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def require_ok(self) -> Reply:
        """This reply. Raises FetchFailed (HTTP_STATUS) unless it is 2xx."""
        if not self.ok:
            raise FetchFailed(FetchReason.HTTP_STATUS, f"status {self.status}", self.url, status=self.status)
        return self


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that has come in, verified and in its place."""

    url: str
    final_url: str
    bytes: int
    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    """Set where the server encoded the body although it was asked not to: the file holds the encoded bytes."""
    resumed_from: int = 0
    """Bytes that an earlier try or process had fetched already."""
    licence: str | None = None
    """What a connector found the content's licence to be, where the item could not say it before."""


@dataclass(slots=True)
class _Stop:
    """Whether a client was told to stop; shared with its varied twins. No lock: a signal handler may set it."""

    asked: bool = False


class Client:
    """HTTP within a policy. Thread-safe; close it, or use it with `with`."""

    def __init__(self, policy: FetchPolicy | None = None) -> None:
        self.policy = policy or FetchPolicy()
        self._deadline = Deadline()
        backend = GuardedBackend(
            self._deadline, allow_private=self.policy.allow_private, networks=self.policy.private_networks
        )
        self._transport = GuardedTransport(backend, self.policy.connections)
        self._pace = Pace(self.policy.burst)
        self._stop = _Stop()
        self._rng = random.Random()
        self._robots: HostCache[HostRules] = HostCache(
            lambda origin: load_rules(origin, self._host_file_answer),
            lambda rules: UNREACHABLE_S if rules.unreachable else DAY_S,
        )
        self._opt_outs: HostCache[opt_out.HostOptOuts] = HostCache(self._load_opt_outs)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def stop(self) -> None:
        """Every wait and body under way ends soon with FetchFailed (STOPPED); what has come in is kept."""
        self._stop.asked = True

    def varied(self, policy: FetchPolicy, *, stoppable: bool = True) -> Client:
        """The same client (connections, pace) under another policy. Not `stoppable`: its requests end by themselves."""
        twin = copy.copy(self)
        twin.policy = policy
        if not stoppable:
            twin._stop = _Stop()
        return twin

    def pause(self, seconds: float, url: str) -> None:
        """Wait, as a service has asked for `url`. Raises FetchFailed (STOPPED) when the client is stopped meanwhile."""
        self._sleep(seconds, url)

    def require_running(self, url: str) -> None:
        """For a connector's own loops. Raises FetchFailed (STOPPED) once the client was told to stop."""
        self._sleep(0.0, url)

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        """A small answer of any status, retried within the policy where the status or network says "not now".

        `max_bytes` bounds the decoded body. Raises FetchFailed for everything but an HTTP status.
        """
        asked = {"accept-encoding": "gzip, deflate", **_lower(headers)}
        for attempt in range(1, self.policy.attempts + 1):
            last = attempt == self.policy.attempts
            try:
                reply = self._get_once(url, asked, max_bytes)
            except FetchFailed as failure:
                if last or failure.reason not in TRANSIENT:
                    raise
                self._wait_before(attempt + 1, url, None)
                continue
            if last or reply.status not in RETRIED_STATUS:
                return reply
            self._wait_before(attempt + 1, reply.url, reply.headers.get("retry-after"), reply.status)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def download(
        self,
        url: str,
        target: Path,
        *,
        expect_bytes: int | None = None,
        expect_sha256: str | None = None,
        range: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> Downloaded:
        """Fetch `url` (or the bytes `range` of it, first and last included) into `target`, as sent by the server.

        Resumable: what an earlier try or a killed process has fetched is taken up, if the server's validators (or
        `expect_sha256`) prove that it belongs to the same content. `target` appears only when it is complete and
        verified. Raises FetchFailed: nothing is kept of an item that is refused or opted out; StorageError.
        """
        want = Want(url, target, expect_bytes, expect_sha256, range, max_bytes or self.policy.max_bytes)
        part = Part(target, self.policy.sync_bytes)
        resumed_from, failures = part.size, 0
        while True:
            before, validators = part.size, part.validators
            try:
                return self._download_once(want, part, _lower(headers), resumed_from)
            except FetchFailed as failure:
                progressed = part.validators is validators and part.size - before >= self.policy.sync_bytes
                failures = 1 if progressed else failures + 1
                stale = failure.reason in (FetchReason.WRONG_HASH, FetchReason.WRONG_LENGTH) and before > 0
                if failure.reason is FetchReason.STOPPED:
                    part.keep()
                    raise
                if failure.reason not in TRANSIENT and not stale:
                    part.discard()
                    raise
                if stale:
                    part.discard()
                else:
                    part.keep()
                if failures >= self.policy.attempts:
                    raise
                self._wait_before(failures + 1, url, failure.retry_after, failure.status)
            except BaseException:
                part.keep()
                raise

    def _get_once(self, url: str, headers: Mapping[str, str], max_bytes: int) -> Reply:
        with self._answer(url, headers) as (final, response):
            body = b"".join(self._decoded(final, response, max_bytes))
            merged: dict[str, str] = {}
            for name, value in response.headers.multi_items():
                merged[name] = f"{merged[name]}, {value}" if name in merged else value
            return Reply(final, response.status_code, merged, body)

    def _download_once(self, want: Want, part: Part, headers: Mapping[str, str], resumed_from: int) -> Downloaded:
        if self.policy.honour_opt_out:
            # Before the request, so that its connection does not wait for them.
            self._require_allowed(checked_url(want.url), robots=True)
            self._opt_outs.of(checked_url(want.url))
        asked = {**headers, "accept-encoding": "identity", **range_headers(want, part)}
        with self._answer(want.url, asked) as (final, response):
            require_body(final, response, want, part)
            content_type = response.headers.get("content-type")
            self._require_no_opt_out(final, response.headers.multi_items(), content_type)
            if response.status_code == 200 or part.size == 0:
                part.begin(validators_of(want.url, response.headers))
            require_length(final, response, want, part)
            self._copy(final, response, want, part)
        if self.policy.honour_opt_out and (content_type or "").split(";")[0].strip().lower() in _PAGE_TYPES:
            _refuse_if(opt_out.in_page(part.head(opt_out.HEAD_BYTES), self.policy.agent), final)
        want.verify(final, part)
        validators = part.validators
        assert validators is not None
        done = Downloaded(
            url=want.url,
            final_url=final,
            bytes=part.size,
            sha256=part.sha256,
            etag=validators.etag,
            last_modified=validators.last_modified,
            content_type=content_type,
            content_encoding=response.headers.get("content-encoding"),
            resumed_from=min(resumed_from, part.size),
        )
        part.commit()
        return done

    def _copy(self, url: str, response: httpx.Response, want: Want, part: Part) -> None:
        pending, piece_bytes = bytearray(), min(_WRITE_BYTES, self.policy.sync_bytes)
        try:
            for piece in self._pieces(url, response):
                want.require_room(url, part.size + len(pending) + len(piece))
                pending += piece
                if len(pending) >= piece_bytes:
                    part.write(bytes(pending))
                    pending.clear()
        finally:
            if pending:
                part.write(bytes(pending))

    @contextmanager
    def _answer(
        self, url: str, headers: Mapping[str, str], *, robots: bool = True
    ) -> Iterator[tuple[str, httpx.Response]]:
        """The answer after redirects, its body not read yet: (final URL, response)."""
        asked = {"user-agent": self.policy.user_agent, "accept": "*/*", **headers}
        current, seen = checked_url(url), {checked_url(url)}
        for hop in range(self.policy.max_redirects + 1):
            self._require_allowed(current, robots=robots)
            self._wait_turn(current)
            with self._deadline.within(self.policy.total_s), named_errors(current):
                response = self._send(current, asked)
                try:
                    following = self._following(current, response)
                    if following is None:
                        yield current, response
                        return
                finally:
                    response.close()
            if following in seen:
                raise FetchFailed(FetchReason.REDIRECT_LOOP, f"leads back to {following} after {hop + 1}", url)
            seen.add(following)
            if origin_of(following) != origin_of(current):
                asked = {name: value for name, value in asked.items() if name in _SHARED_HEADERS}
            current = following
        raise FetchFailed(FetchReason.TOO_MANY_REDIRECTS, f"more than {self.policy.max_redirects}", url)

    def _send(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        times = {
            "connect": self.policy.connect_s,
            "read": self.policy.read_s,
            "write": self.policy.read_s,
            "pool": self.policy.total_s,
        }
        try:
            request = httpx.Request("GET", url, headers=dict(headers), extensions={"timeout": times})
        except (httpx.InvalidURL, UnicodeError, ValueError, TypeError) as error:
            raise FetchFailed(FetchReason.BAD_URL, str(error), url) from error
        return self._transport.handle_request(request)

    def _following(self, url: str, response: httpx.Response) -> str | None:
        location = response.headers.get("location")
        if response.status_code not in _REDIRECTS or location is None:
            return None
        return checked_url(urljoin(url, location), came_from=url)

    def _require_allowed(self, url: str, *, robots: bool) -> None:
        if not robots or not self.policy.obey_robots:
            return
        rules = self._robots.of(url)
        if not rules.allowed(self.policy.agent, url):
            if rules.unreachable:
                why = f"status {rules.status}" if rules.status is not None else "no answer"
                raise FetchFailed(FetchReason.ROBOTS_UNREACHABLE, f"robots.txt: {why}", url, status=rules.status)
            raise FetchFailed(FetchReason.ROBOTS, "robots.txt disallows it", url)
        delay = rules.crawl_delay_s(self.policy.agent)
        if delay:
            rate = 1.0 / max(min(delay, self.policy.max_crawl_delay_s), 1e-3)
            self._pace.slow_down(host_of(url), rate, time.monotonic())

    def _require_no_opt_out(self, url: str, headers: list[tuple[str, str]], content_type: str | None) -> None:
        if not self.policy.honour_opt_out:
            return
        _refuse_if(opt_out.in_headers(headers, self.policy.agent, content_type), url)
        if not opt_out.explicitly_free(headers):
            _refuse_if(opt_out.in_host_files(self._opt_outs.of(url), url, self.policy.agent), url)

    def _host_file_answer(self, url: str) -> tuple[int | None, bytes]:
        """(status, body) of a host's own file; None where the host gives no answer. Private addresses are refused."""
        attempts = min(self.policy.attempts, _HOST_FILE_ATTEMPTS)
        for attempt in range(1, attempts + 1):
            try:
                with self._answer(url, {"accept-encoding": "identity"}, robots=False) as (final, response):
                    if response.status_code in RETRIED_STATUS and attempt < attempts:
                        wait, status = response.headers.get("retry-after"), response.status_code
                    else:
                        return response.status_code, self._beginning(final, response, MAX_ROBOTS_BYTES)
            except FetchFailed as failure:
                if failure.reason in (FetchReason.PRIVATE_ADDRESS, FetchReason.STOPPED, FetchReason.BAD_URL):
                    raise
                if failure.reason in (FetchReason.REDIRECT_LOOP, FetchReason.TOO_MANY_REDIRECTS):
                    return 404, b""
                if attempt == attempts or failure.reason not in TRANSIENT:
                    return None, b""
                wait, status = None, None
            try:
                self._wait_before(attempt + 1, url, wait, status)
            except FetchFailed as failure:
                if failure.reason is FetchReason.STOPPED:
                    raise
                return status, b""
        return None, b""

    def _load_opt_outs(self, origin: str) -> opt_out.HostOptOuts:
        """The host's files about reservation. A host without answer for them has reserved nothing in them."""
        found = {}
        for name in ("/.well-known/tdmrep.json", "/ai.txt"):
            status, body = self._host_file_answer(origin + name)
            found[name] = body if status == 200 else b""
        robots = self._robots.of(origin + "/").text
        return opt_out.HostOptOuts(
            reserved=opt_out.read_tdmrep(found["/.well-known/tdmrep.json"]),
            ai_rules=opt_out.read_ai_txt(found["/ai.txt"]),
            robots_text=robots.decode("utf-8", "replace"),
        )

    def _beginning(self, url: str, response: httpx.Response, limit: int) -> bytes:
        body = bytearray()
        for piece in self._pieces(url, response):
            body += piece
            if len(body) >= limit:
                break
        return bytes(body[:limit])

    def _pieces(self, url: str, response: httpx.Response) -> Iterator[bytes]:
        """The body as sent. Raises FetchFailed: STOPPED, TOO_SLOW."""
        started, count = time.monotonic(), 0
        stream: Any = response.stream
        for piece in stream:
            if self._stop.asked:
                raise FetchFailed(FetchReason.STOPPED, "stopped from outside", url)
            yield piece
            count += len(piece)
            elapsed = time.monotonic() - started
            if elapsed > self.policy.slow_after_s and count < elapsed * self.policy.min_bytes_per_s:
                raise FetchFailed(FetchReason.TOO_SLOW, f"{count} bytes in {elapsed:.0f} s", url)

    def _decoded(self, url: str, response: httpx.Response, max_bytes: int) -> Iterator[bytes]:
        """The body decoded (gzip, deflate), bounded: a bomb is cut off at `max_bytes`, not unpacked."""
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding in ("identity", ""):
            yield from bounded(self._pieces(url, response), max_bytes, FetchReason.TOO_LARGE, url)
            return
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise FetchFailed(FetchReason.ENCODING, f"content-encoding {coding!r} was not asked for", url)
        pieces = bounded(self._pieces(url, response), max_bytes, FetchReason.TOO_LARGE, url)
        yield from inflated(pieces, max_bytes, url)

    def _wait_turn(self, url: str) -> None:
        host = host_of(url)
        self._sleep(self._pace.wait_s(host, self.policy.rate_of(host), time.monotonic()), url)

    def _wait_before(self, attempt: int, url: str, retry_after: str | None, status: int | None = None) -> None:
        """Wait as the server asks, else back off. Raises FetchFailed (THROTTLED) where it asks for too much."""
        asked = retry_after_s(retry_after)
        if asked is not None and asked > self.policy.max_retry_after_s:
            raise FetchFailed(
                FetchReason.HTTP_STATUS if status is None else FetchReason.THROTTLED,
                f"the server asks to come back in {asked:.0f} s",
                url,
                status=status,
            )
        if asked is not None:
            host, now = host_of(url), time.monotonic()
            self._pace.block(host, self.policy.rate_of(host), now + asked, now)
        self._sleep(asked if asked is not None else backoff_s(attempt, self.policy, self._rng), url)

    def _sleep(self, seconds: float, url: str) -> None:
        until = time.monotonic() + seconds
        while not self._stop.asked:
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _STOP_S))
        raise FetchFailed(FetchReason.STOPPED, "stopped from outside", url)


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _refuse_if(signal: str | None, url: str) -> None:
    if signal is not None:
        raise FetchFailed(FetchReason.OPTED_OUT, signal, url)
