"""Why something was not fetched: a closed list of reasons, and which of them a later run tries again."""

from __future__ import annotations

from enum import StrEnum

from expedition.errors import ExpeditionError


class FetchReason(StrEnum):
    """One word a cause; written in provenance logs and summaries, so names are never changed."""

    BAD_URL = "bad-url"
    BAD_KEY = "bad-key"
    DUPLICATE_KEY = "duplicate-key"
    PRIVATE_ADDRESS = "private-address"
    ROBOTS = "robots"
    ROBOTS_UNREACHABLE = "robots-unreachable"
    OPTED_OUT = "opted-out"
    NO_LICENCE = "no-licence"
    TOO_LARGE = "too-large"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_SLOW = "too-slow"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    HEADERS_TOO_LARGE = "headers-too-large"
    REDIRECT_LOOP = "redirect-loop"
    TOO_MANY_REDIRECTS = "too-many-redirects"
    THROTTLED = "throttled"
    SERVER_ERROR = "server-error"
    HTTP_STATUS = "http-status"
    RANGE_NOT_SERVED = "range-not-served"
    WRONG_LENGTH = "wrong-length"
    WRONG_HASH = "wrong-hash"
    WRONG_CONTENT = "wrong-content"
    CHANGED = "changed"
    BOMB = "decompression-bomb"
    ENCODING = "encoding"
    STOPPED = "stopped"


REFUSALS = frozenset(
    {
        FetchReason.BAD_URL,
        FetchReason.BAD_KEY,
        FetchReason.DUPLICATE_KEY,
        FetchReason.PRIVATE_ADDRESS,
        FetchReason.ROBOTS,
        FetchReason.OPTED_OUT,
        FetchReason.NO_LICENCE,
        FetchReason.TOO_LARGE,
    }
)
"""Decisions, not accidents: the next run does not ask again unless it is told to."""

TRANSIENT = frozenset(
    {
        FetchReason.UNREACHABLE,
        FetchReason.TIMEOUT,
        FetchReason.TOO_SLOW,
        FetchReason.TRUNCATED,
        FetchReason.PROTOCOL,
        FetchReason.THROTTLED,
        FetchReason.SERVER_ERROR,
        FetchReason.CHANGED,
    }
)
"""Worth another attempt at once, within the policy's attempts."""


class FetchFailed(ExpeditionError):
    """One thing could not or may not be fetched.

    `reason` is the cause, `status` the HTTP status and `retry_after` the header's text, where there was one.
    """

    exit_code = 1

    def __init__(
        self,
        reason: FetchReason,
        detail: str,
        url: str,
        *,
        status: int | None = None,
        retry_after: str | None = None,
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.url = url
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"{reason}: {detail}", where=url)

    @property
    def refused(self) -> bool:
        """Whether this is a decision (robots, opt-out, private address, …) and no accident."""
        return self.reason in REFUSALS
