"""URLs as they may be fetched: http and https, a host, no credentials, of bounded length."""

from __future__ import annotations

from urllib.parse import quote, urldefrag, urlsplit, urlunsplit

from expedition.data.connectors.failure import FetchFailed, FetchReason

MAX_URL_CHARACTERS = 8_192
_SAFE = "/%:=&?~#+!$,;'@()*[]-._"


def checked_url(url: str, came_from: str | None = None) -> str:
    """`url` without fragment, its characters escaped where HTTP wants that. Raises FetchFailed (BAD_URL)."""
    where = (came_from or url)[:300]
    if len(url) > MAX_URL_CHARACTERS:
        raise FetchFailed(FetchReason.BAD_URL, f"longer than {MAX_URL_CHARACTERS} characters", where)
    try:
        parts = urlsplit(urldefrag(url.strip()).url)
        port = parts.port
        host = (
            (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.hostname
        )
    except (ValueError, UnicodeError) as error:
        raise FetchFailed(FetchReason.BAD_URL, str(error), where) from error
    if parts.scheme.lower() not in ("http", "https"):
        raise FetchFailed(FetchReason.BAD_URL, f"scheme {parts.scheme or 'missing'!r}: only http and https", where)
    if not host:
        raise FetchFailed(FetchReason.BAD_URL, "no host", where)
    if parts.username is not None or parts.password is not None:
        raise FetchFailed(FetchReason.BAD_URL, "credentials in the URL", where.replace(parts.netloc, host))
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path, query = quote(parts.path or "/", safe=_SAFE), quote(parts.query, safe=_SAFE)
    return urlunsplit((parts.scheme.lower(), place.lower(), path, query, ""))


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL: what a robots.txt speaks for, and whom a credential is for."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"


def host_of(url: str) -> str:
    """Host of a URL in lower case, without port: what is asked at a pace."""
    return (urlsplit(url).hostname or "").lower()
