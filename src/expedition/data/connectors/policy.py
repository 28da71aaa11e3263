"""How the outside is asked: limits, pace and manners of a fetch, and the pure decisions about trying again."""

from __future__ import annotations

import ipaddress
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, ConfigDict, Field, field_validator

RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that say "not now" rather than "no"."""


class FetchPolicy(BaseModel):
    """Limits and manners of one client. Frozen; every bound is finite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = "expedition"
    """Product token by which robots.txt addresses this crawler (RFC 9309: letters, `_`, `-`)."""
    contact: str | None = None
    """URL or mail address put into User-Agent, so that a site's owner can ask."""
    requests_per_s: float = Field(default=2.0, gt=0)
    """Requests per second to one host, on average."""
    burst: int = Field(default=4, ge=1)
    """Requests that one host may get at once after a rest."""
    requests_per_s_by_host: dict[str, float] = {}
    """The same for named hosts (exact, lower case)."""
    max_crawl_delay_s: float = Field(default=30.0, ge=0)
    """A robots.txt's Crawl-delay is honoured up to this."""
    connections: int = Field(default=8, ge=1, le=256)
    """Items fetched at once, over all hosts."""
    attempts: int = Field(default=5, ge=1, le=100)
    """Tries without progress before an item is given up in this run."""
    backoff_s: float = Field(default=0.5, ge=0)
    """Mean wait before the second try; doubles with each."""
    max_backoff_s: float = Field(default=60.0, ge=0)
    """Longest wait between tries."""
    max_retry_after_s: float = Field(default=600.0, ge=0)
    """Longest Retry-After that is waited for; a longer one ends the item's tries in this run."""
    connect_s: float = Field(default=10.0, gt=0)
    """Limit for a connection and its TLS handshake."""
    read_s: float = Field(default=30.0, gt=0)
    """Limit for the next bytes to arrive."""
    total_s: float = Field(default=3600.0, gt=0)
    """Limit for one try, headers and body."""
    min_bytes_per_s: float = Field(default=1000.0, ge=0)
    """A body slower than this on average, after `slow_after_s`, is cut off."""
    slow_after_s: float = Field(default=30.0, gt=0)
    """Grace before `min_bytes_per_s` is judged."""
    max_redirects: int = Field(default=5, ge=0, le=50)
    """Redirects followed for one request."""
    max_bytes: int = Field(default=8 << 30, gt=0)
    """Largest body of a download."""
    sync_bytes: int = Field(default=16 << 20, gt=0)
    """A download under way is made durable this often; a killed one goes on from there."""
    allow_private: bool = False
    """Loopback, private and otherwise not globally routed addresses may be connected to. Cloud metadata never."""
    private_networks: tuple[str, ...] = ()
    """Networks (CIDR) that are allowed although they are private, such as a mirror's."""
    obey_robots: bool = True
    """robots.txt (RFC 9309) is asked for each URL."""
    honour_opt_out: bool = True
    """noai, noimageai and TDM reservations in headers, pages and /.well-known/tdmrep.json are honoured."""

    @field_validator("private_networks")
    @classmethod
    def _networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            ipaddress.ip_network(value)
        return values

    @field_validator("agent")
    @classmethod
    def _token(cls, value: str) -> str:
        if not value or not all(letter.isascii() and (letter.isalpha() or letter in "_-") for letter in value):
            raise ValueError("a product token has only letters, `_` and `-`")
        return value

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        from expedition import __version__

        return f"{self.agent}/{__version__}" + (f" (+{self.contact})" if self.contact else "")

    def rate_of(self, host: str) -> float:
        """Requests per second to `host`."""
        return self.requests_per_s_by_host.get(host.lower(), self.requests_per_s)


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks to wait: a number or an HTTP date; None where it says neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def backoff_s(attempt: int, policy: FetchPolicy, rng: random.Random) -> float:
    """Wait before try `attempt` (2, 3, …): exponential, with full jitter around the mean."""
    mean = min(policy.max_backoff_s, policy.backoff_s * 2.0 ** min(attempt - 2, 30))
    return min(policy.max_backoff_s, mean * rng.uniform(0.5, 1.5))
