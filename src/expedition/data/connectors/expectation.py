"""What a download must turn out to be, and whether an answer can be that: ranges, lengths, hashes, validators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.data.connectors.part import Part, Validators
from expedition.data.connectors.policy import RETRIED_STATUS

_CONTENT_RANGE = re.compile(r"^bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)$")

ByteRange = tuple[int, int]
"""First and last byte, both included."""


@dataclass(frozen=True, slots=True)
class Want:
    """What a download must turn out to be."""

    url: str
    target: Path
    expect_bytes: int | None
    expect_sha256: str | None
    range: ByteRange | None
    max_bytes: int

    @property
    def start(self) -> int:
        """Where in the server's content the file begins."""
        return 0 if self.range is None else self.range[0]

    @property
    def length(self) -> int | None:
        """Bytes of the finished file, where they are known before."""
        return self.range[1] - self.range[0] + 1 if self.range is not None else self.expect_bytes

    def require_room(self, url: str, size: int) -> None:
        """Raises FetchFailed where `size` bytes are more than may come: WRONG_LENGTH, TOO_LARGE."""
        if self.length is not None and size > self.length:
            raise FetchFailed(FetchReason.WRONG_LENGTH, f"more than the expected {self.length} bytes", url)
        if size > self.max_bytes:
            raise FetchFailed(FetchReason.TOO_LARGE, f"the body is longer than {self.max_bytes} bytes", url)

    def verify(self, url: str, part: Part) -> None:
        """Raises FetchFailed: WRONG_LENGTH, WRONG_HASH."""
        for expected in (self.length, self.expect_bytes):
            if expected is not None and part.size != expected:
                raise FetchFailed(FetchReason.WRONG_LENGTH, f"{part.size} bytes, not {expected}", url)
        if self.expect_sha256 is not None and part.sha256 != self.expect_sha256.lower():
            raise FetchFailed(FetchReason.WRONG_HASH, f"sha256 {part.sha256}, not {self.expect_sha256}", url)


def range_headers(want: Want, part: Part) -> dict[str, str]:
    """Range and If-Range of the next try. A part that no validator and no hash can vouch for is begun anew."""
    validators = part.validators
    if part.size and (validators is None or validators.url != want.url or not _vouched(want, validators)):
        part.discard()
        validators = None
    if not part.size and want.range is None:
        return {}
    last = "" if want.range is None else str(want.range[1])
    headers = {"range": f"bytes={want.start + part.size}-{last}"}
    if part.size and validators is not None and validators.if_range is not None:
        headers["if-range"] = validators.if_range
    return headers


def _vouched(want: Want, validators: Validators) -> bool:
    return validators.if_range is not None or want.expect_sha256 is not None


def validators_of(url: str, headers: Mapping[str, str]) -> Validators:
    """What an answer's headers say about its content."""
    return Validators(url, headers.get("etag"), headers.get("last-modified"), _total(headers))


def require_body(url: str, response: httpx.Response, want: Want, part: Part) -> None:
    """That the answer carries the bytes asked for. Raises FetchFailed; a part that has become stale is discarded."""
    status, headers = response.status_code, response.headers
    if status in RETRIED_STATUS:
        reason = FetchReason.THROTTLED if status in (429, 503) else FetchReason.SERVER_ERROR
        raise FetchFailed(reason, f"status {status}", url, status=status, retry_after=headers.get("retry-after"))
    asked = part.size > 0 or want.range is not None
    if status == 416 and part.size:
        part.discard()
        raise FetchFailed(FetchReason.CHANGED, "the server has fewer bytes than were fetched before", url)
    if status == 200:
        if want.range is not None:
            raise FetchFailed(FetchReason.RANGE_NOT_SERVED, "the server sent the whole instead of a range", url)
        return
    if status != 206 or not asked:
        raise FetchFailed(FetchReason.HTTP_STATUS, f"status {status}", url, status=status)
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if found is None or int(found.group(1)) != want.start + part.size:
        part.discard()
        shown = headers.get("content-range", "missing")[:80]
        raise FetchFailed(FetchReason.RANGE_NOT_SERVED, f"Content-Range {shown!r} is not what was asked for", url)
    if part.size and part.validators is not None and not _same(part.validators, validators_of(want.url, headers)):
        part.discard()
        raise FetchFailed(FetchReason.CHANGED, "the content changed in mid-download", url)


def require_length(url: str, response: httpx.Response, want: Want, part: Part) -> None:
    """That the announced length can be right, before a byte of the body is read. Raises FetchFailed."""
    announced = response.headers.get("content-length", "")
    if not announced.isdigit():
        return
    whole = part.size + int(announced[:19])
    encoded = response.headers.get("content-encoding", "identity").lower() not in ("identity", "")
    if want.length is not None and whole != want.length and not encoded:
        raise FetchFailed(FetchReason.WRONG_LENGTH, f"the server announces {whole} bytes, not {want.length}", url)
    want.require_room(url, whole)


def _same(before: Validators, now: Validators) -> bool:
    pairs = (
        (before.etag, now.etag),
        (before.total_bytes, now.total_bytes),
        (before.last_modified if before.etag is None else None, now.last_modified),
    )
    return all(old is None or new is None or old == new for old, new in pairs)


def _total(headers: Mapping[str, str]) -> int | None:
    found = _CONTENT_RANGE.match(headers.get("content-range", ""))
    if found is not None:
        return int(found.group(3)) if found.group(3) != "*" else None
    announced = headers.get("content-length", "")
    return int(announced[:19]) if announced.isdigit() else None
