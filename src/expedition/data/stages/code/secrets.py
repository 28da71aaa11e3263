"""Credentials in source code: formats of known issuers, and random-looking values of telling names."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

_ISSUED: Final = tuple(
    (name, re.compile(pattern, re.ASCII))
    for name, pattern in (
        (
            "PRIVATE_KEY",
            r"-----BEGIN (?:[A-Z]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s:,\\-]{0,8000}?"
            r"-----END (?:[A-Z]{2,10} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        ),
        ("AWS_ACCESS_KEY", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
        ("GITHUB_TOKEN", r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,76}|github_pat_[A-Za-z0-9_]{60,90})"),
        ("GITLAB_TOKEN", r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}"),
        ("SLACK_TOKEN", r"(?<![A-Za-z0-9])xox[abposr]-[A-Za-z0-9-]{10,72}"),
        ("GOOGLE_API_KEY", r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}"),
        ("STRIPE_KEY", r"(?<![A-Za-z0-9])[rs]k_(?:live|test)_[A-Za-z0-9]{16,99}"),
        ("NPM_TOKEN", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}"),
        ("PYPI_TOKEN", r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,200}"),
        ("API_KEY", r"(?<![A-Za-z0-9])sk-(?:proj-|ant-)?[A-Za-z0-9_-]{32,120}"),
        ("JWT", r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,600}"),
        ("URL_PASSWORD", r"(?<=://)[A-Za-z0-9._-]{1,40}:[^\s:@/'\"]{3,60}(?=@[A-Za-z0-9])"),
    )
)
_ASSIGNED: Final = re.compile(
    r"(?:password|passwd|pwd|secret|token|api_?key|apikey|access_?key|auth|credential|private_?key)[A-Za-z0-9_]{0,20}"
    r"['\"]?\s{0,4}(?:=|:|=>|:=)\s{0,4}['\"](?P<value>[^'\"\s]{12,200})['\"]",
    re.ASCII | re.IGNORECASE,
)
_PLAIN_WORDS: Final = re.compile(
    r"example|sample|your|change|placeholder|xxxx|test|\$\{|\{\{|<|%\(|os\.environ|getenv", re.IGNORECASE
)
_MIN_ENTROPY_BITS: Final = 3.3
"""Bits a character; English words have about 2.8 at such lengths, random hexadecimal 3.7 and more."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential of `type` at text[start:end]."""

    start: int
    end: int
    type: str


def find_secrets(text: str) -> list[Secret]:
    """Credentials in a text, sorted, without overlap; linear in its length."""
    found: list[Secret] = []
    for name, pattern in _ISSUED:
        found += [Secret(*match.span(), name) for match in pattern.finditer(text)]
    for match in _ASSIGNED.finditer(text):
        value = match.group("value")
        if (
            _entropy_bits(value) >= _MIN_ENTROPY_BITS
            and any(map(str.isdigit, value))
            and not _PLAIN_WORDS.search(value)
        ):
            found.append(Secret(*match.span("value"), "PASSWORD"))
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return kept


def _entropy_bits(value: str) -> float:
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())
