"""YouTube Data API v3: requests within a daily budget of quota units that is kept across runs, and errors by reason.

Units as documented: search.list 100, captions.list 50, captions.download 200, other lists 1. The quota's day ends at
midnight Pacific time. The key travels in a header, so that no address that is recorded holds it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from expedition.data.connectors.client import Client, Reply
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.service_api import json_of, said
from expedition.errors import Interrupted, UsageError
from expedition.workspace.atomic import write_atomic

KEY_VARIABLE = "YOUTUBE_API_KEY"
OAUTH_VARIABLE = "YOUTUBE_OAUTH_TOKEN"
UNITS = {"search": 100, "playlistItems": 1, "videos": 1, "captions": 50, "captions.download": 200}
_SPENT = frozenset({"quotaExceeded", "dailyLimitExceeded"})
_TOO_FAST = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_WRONG_KEY = frozenset({"keyInvalid", "keyExpired", "accessNotConfigured", "ipRefererBlocked", "forbiddenIp"})
_TRIES = 5
_LOCK = threading.Lock()
"""Held while units are counted: the count is a file, and several threads fetch."""


def pacific() -> tzinfo:
    """The zone whose midnight resets the quota; without a time zone database standard time, at most an hour late."""
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        return timezone(timedelta(hours=-8))


def quota_day(now: datetime) -> str:
    """The Pacific date that `now` counts to."""
    return now.astimezone(pacific()).date().isoformat()


def next_reset(now: datetime) -> datetime:
    """The next midnight in Pacific time, as UTC."""
    local = now.astimezone(pacific())
    midnight = datetime.combine(local.date() + timedelta(days=1), time(), tzinfo=pacific())
    return midnight.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Quota:
    """Units used today, in a file: the count is durable before the request goes."""

    path: Path
    daily_units: int

    def used(self, now: datetime) -> int:
        """Units used on the Pacific day of `now`."""
        try:
            value = json.loads(self.path.read_bytes())
            return int(value["units"]) if value["day"] == quota_day(now) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def spend(self, units: int) -> None:
        """Count `units`. Raises Interrupted where the day has not so many left; nothing is counted then."""
        now = datetime.now(UTC)
        with _LOCK:
            used = self.used(now)
            if used + units > self.daily_units:
                raise self.ended(f"{used} of {self.daily_units} units are used, the next request costs {units}")
            self._write(now, used + units)

    def exhaust(self) -> None:
        """The service says that nothing is left today."""
        now = datetime.now(UTC)
        with _LOCK:
            self._write(now, max(self.used(now), self.daily_units))

    def ended(self, why: str) -> Interrupted:
        """The error that ends a run until the next day."""
        at = next_reset(datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Interrupted(
            f"YouTube's quota of today is used up: {why}",
            fix=f"run the same command again after {at} (midnight Pacific): it goes on where it was; "
            "or ask Google for more units and raise daily_units",
        )

    def _write(self, now: datetime, units: int) -> None:
        write_atomic(self.path, json.dumps({"day": quota_day(now), "units": units}).encode())


@dataclass(frozen=True, slots=True)
class YouTubeApi:
    """Requests to the API. Safe for many threads."""

    client: Client
    address: str
    key: str
    quota: Quota

    def url(self, method: str, query: Mapping[str, str]) -> str:
        """The address of a request, without any credential."""
        return f"{self.address}/youtube/v3/{method}?{urlencode(query)}"

    def list(self, method: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The answer of a `list` method. Raises UsageError (key), Interrupted (quota), FetchFailed."""
        url = self.url(method, query)
        reply = self._answer(url, UNITS[method], {"x-goog-api-key": self.key})
        value = json_of(reply)
        if not isinstance(value, dict) or not isinstance(value.get("items", []), list):
            raise FetchFailed(FetchReason.WRONG_CONTENT, "no list of items", url)
        return value

    def caption(self, track: str, form: str, oauth: str) -> Reply:
        """A caption track as `srt` or `vtt`. Raises UsageError (token), Interrupted (quota), FetchFailed."""
        url = self.url(f"captions/{track}", {"tfmt": form})
        return self._answer(url, UNITS["captions.download"], {"authorization": f"Bearer {oauth}"})

    def _answer(self, url: str, units: int, credential: Mapping[str, str]) -> Reply:
        for attempt in range(_TRIES):
            self.quota.spend(units)
            reply = self.client.get(url, headers={"accept": "application/json", **credential})
            if reply.ok:
                return reply
            reason = error_reason(reply)
            if reason in _SPENT:
                self.quota.exhaust()
                raise self.quota.ended(said(reply))
            if reason in _TOO_FAST:
                self.client.pause(2.0**attempt, url)
                continue
            self._refuse_credentials(reply, reason, credential)
            raise FetchFailed(FetchReason.HTTP_STATUS, f"{said(reply)} ({reason})", url, status=reply.status)
        raise FetchFailed(FetchReason.THROTTLED, f"still too fast after {_TRIES} waits", url)

    def _refuse_credentials(self, reply: Reply, reason: str, credential: Mapping[str, str]) -> None:
        if reply.status == 401:
            raise UsageError(
                f"YouTube refuses the token in ${OAUTH_VARIABLE} ({said(reply)}): access tokens last an hour",
                fix=f"get a new one with the scope youtube.force-ssl, export {OAUTH_VARIABLE}=…, and run again",
            )
        wrong_key = reply.status == 400 and "api key" in said(reply).lower()
        if "x-goog-api-key" in credential and (wrong_key or reason in _WRONG_KEY):
            raise UsageError(
                f"YouTube refuses the key in ${KEY_VARIABLE} ({said(reply)})",
                fix=f"make a key with the YouTube Data API v3 enabled, export {KEY_VARIABLE}=…, and run again",
            )


def error_reason(reply: Reply) -> str:
    """The `reason` of an error answer, such as quotaExceeded; "" where it has none."""
    try:
        value = json.loads(reply.body)
        reason = value["error"]["errors"][0]["reason"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ""
    return reason if isinstance(reason, str) else ""
