"""A file of lines into a file of language tags, a line each."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Final

from expedition.data.stages.language.cascade import identify_many
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors

_LINES: Final = 8192
"""Lines in memory at a time."""
_MAX_LINE_BYTES: Final = 1 << 16
"""Bytes of a line that are read; more do not change what is said of it."""


def identify_file(source: Path, out: Path, model: Path | None = None) -> dict[str, Any]:
    """Write the BCP-47 tag of each line of a UTF-8 file to `out`, one a line in the same order; "und" for a line in no
    language, an empty one too. Bytes that are no UTF-8 are replaced. Returns counts by tag.

    `model` as in `identify_many`. Raises InputError for a file that cannot be read.
    """
    counts: Counter[str] = Counter()
    started = time.process_time()
    if not source.is_file():
        raise InputError("no file there", where=str(source), fix="give a text file, a line each")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.parent / f"{ASIDE_PREFIX}{out.name[:100]}-{uuid.uuid4().hex[:8]}"
        try:
            with source.open("rb") as lines, aside.open("w", encoding="utf-8", newline="\n") as tags:
                while batch := _read(lines):
                    found = [guess.tag for guess in identify_many(batch, model)]
                    counts.update(found)
                    tags.write("".join(f"{tag}\n" for tag in found))
            commit_file(aside, out)
        finally:
            aside.unlink(missing_ok=True)
    total = counts.total()
    return {
        "lines": total,
        "languages": dict(counts.most_common()),
        "lines_per_cpu_s": round(total / max(time.process_time() - started, 1e-9)),
        "out": str(out),
    }


def _read(lines: Any) -> list[str]:
    """The next lines, each cut to `_MAX_LINE_BYTES`; empty at the end."""
    found: list[str] = []
    while len(found) < _LINES and (line := lines.readline(_MAX_LINE_BYTES)):
        found.append(line.decode("utf-8", "replace").rstrip("\r\n"))
        while line and not line.endswith(b"\n"):
            line = lines.readline(_MAX_LINE_BYTES)
    return found
