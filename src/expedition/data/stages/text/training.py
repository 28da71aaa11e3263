"""Files of good and of bad texts into a file with a learned quality score."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from expedition.data.stages.text.learned import save_model, train_quality
from expedition.errors import InputError

MOST_TEXTS = 200_000
"""Texts of a class that are used, those with the smallest hashes: memory is about 30 kB a text of 4 kB."""


def train_quality_model(
    good: Path, bad: Path, out: Path, *, name: str = "quality", size_bits: int = 16
) -> dict[str, Any]:
    """Train on two files, write the model to `out`, return its card. Blocking, deterministic.

    Files are JSON lines {"text"} (`.jsonl`) or plain text, a text a line. Raises InputError with the line that is neither,
    or if a class has fewer than 20 different texts.
    """
    sets = [read_texts(path) for path in (good, bad)]
    told = "; ".join(f"{path.name} sha256 {_sha256(path)}" for path in (good, bad))
    model = train_quality(*sets, name=name, trained_on=told, size_bits=size_bits)
    return {**save_model(out, model), "out": str(out)}


def read_texts(path: Path) -> list[str]:
    """The texts of a file, at most `MOST_TEXTS` of them, chosen by hash."""
    texts: list[str] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    texts.append(_text(line, f"{path}:{number}") if path.suffix == ".jsonl" else line.strip())
    except UnicodeDecodeError as error:
        raise InputError(f"no UTF-8: {error.reason}", where=str(path)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(texts) > MOST_TEXTS:
        texts = sorted(texts, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())[:MOST_TEXTS]
    return texts


def _text(line: str, where: str) -> str:
    fix = 'each line is a JSON object with "text"'
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON: {error}", where=where, fix=fix) from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise InputError('no "text"', where=where, fix=fix)
    return str(row["text"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
