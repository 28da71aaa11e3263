"""Where the labelled sets lie that the figures are taken on."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "EXPEDITION_OPEN_SET"
DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data" / "open"


def open_set(given: Path | None = None) -> Path | None:
    """`given`, else the folder named by EXPEDITION_OPEN_SET (set by `python -m benchmarks.quality --open DIR`), else the
    default; None where that folder is absent: the caller's rows are then "unknown"."""
    folder = given or Path(os.environ.get(VARIABLE) or DEFAULT)
    return folder if folder.is_dir() else None
