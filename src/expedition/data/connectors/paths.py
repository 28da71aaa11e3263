"""Which of an origin's paths are taken, and how a path or URL becomes the key of an item."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from expedition.data.connectors.url import host_of
from expedition.data.decode.sniff import CODE_LANGUAGES, SUFFIXES, suffix_of

_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
_UNSAFE = re.compile(r"[^\w.\-+=@,()\[\] ]")


def taken(path: str, include: Iterable[str], exclude: Iterable[str]) -> bool:
    """Whether a path matches a pattern of `include` (`*` also crosses "/") and none of `exclude`."""
    return any(fnmatchcase(path, pattern) for pattern in include) and not any(
        fnmatchcase(path, pattern) for pattern in exclude
    )


def key_of_path(path: str) -> str:
    """The key of a path of another store: itself, with hidden and unsafe parts made visible. Different paths that
    would meet get different keys."""
    parts = []
    for part in PurePosixPath(path).parts:
        safe = _UNSAFE.sub("_", part).lstrip(".") or "_"
        if safe != part or len(safe.encode()) > 150:
            stem = safe.encode()[:120].decode("utf-8", "ignore")
            safe = f"{hashlib.sha256(part.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}-{stem}"
        parts.append(safe)
    return "/".join(parts)


def key_of_url(url: str, part: tuple[int, int] | None = None) -> str:
    """A key made of a URL alone: 256 folders, 128 bits of its hash, and its file's suffix where that is known."""
    text = url if part is None else f"{url}#{part[0]}-{part[1]}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:2]}/{digest[2:34]}{_suffix(url)}"


def named_key_of_url(url: str) -> str:
    """A key that a person can read: host and path of a URL."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/") or "index"
    return key_of_path(f"{host_of(url)}/{path}" + (f"?{parts.query}" if parts.query else ""))


def _suffix(url: str) -> str:
    """The suffix of a URL's file, with that of its compression, where the format is known."""
    name = PurePosixPath(urlsplit(url).path).name.lower()
    packed = PurePosixPath(name).suffix
    packed = packed if packed in _PACKED else ""
    suffix = suffix_of(name)
    return (suffix if suffix in SUFFIXES or suffix in CODE_LANGUAGES else "") + packed
