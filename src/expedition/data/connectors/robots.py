"""robots.txt as RFC 9309 says: who may fetch what, and how fast; what an unreachable file means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from expedition.data.decode.robots import Robots, Rule, product_token, read_robots

MAX_ROBOTS_BYTES = 500 << 10
"""RFC 9309, 2.5: at least 500 KiB are parsed; what lies beyond is not read."""
_DELAY = re.compile(rb"^\s*crawl-delay\s*:\s*([0-9]+(?:\.[0-9]+)?)", re.I)
_AGENT = re.compile(rb"^\s*user-?agent\s*:\s*([^\s#]+)", re.I)
_DISALLOW_ALL = Robots({"*": (Rule(False, "/"),)})
_ALLOW_ALL = Robots({})


@dataclass(frozen=True, slots=True)
class HostRules:
    """What one host's robots.txt says, and the answer that it came by."""

    robots: Robots
    status: int | None
    """HTTP status of the file; None: the host could not be reached."""
    text: bytes = b""

    @property
    def unreachable(self) -> bool:
        """Whether the file could not be had, which forbids everything for now (RFC 9309, 2.3.1.4)."""
        return self.status is None or self.status >= 500 or self.status == 429

    def allowed(self, agent: str, url: str) -> bool:
        """Whether `agent` may fetch `url`. /robots.txt itself is always allowed."""
        path = matched_path(url)
        return path == "/robots.txt" or self.robots.allowed(agent, path)

    def crawl_delay_s(self, agent: str) -> float | None:
        """Crawl-delay of the agent's group, else of the group for all; None where there is none."""
        return crawl_delay_s(self.text, agent)


def rules_from(status: int | None, body: bytes) -> HostRules:
    """RFC 9309, 2.3.1: 2xx is parsed, 4xx (but 429) allows all, 5xx, 429 and no answer disallow all."""
    if status is not None and 200 <= status < 300:
        text = body[:MAX_ROBOTS_BYTES]
        return HostRules(read_robots(text) if text.strip() else _ALLOW_ALL, status, text)
    if status is not None and 300 <= status < 500 and status != 429:
        return HostRules(_ALLOW_ALL, status)
    return HostRules(_DISALLOW_ALL, status)


def load_rules(origin: str, fetch: Callable[[str], tuple[int | None, bytes]]) -> HostRules:
    """Rules of the host at `origin`; `fetch` follows redirects and gives (status or None, at most 500 KiB)."""
    return rules_from(*fetch(f"{origin}/robots.txt"))


def matched_path(url: str) -> str:
    """Path and query of a URL: what rules are about."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def crawl_delay_s(text: bytes, agent: str) -> float | None:
    """Crawl-delay (seconds) in the group of `agent`, else in that of `*`. Not in RFC 9309, but widely used."""
    delays: dict[bytes, float] = {}
    agents: list[bytes] = []
    in_group = False
    for line in text.splitlines():
        if (found := _AGENT.match(line)) is not None:
            agents = [*agents, found.group(1).lower()] if in_group else [found.group(1).lower()]
            in_group = True
        elif line.strip() and not line.lstrip().startswith(b"#"):
            in_group = False
            if (delay := _DELAY.match(line)) is not None:
                for name in agents:
                    delays.setdefault(name, float(delay.group(1)))
    own = [name for name in delays if product_token(name.decode("latin-1")) == product_token(agent)]
    return delays.get(own[0] if own else b"*")
