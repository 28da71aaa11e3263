"""Whether a rights holder has said that something may not be used: pure functions over headers, pages and host files.

Signals: `noai` and `noimageai` in X-Robots-Tag and meta robots; the TDM Reservation Protocol (header, meta,
/.well-known/tdmrep.json); `ai-train=no` of Content-Signal and `train-ai=n` of Content-Usage in robots.txt and headers;
/ai.txt. Each function returns the signal that was found, as it should stand in a record, or None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlsplit

from expedition.data.connectors.robots import matched_path
from expedition.data.decode.robots import Robots, Rule, comparable, read_robots

HEAD_BYTES = 256 << 10
"""Meta elements are looked for in this much of a page."""
_TAG = re.compile(r"<meta\b([^<>]{1,4000})>", re.I)
_ATTRIBUTE = re.compile(r"""([a-zA-Z:_-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_NAMED = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*:\s*(.*)$", re.S)
_AGENT_LINE = re.compile(r"^\s*user-?agent\s*:\s*([^\s#]+)", re.I)
_SIGNAL_LINE = re.compile(r"^\s*content-(?:signals?|usage)\s*:\s*(?:(/\S*)\s+)?([^#]*)", re.I)
_SIGNAL_NO = re.compile(r"(?:ai-train|train-ai|genai-train|train-genai)\s*=\s*(?:no?\b|\"n\")", re.I)
_DIRECTIVES_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


@dataclass(frozen=True, slots=True)
class HostOptOuts:
    """What a host says in /.well-known/tdmrep.json, /ai.txt and robots.txt for all its URLs."""

    reserved: tuple[tuple[str, bool], ...] = ()
    """(location pattern, reserved) of tdmrep.json, in order."""
    ai_rules: Robots | None = None
    robots_text: str = ""


def in_headers(headers: Iterable[tuple[str, str]], agent: str, content_type: str | None = None) -> str | None:
    """The opt-out in HTTP response headers, or None. `headers` may repeat names; names in any case."""
    for name, value in headers:
        low = name.lower()
        if low == "x-robots-tag":
            found = _directive(value, agent, content_type)
            if found:
                return f"X-Robots-Tag: {found}"
        elif low == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation: 1"
        elif low in ("content-usage", "content-signal") and _SIGNAL_NO.search(value):
            return f"{name}: {value.strip()[:100]}"
    return None


def explicitly_free(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether a header says `tdm-reservation: 0`, which overrides the host's tdmrep.json."""
    return any(name.lower() == "tdm-reservation" and value.strip() == "0" for name, value in headers)


def in_page(page: bytes, agent: str) -> str | None:
    """The opt-out in the meta elements of an HTML page's beginning, or None. Linear in HEAD_BYTES."""
    text = page[:HEAD_BYTES].decode("utf-8", "replace")
    for tag in _TAG.finditer(text):
        attributes = {
            found.group(1).lower(): unescape(next((part for part in found.groups()[1:] if part is not None), ""))
            for found in _ATTRIBUTE.finditer(tag.group(1))
        }
        name = attributes.get("name", attributes.get("http-equiv", "")).strip().lower()
        content = attributes.get("content", "")
        if name in ("robots", agent.lower(), "x-robots-tag"):
            words = _words(content)
            if "noai" in words:
                return "meta robots: noai"
        elif name == "tdm-reservation" and content.strip() == "1":
            return "meta tdm-reservation: 1"
    return None


def in_host_files(host: HostOptOuts, url: str, agent: str) -> str | None:
    """The opt-out that a host's files say for `url`, or None."""
    path = comparable(matched_path(url))
    for pattern, reserved in host.reserved:
        if Rule(False, comparable(pattern, rule=True)).matches(path):
            if reserved:
                return f"tdmrep.json: tdm-reservation 1 for {pattern}"
            break
    if host.ai_rules is not None and not host.ai_rules.allowed(agent, path):
        return "ai.txt"
    return in_robots(host.robots_text, agent, path)


def in_robots(text: str, agent: str, path: str = "/") -> str | None:
    """A Content-Signal or Content-Usage line of robots.txt that reserves training, for `agent` or for all."""
    agents: list[str] = []
    in_group = False
    own: list[tuple[str, str]] = []
    general: list[tuple[str, str]] = []
    named = False
    for line in text.splitlines():
        if (found := _AGENT_LINE.match(line)) is not None:
            agents = [*agents, found.group(1).lower()] if in_group else [found.group(1).lower()]
            named = named or found.group(1).lower() == agent.lower()
            in_group = True
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        in_group = False
        if (signal := _SIGNAL_LINE.match(line)) is not None:
            entry = (signal.group(1) or "/", signal.group(2).strip())
            if agent.lower() in agents:
                own.append(entry)
            if "*" in agents or not agents:
                general.append(entry)
    for pattern, value in own if named and own else general:
        if _SIGNAL_NO.search(value) and Rule(False, comparable(pattern, rule=True)).matches(path):
            return f"robots.txt: {value[:100]}"
    return None


def read_tdmrep(body: bytes) -> tuple[tuple[str, bool], ...]:
    """(location, reserved) pairs of a tdmrep.json, in order; empty where it is none. Never raises."""
    try:
        value: Any = json.loads(body[:MAX_FILE_BYTES].decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return ()
    rows = value if isinstance(value, list) else [value]
    pairs = []
    for row in rows[:10_000]:
        if isinstance(row, Mapping) and isinstance(row.get("location"), str):
            location = row["location"]
            path = urlsplit(location).path if "://" in location else location
            pairs.append((path or "/", str(row.get("tdm-reservation")).strip() == "1"))
    return tuple(pairs)


MAX_FILE_BYTES = 1 << 20


def read_ai_txt(body: bytes) -> Robots | None:
    """Rules of an ai.txt (robots.txt's grammar, patterns may begin with `*`); None where it is none."""
    text = body[:MAX_FILE_BYTES]
    if b":" not in text or text.lstrip()[:1] in (b"<", b"{"):
        return None
    return read_robots(text)


def _directive(value: str, agent: str, content_type: str | None) -> str | None:
    """noai or noimageai of an X-Robots-Tag value that speaks to `agent` or to all."""
    found = _NAMED.match(value)
    if found and found.group(1).lower() not in _DIRECTIVES_WITH_VALUE:
        if found.group(1).lower() != agent.lower():
            return None
        value = found.group(2)
    words = _words(value)
    if "noai" in words:
        return "noai"
    if "noimageai" in words and (content_type or "").lower().startswith("image/"):
        return "noimageai"
    return None


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}
