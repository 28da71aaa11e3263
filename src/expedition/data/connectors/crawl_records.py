"""Single records of a crawl, by range, into one WARC file: each verified, each a gzip member of its own.

A bundle's plan is a list of captures; its file grows record by record beside the final name, with a journal of how far
it is, so that a kill costs the records of one range. What a record's own archived headers or page reserve is honoured.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from expedition.data.connectors import opt_out
from expedition.data.connectors.archive_base import ArchiveBase
from expedition.data.connectors.client import Downloaded
from expedition.data.connectors.crawl_index import Capture
from expedition.data.connectors.failure import FetchFailed, FetchReason
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors, write_atomic

_GAP_BYTES = 32 << 10
_RANGE_BYTES = 8 << 20
"""Records that lie this close are asked for in one range of at most so many bytes."""
_HEAD_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Bundle:
    """A plan: captures sorted by place, and the name that the file will have."""

    key: str
    captures: tuple[Capture, ...]

    def write(self, folder: Path) -> None:
        """Keep the plan, so that a later run need not ask the index again."""
        lines = b"".join(json.dumps(asdict(capture)).encode() + b"\n" for capture in self.captures)
        write_atomic(plan_path(folder, self.key), gzip.compress(lines, mtime=0))


def plan_path(folder: Path, key: str) -> Path:
    """Where a bundle's plan is kept."""
    return folder / f"{key}.plan.jsonl.gz"


def read_plan(folder: Path, key: str) -> Bundle:
    """A plan that was kept. Raises InputError where it is damaged."""
    path = plan_path(folder, key)
    try:
        rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        return Bundle(key, tuple(Capture(**{**row, "languages": tuple(row["languages"])}) for row in rows))
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        fix = "delete this file's folder and run the same command again: the index is asked anew"
        raise InputError(f"a plan that cannot be read: {error}", where=str(path), fix=fix) from None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one record: its bytes, or why it is left out."""

    capture: Capture
    member: bytes | None
    reason: FetchReason | None = None
    detail: str = ""


def fetch_bundle(
    base: ArchiveBase,
    bundle: Bundle,
    target: Path,
    refused: Path,
    agent: str,
    *,
    honour_opt_out: bool,
    unpacked_bytes: int,
) -> tuple[Downloaded, dict[str, int]]:
    """Bring a bundle's records to `target`; those left out are listed in `refused` (JSON lines), with their reason.

    Returns the file, and how many records were kept and left out by reason. Raises FetchFailed where the archive
    cannot be read now, or where no record was left; StorageError.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        growing = _Growing(target)
        for number, group in enumerate(ranges(bundle.captures)):
            if number >= growing.groups:
                found = [
                    check_record(capture, data, agent, honour_opt_out=honour_opt_out, unpacked_bytes=unpacked_bytes)
                    for capture, data in _read_group(base, group)
                ]
                growing.add(found)
        counts = growing.counts()
        write_atomic(refused, growing.refused())
        if not counts.get("kept"):
            growing.discard()
            raise FetchFailed(*_nothing_left(counts), base.address(bundle.captures[0].filename))
        return growing.commit(base.address(bundle.captures[0].filename)), counts


def ranges(captures: Sequence[Capture]) -> Iterator[tuple[Capture, ...]]:
    """Captures, sorted by file and offset, cut into groups that one range request covers. Pure."""
    group: list[Capture] = []
    for capture in captures:
        if group:
            end = group[-1].offset + group[-1].length
            near = capture.filename == group[0].filename and 0 <= capture.offset - end <= _GAP_BYTES
            if not near or capture.offset + capture.length - group[0].offset > _RANGE_BYTES:
                yield tuple(group)
                group = []
        group.append(capture)
    if group:
        yield tuple(group)


def check_record(
    capture: Capture, data: bytes | FetchFailed, agent: str, *, honour_opt_out: bool, unpacked_bytes: int
) -> Verdict:
    """Whether `data` is the record that the index promised, and may be kept. Pure.

    One whole gzip member, a response, of that URL and that payload digest, with no opt-out in its archived headers or
    its page.
    """
    if isinstance(data, FetchFailed):
        return Verdict(capture, None, data.reason, data.detail)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, unpacked_bytes)
    except zlib.error as error:
        return Verdict(capture, None, FetchReason.WRONG_CONTENT, f"not a gzip member: {error}")
    if not unpacker.eof:
        cut = FetchReason.BOMB if unpacker.unconsumed_tail else FetchReason.TRUNCATED
        return Verdict(capture, None, cut, f"no end after {len(text)} bytes")
    if unpacker.unused_data:
        return Verdict(capture, None, FetchReason.WRONG_CONTENT, "more than one gzip member in the range")
    head, _, block = text.partition(b"\r\n\r\n")
    fields = dict(_headers(head))
    problem = _identity_problem(head, fields, capture)
    if problem is not None:
        return Verdict(capture, None, FetchReason.WRONG_CONTENT, problem)
    signal = _reserved(block, agent) if honour_opt_out else None
    if signal is not None:
        return Verdict(capture, None, FetchReason.OPTED_OUT, signal)
    return Verdict(capture, data)


