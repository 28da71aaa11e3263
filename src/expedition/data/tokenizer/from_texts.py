"""A compact tokenizer from files of text: the entries of Qwen's vocabulary that they use most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from expedition.data.tokenizer.compact import compact, count_ids
from expedition.data.tokenizer.qwen import qwen_vocabulary
from expedition.data.tokenizer.tokenizer import Tokenizer
from expedition.errors import InputError

_CHUNK_BYTES = 1 << 20


def texts_of(paths: Sequence[Path]) -> Iterator[str]:
    """Text of files and of every file below folders, in order of name, at most a megabyte at a time.

    Bytes that are no UTF-8 become U+FFFD. Raises InputError for a path that is not there.
    """
    for path in paths:
        if not path.exists():
            raise InputError("there is no such file or folder", where=str(path))
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if not file.is_file():
                continue
            with file.open(encoding="utf-8", errors="replace", newline="") as stream:
                while text := stream.read(_CHUNK_BYTES):
                    yield text


def compact_from_texts(paths: Sequence[Path], entries: int, action_bins: int = 256) -> Tokenizer:
    """At most `entries` entries, chosen by how often the texts use them. Deterministic. Raises InputError, UsageError."""
    whole = Tokenizer(qwen_vocabulary())
    counts = np.zeros(len(whole.vocabulary), np.int64)
    for text in texts_of(paths):
        counts += count_ids([whole.encode(text)], len(counts))
    if not counts.any():
        raise InputError("there is no text to choose entries by", where=", ".join(map(str, paths)))
    return Tokenizer(compact(whole.vocabulary, counts, entries), action_bins=action_bins)
