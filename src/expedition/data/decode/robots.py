"""robots.txt by RFC 9309: groups of user agents, the longest matching rule wins, faulty lines are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from expedition.data.decode.charset import readable_text

_LINE = re.compile(r"^\s*([A-Za-z-]{1,40})\s*(?::|\s(?=\S))\s*(.*?)\s*$")
_NAMES = {"user-agent": "agent", "useragent": "agent", "disallow": "disallow", "allow": "allow"}
_OTHERS = frozenset({"sitemap", "host", "crawl-delay", "request-rate", "visit-time", "clean-param", "noindex"})
_TOKEN = re.compile(r"[A-Za-z_-]+")
_ESCAPE = re.compile(r"(%[0-9A-Fa-f]{2})")
_MAX_LINES = 500_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a group. An empty path never matches."""

    allow: bool
    path: str

    def matches(self, path: str) -> bool:
        """Whether the rule's path, with its `*` and `$`, matches the start of `path`. Linear, no backtracking."""
        if not self.path:
            return False
        pattern, anchored = (self.path[:-1], True) if self.path.endswith("$") else (self.path, False)
        parts = pattern.split("*")
        if not path.startswith(parts[0]):
            return False
        at = len(parts[0])
        for number, part in enumerate(parts[1:], start=1):
            last = number == len(parts) - 1
            found = path.rfind(part, at) if anchored and last else path.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return not anchored or at == len(path)


@dataclass(frozen=True, slots=True)
class Robots:
    """Rules by user agent (lower case), and the numbers of lines that could not be understood."""

    groups: dict[str, tuple[Rule, ...]]
    faulty_lines: tuple[int, ...] = ()

    def allowed(self, agent: str, path: str) -> bool:
        """Whether `agent` may fetch `path` (with its query).

        The rules of every group of the agent's product token, together; else of those for `*` (RFC 9309, 2.2.1). The
        longest matching rule wins, and of two equal ones that which allows.
        """
        token = product_token(agent)
        own = [rules for name, rules in self.groups.items() if token and product_token(name) == token]
        rules = [rule for group in own for rule in group] if own else self.groups.get("*", ())
        asked = comparable(path)
        matching = [rule for rule in rules if rule.matches(asked)]
        if not matching:
            return True
        longest = max(len(rule.path) for rule in matching)
        return any(rule.allow for rule in matching if len(rule.path) == longest)


def product_token(agent: str) -> str:
    """The product token at the beginning of a user agent's name, in lower case: `ExampleBot/1.0` → `examplebot`."""
    found = _TOKEN.match(agent.strip())
    return found.group().lower() if found else ""


def comparable(path: str, *, rule: bool = False) -> str:
    """A path with query in the form in which rules and URLs are compared (RFC 9309, 2.2.2).

    Escapes of unreserved characters are undone, other characters beyond ASCII escaped, reserved ones escaped within
    the query; a `*` or `$` of a URL is escaped, those of a `rule` stay as its wildcards. Idempotent.
    """
    before, mark, query = path.partition("?")
    if rule:
        end = "$" if (query if mark else before).endswith("$") else ""
        before, query = (before, query[: len(query) - len(end)]) if mark else (before[: len(before) - len(end)], query)
        return _uniform(before, "/:@!&'()+,;=*") + mark + _uniform(query, "=&+*") + end
    return _uniform(before, "/:@!&'()+,;=") + mark + _uniform(query, "=&+")


def _uniform(text: str, safe: str) -> str:
    pieces = _ESCAPE.split(text)
    return "".join(_octet(piece) if number % 2 else quote(piece, safe=safe) for number, piece in enumerate(pieces))


def _octet(escape: str) -> str:
    letter = chr(int(escape[1:], 16))
    return letter if letter.isascii() and (letter.isalnum() or letter in "-._~") else escape.upper()


def read_robots(data: bytes) -> Robots:
    """Rules of a robots.txt. A separator other than a colon is read as one where the field is known."""
    text, _ = readable_text(data)
    groups: dict[str, list[Rule]] = {}
    faulty: list[int] = []
    agents: list[str] = []
    open_group = False
    for number, line in enumerate(text.split("\n")[:_MAX_LINES], start=1):
        body = line.split("#", 1)[0]
        if not body.strip():
            continue
        found = _LINE.match(body)
        field = _NAMES.get(found.group(1).lower()) if found else None
        if found is None or (field is None and found.group(1).lower() not in _OTHERS):
            faulty.append(number)
            continue
        value = found.group(2)
        if ":" not in body:
            faulty.append(number)
            continue
        if field == "agent":
            agents = [*agents, value.lower()] if open_group else [value.lower()]
            open_group = True
            groups.setdefault(value.lower(), [])
        elif field is not None:
            open_group = False
            for agent in agents:
                groups[agent].append(Rule(field == "allow", comparable(value, rule=True)))
    return Robots({agent: tuple(rules) for agent, rules in groups.items()}, tuple(faulty))
