"""WARC files as a crawler writes them: one gzip member a record, no dates but those that are given."""

from __future__ import annotations

import base64
import gzip
import hashlib
import uuid

_DATE = "2026-01-05T08:{minute:02d}:{second:02d}Z"


def warcinfo(name: str) -> bytes:
    """The record that opens a file."""
    body = b"software: expedition sample world\r\nformat: WARC File Format 1.0\r\n"
    fields = {"WARC-Type": "warcinfo", "WARC-Filename": name, "Content-Type": "application/warc-fields"}
    return _record(fields, body, name, 0)


def response(url: str, html: bytes, content_type: str, number: int) -> bytes:
    """A response record: HTTP status and headers, then the page."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(html)}\r\n"
        "Server: sample\r\nConnection: close\r\n\r\n"
    )
    fields = {
        "WARC-Type": "response",
        "WARC-Target-URI": url,
        "Content-Type": "application/http; msgtype=response",
        "WARC-Payload-Digest": _digest(html),
        "WARC-Identified-Payload-Type": "text/html",
    }
    return _record(fields, head.encode() + html, url, number)


def _record(fields: dict[str, str], body: bytes, identity: str, number: int) -> bytes:
    name = uuid.UUID(bytes=hashlib.sha256(identity.encode() + body).digest()[:16], version=4)
    date = _DATE.format(minute=number // 60 % 60, second=number % 60)
    head = {
        "WARC-Date": date,
        "WARC-Record-ID": f"<urn:uuid:{name}>",
        **fields,
        "WARC-Block-Digest": _digest(body),
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
    return gzip.compress(f"WARC/1.0\r\n{lines}\r\n".encode() + body + b"\r\n\r\n", compresslevel=5, mtime=0)


def _digest(data: bytes) -> str:
    return f"sha1:{base64.b32encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()}"
