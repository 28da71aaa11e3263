"""Hashes of the parts of a file of tensors, so that damage has a name: which file, which tensor, which bytes.

A range is the header, or at most `RANGE_BYTES` of one entry. The ranges of a file cover it from end to end, so hashes
of all ranges that match say as much as the hash of the file, and can be checked by many threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from expedition.errors import InputError
from expedition.train.saving.tensor_file import read_entries
from expedition.workspace.hashes import sha256_file
from expedition.workspace.store import NotFound, Store

SCHEMA = "train.checkpoint.ranges/1"
HEADER = "header"
RANGE_BYTES = 16 << 20
WINDOW_BYTES = 32 << 20
"""Neighbouring ranges are read together up to about so many bytes: small tensors are no requests of their own."""
THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes [begin, end) of a file, what they hold (an entry's name or `HEADER`) and their SHA-256."""

    begin: int
    end: int
    holds: str
    sha256: str


def hash_ranges(path: Path) -> tuple[str, list[Range]]:
    """(SHA-256 of the file, its ranges) of a file that was just written."""
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDONLY)
    try:
        header, entries = read_entries(lambda start, length: os.pread(descriptor, length, start), size, str(path))
        spans = [(0, header, HEADER)]
        for entry in entries:
            begins = range(entry.begin, entry.end, RANGE_BYTES)
            spans += [(begin, min(begin + RANGE_BYTES, entry.end), entry.name) for begin in begins]

        def hashed(span: tuple[int, int, str]) -> Range:
            begin, end, holds = span
            return Range(begin, end, holds, hashlib.sha256(os.pread(descriptor, end - begin, begin)).hexdigest())

        with ThreadPoolExecutor(THREADS, "checkpoint hashes") as pool:
            whole = pool.submit(sha256_file, path)
            ranges = list(pool.map(hashed, spans))
            return whole.result(), ranges
    finally:
        os.close(descriptor)


def ranges_json(files: dict[str, list[Range]]) -> dict[str, Any]:
    """The content of a file of ranges."""
    rows = {file: [[r.begin, r.end, r.holds, r.sha256] for r in ranges] for file, ranges in files.items()}
    return {"schema": SCHEMA, "files": rows}


def ranges_from(raw: dict[str, Any], where: str) -> dict[str, list[Range]]:
    """Inverse of `ranges_json`. Raises InputError where it is none, or where the ranges of a file leave a gap."""
    try:
        files = {str(file): [Range(*row) for row in rows] for file, rows in raw["files"].items()}
        for file, ranges in files.items():
            ends = [0, *(int(found.end) for found in ranges)]
            if ends[:-1] != [found.begin for found in ranges]:
                raise ValueError(f"the ranges of {file} leave a gap")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not a readable table of ranges: {error}", where=where) from error
    return files


def damage(store: Store, folder: str, files: dict[str, list[Range]]) -> str | None:
    """What is wrong with these files, in one sentence: the damaged ranges by file and tensor; None if nothing is.

    Reads everything once, in bounded memory (`THREADS` × `WINDOW_BYTES`).
    """
    work = [(file, window) for file, ranges in sorted(files.items()) for window in _windows(ranges)]
    with ThreadPoolExecutor(THREADS, "checkpoint check") as pool:
        bad: dict[str, list[Range]] = {}
        for (file, _), found in zip(work, pool.map(partial(_check, store, folder), work), strict=True):
            bad.setdefault(file, []).extend(found)
    sentences = [_sentence(file, ranges) for file, ranges in bad.items() if ranges]
    return "; ".join(sentences) or None


def _windows(ranges: Sequence[Range]) -> Iterator[list[Range]]:
    window: list[Range] = []
    for found in ranges:
        if window and found.end - window[0].begin > WINDOW_BYTES:
            yield window
            window = []
        window.append(found)
    if window:
        yield window


def _check(store: Store, folder: str, work: tuple[str, list[Range]]) -> list[Range]:
    file, window = work
    begin = window[0].begin
    try:
        data = memoryview(store.read_range(f"{folder}/{file}", begin, window[-1].end - begin))
    except NotFound:
        return window
    return [
        found
        for found in window
        if hashlib.sha256(data[found.begin - begin : found.end - begin]).hexdigest() != found.sha256
    ]


def _sentence(file: str, bad: Iterable[Range]) -> str:
    named = [f"{found.holds} (bytes {found.begin}–{found.end - 1})" for found in bad]
    more = f" and {len(named) - 3} more ranges" if len(named) > 3 else ""
    return f"{file} does not match its hash: {', '.join(named[:3])}{more}"
