"""Credentials in source code: formats of known issuers, and random-looking values of telling names.

Formats are those that the issuers document (the same that gitleaks and GitHub's secret scanning look for). A value that says
that it is an example, repeats a few characters, or is read from somewhere else is no credential; nor is a hash of a file.
"""

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
        ("HUGGING_FACE_TOKEN", r"(?<![A-Za-z0-9])(?:hf_[A-Za-z]{34}|api_org_[A-Za-z]{34})(?![A-Za-z0-9])"),
        ("SENDGRID_KEY", r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
        ("DIGITALOCEAN_TOKEN", r"(?<![A-Za-z0-9])do[opr]_v1_[a-f0-9]{64}"),
        ("SHOPIFY_TOKEN", r"(?<![A-Za-z0-9])shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
        ("DATABRICKS_TOKEN", r"(?<![A-Za-z0-9])dapi[a-f0-9]{32}(?:-\d)?(?![A-Za-z0-9])"),
        ("GOOGLE_OAUTH_SECRET", r"(?<![A-Za-z0-9])GOCSPX-[A-Za-z0-9_-]{28}"),
        ("VAULT_TOKEN", r"(?<![A-Za-z0-9])hv[sbr]\.[A-Za-z0-9_-]{24,200}"),
        ("LINEAR_KEY", r"(?<![A-Za-z0-9])lin_api_[A-Za-z0-9]{40}"),
        ("TELEGRAM_TOKEN", r"(?<![A-Za-z0-9:])\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
        ("AZURE_KEY", r"(?<=AccountKey=)[A-Za-z0-9+/]{86}=="),
        ("AWS_SECRET_KEY", r"(?<=aws_secret_access_key = )[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"),
        ("AWS_SECRET_KEY", r"(?<=AWS_SECRET_ACCESS_KEY=)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"),
        ("WEBHOOK", r"https://hooks\.slack\.com/services/T[A-Z0-9]{6,12}/B[A-Z0-9]{6,12}/[A-Za-z0-9]{20,28}"),
        ("WEBHOOK", r"https://(?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/\d{16,20}/[A-Za-z0-9_-]{60,80}"),
        ("API_KEY", r"(?<![A-Za-z0-9])sk-(?:proj-|ant-|or-v1-)?[A-Za-z0-9_-]{32,160}"),
        ("JWT", r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,1000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,600}"),
        ("URL_PASSWORD", r"(?<=://)[A-Za-z0-9._-]{1,40}:(?!//)[^\s:@/'\"<>{}$*]{3,60}(?=@[A-Za-z0-9])"),
    )
)
_SIGNS: Final = {
    "PRIVATE_KEY": ("PRIVATE KEY",),
    "AWS_ACCESS_KEY": (
        "AKIA",
        "ASIA",
        "AGPA",
        "AROA",
    ),
    "GITHUB_TOKEN": (
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
    ),
    "GITLAB_TOKEN": ("glpat-",),
    "SLACK_TOKEN": ("xox",),
    "GOOGLE_API_KEY": ("AIza",),
    "STRIPE_KEY": (
        "k_live_",
        "k_test_",
    ),
    "NPM_TOKEN": ("npm_",),
    "PYPI_TOKEN": ("pypi-",),
    "HUGGING_FACE_TOKEN": (
        "hf_",
        "api_org_",
    ),
    "SENDGRID_KEY": ("SG.",),
    "DIGITALOCEAN_TOKEN": ("_v1_",),
    "SHOPIFY_TOKEN": ("shp",),
    "DATABRICKS_TOKEN": ("dapi",),
    "GOOGLE_OAUTH_SECRET": ("GOCSPX-",),
    "VAULT_TOKEN": (
        "hvs.",
        "hvb.",
        "hvr.",
    ),
    "LINEAR_KEY": ("lin_api_",),
    "TELEGRAM_TOKEN": (":AA",),
    "AZURE_KEY": ("AccountKey=",),
    "AWS_SECRET_KEY": (
        "ecret_access_key",
        "ECRET_ACCESS_KEY",
    ),
    "WEBHOOK": ("https://",),
    "API_KEY": ("sk-",),
    "JWT": ("eyJ",),
    "URL_PASSWORD": ("://",),
}
"""Substrings of which a credential of each kind holds one: a text without any is not searched for it."""
_ASSIGNED: Final = re.compile(
    r"(?:password|passwd|pwd|secret|token|api_?key|apikey|access_?key|auth|credential|private_?key)[A-Za-z0-9_]{0,20}"
    r"['\"]?\s{0,4}(?:=|:|=>|:=)\s{0,4}['\"](?P<value>[^'\"\s]{12,200})['\"]",
    re.ASCII | re.IGNORECASE,
)
# The same without quotes, as settings files write it: a line of its own.
_SETTING: Final = re.compile(
    r"^[ \t]{0,12}(?:export )?[A-Za-z0-9_.-]{0,40}(?:password|passwd|secret|token|api_?key|access_?key|private_?key)"
    r"[A-Za-z0-9_]{0,20}[ \t]{0,4}[=:][ \t]{0,4}(?P<value>[A-Za-z0-9+/_=!@#%^&*-]{16,200})[ \t]*$",
    re.ASCII | re.IGNORECASE | re.MULTILINE,
)
_PLAIN_WORDS: Final = re.compile(
    r"example|sample|your|change|placeholder|xxxx|test|dummy|fake|foobar|redacted|secret|password|1234567890|0123456789|abcdef"
    r"|\$\{|\{\{|<|%\(|os\.environ|getenv|process\.env",
    re.IGNORECASE,
)
_PLAIN_PASSWORDS: Final = re.compile(
    r"(?:user(?:name)?|org|owner|me|you|name|login|admin|root|foo|guest|test|postgres|mysql|\w*user):"
    r"(?:pass(?:word|wd)?|token|repo|pwd|pw|secret|bar|guest|test|postgres|mysql|root|admin|example|\w*password\w*|xxx+|\.\.\.+)",
    re.IGNORECASE,
)
_HASH_NAMES: Final = re.compile(
    r"sha\d*|md5|hash|digest|checksum|fingerprint|etag|commit|revision|integrity", re.IGNORECASE
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
        if any(sign in text for sign in _SIGNS[name]):
            matches = pattern.finditer(text)
            found += [Secret(*match.span(), name) for match in matches if not _is_example(name, match.group())]
    for pattern in (_ASSIGNED, _SETTING):
        for match in pattern.finditer(text):
            value, named = match.group("value"), text[max(0, match.start() - 40) : match.start("value")]
            if _looks_random(value) and not _HASH_NAMES.search(named.rsplit("\n", 1)[-1]):
                found.append(Secret(*match.span("value"), "PASSWORD"))
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not kept or secret.start >= kept[-1].end:
            kept.append(secret)
    return kept


def _is_example(name: str, value: str) -> bool:
    """Whether a value of an issuer's form is a placeholder: documentation is full of them."""
    if name == "PRIVATE_KEY":
        return False
    if name == "URL_PASSWORD":
        return _PLAIN_PASSWORDS.fullmatch(value) is not None
    if re.search(r"example|xxxx|\.\.\.|your|placeholder|redacted|dummy|1234567890|0{8}", value, re.IGNORECASE):
        return True
    return name == "API_KEY" and not (any(map(str.isdigit, value)) and _entropy_bits(value) >= _MIN_ENTROPY_BITS)


def _looks_random(value: str) -> bool:
    return _entropy_bits(value) >= _MIN_ENTROPY_BITS and any(map(str.isdigit, value)) and not _PLAIN_WORDS.search(value)


def _entropy_bits(value: str) -> float:
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())
