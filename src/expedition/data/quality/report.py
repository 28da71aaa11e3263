"""Both comparisons as one report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from expedition.data.quality.labelled import labelled_report
from expedition.data.quality.seen import Seen
from expedition.data.quality.truth import compare_with_truth
from expedition.errors import InputError


def quality_report(
    truth: Iterable[Mapping[str, Any]] | Path | None,
    seen: Seen,
    labelled_dir: Path | str | None = None,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """{truth: {dedup, near_dedup, pii, language, corrupt, misaligned, leak, unapproved, toxicity}, labelled: {pii_en,
    pii_zh, dedup, languages, toxicity}}; None where there is no evidence.

    `truth` is a truth file or its entries. Raises InputError for a truth file that is no JSON lines.
    """
    entries = read_truth(truth) if isinstance(truth, Path) else list(truth or ())
    return {"truth": compare_with_truth(entries, seen, data_dir), "labelled": labelled_report(labelled_dir)}


def read_truth(path: Path) -> list[dict[str, Any]]:
    """Entries of a truth file, one JSON object a line."""
    entries = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            entries.append({"kind": entry["kind"], "path": entry["path"], **entry})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"not an entry of a truth file: {error}", where=f"{path}:{number}", fix="make the sample world again"
            ) from None
    return entries