def _identity_problem(head: bytes, fields: dict[str, str], capture: Capture) -> str | None:
    if not head.startswith(b"WARC/"):
        return "no WARC record"
    if fields.get("warc-type") not in ("response", "revisit"):
        return f"a {fields.get('warc-type')} record, not a response"
    found = fields.get("warc-target-uri", "").strip("<>")
    if found != capture.url:
        return f"the record is of {found[:200]}"
    digest = fields.get("warc-payload-digest", "").removeprefix("sha1:")
    if digest and capture.digest and digest != capture.digest:
        return f"payload digest {digest}, not {capture.digest}"
    return None


def _reserved(block: bytes, agent: str) -> str | None:
    """The opt-out in an archived response: the status line is the first of its headers."""
    head, _, body = block.partition(b"\r\n\r\n")
    headers = list(_headers(head[:_HEAD_BYTES]))
    content = next((value for name, value in headers if name == "content-type"), "")
    found = opt_out.in_headers(headers, agent, content)
    if found is None and "html" in content.lower():
        found = opt_out.in_page(body[: opt_out.HEAD_BYTES], agent)
    return found


def _headers(head: bytes) -> Iterator[tuple[str, str]]:
    lines = re.sub(r"\r?\n[ \t]+", " ", head.decode("utf-8", "replace")).splitlines()
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _read_group(base: ArchiveBase, group: Sequence[Capture]) -> Iterator[tuple[Capture, bytes | FetchFailed]]:
    first, last = group[0], group[-1]
    try:
        data = base.read_range(first.filename, first.offset, last.offset + last.length - first.offset)
    except FetchFailed as failure:
        # A file that is not there, or shorter than the index says, stays so; anything else (403 too, which the
        # service also answers to too many requests) is tried again by the next run.
        if failure.status not in (404, 410, 416) and failure.reason is not FetchReason.WRONG_LENGTH:
            raise
        yield from ((capture, failure) for capture in group)
        return
    for capture in group:
        start = capture.offset - first.offset
        yield capture, data[start : start + capture.length]


def _nothing_left(counts: dict[str, int]) -> tuple[FetchReason, str]:
    reasons = {name: count for name, count in counts.items() if name != "kept"}
    main = max(reasons, key=lambda name: reasons[name], default=str(FetchReason.WRONG_CONTENT))
    return FetchReason(main), f"none of {sum(reasons.values())} records could be kept"


class _Growing:
    """A bundle's file on its way: records, and a journal line a group with the length that is durable."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.with_name(f"{ASIDE_PREFIX}{target.name}.part")
        self._journal = target.with_name(f"{ASIDE_PREFIX}{target.name}.journal")
        self._lines = self._read()
        self.groups = len(self._lines)
        self._size = int(self._lines[-1]["bytes"]) if self._lines else 0
        self.resumed_from = self._size
        self._file = self._part.open("r+b" if self._part.exists() else "w+b")
        self._file.truncate(self._size)
        self._file.seek(self._size)

    def add(self, verdicts: Sequence[Verdict]) -> None:
        """Make a group durable: its records, then the journal's line about them."""
        members = b"".join(verdict.member for verdict in verdicts if verdict.member is not None)
        self._file.write(members)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._size += len(members)
        refused = [
            {"url": one.capture.url, "file": one.capture.filename, "offset": one.capture.offset, "reason": str(one.reason),
             "detail": one.detail}
            for one in verdicts
            if one.member is None
        ]  # fmt: skip
        line = {"bytes": self._size, "kept": len(verdicts) - len(refused), "refused": refused}
        with self._journal.open("ab") as journal:
            journal.write(json.dumps(line).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._lines.append(line)

    def counts(self) -> dict[str, int]:
        """Records kept, and left out by reason."""
        counts: dict[str, int] = {"kept": sum(int(line["kept"]) for line in self._lines)}
        for line in self._lines:
            for row in line["refused"]:
                counts[row["reason"]] = counts.get(row["reason"], 0) + 1
        return counts

    def refused(self) -> bytes:
        """A JSON line for each record left out."""
        return b"".join(json.dumps(row).encode() + b"\n" for line in self._lines for row in line["refused"])

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)

    def commit(self, url: str) -> Downloaded:
        """Give the file its name."""
        self._file.seek(0)
        digest = hashlib.sha256()
        while piece := self._file.read(1 << 20):
            digest.update(piece)
        self._file.close()
        commit_file(self._part, self._target)
        self._journal.unlink(missing_ok=True)
        return Downloaded(
            url=url, final_url=url, bytes=self._size, sha256=digest.hexdigest(), content_type="application/warc",
            resumed_from=self.resumed_from,
        )  # fmt: skip

    def _read(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        try:
            content = self._journal.read_bytes()
            size = self._part.stat().st_size
        except OSError:
            return []
        for line in content.splitlines(keepends=True):
            try:
                row = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                row = None
            if row is None or int(row["bytes"]) > size:
                break
            lines.append(row)
        # What a kill cut off must not stand before the next line.
        kept = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        if kept != content:
            write_atomic(self._journal, kept)
        return lines
