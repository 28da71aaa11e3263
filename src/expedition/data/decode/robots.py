"""robots.txt by RFC 9309: groups of user agents, the longest matching rule wins, faulty lines are counted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from expedition.data.decode.charset import readable_text

_LINE = re.compile(r"^\s*([A-Za-z-]{1,40})\s*(?::|\s(?=\S))\s*(.*?)\s*$")
_NAMES = {"user-agent": "agent", "useragent": "agent", "disallow": "disallow", "allow": "allow"}
_OTHERS = frozenset({"sitemap", "host", "crawl-delay", "request-rate", "visit-time", "clean-param", "noindex"})
_MAX_LINES = 10_000


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
        """Whether `agent` may fetch `path` (with its query). The group of the agent's own name, else that of `*`."""
        own = [name for name in self.groups if name != "*" and name in agent.lower()]
        rules = self.groups.get(max(own, key=len) if own else "*", ())
        matching = [rule for rule in rules if rule.matches(path)]
        if not matching:
            return True
        longest = max(len(rule.path) for rule in matching)
        return any(rule.allow for rule in matching if len(rule.path) == longest)


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
                groups[agent].append(Rule(field == "allow", value))
    return Robots({agent: tuple(rules) for agent, rules in groups.items()}, tuple(faulty))
