"""Tokens that every machine with Python and torch can make again: the Python files of both, by the package's tokenizer.

A corpus is a .npz of `tokens` (uint16), `vocabulary` (rows of the embedding table) and `about` (JSON: what it was made of).
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.tokenizer import Tokenizer
from expedition.data.tokenizer.from_texts import compact_from_texts
from expedition.data.tokenizer.specials import END_OF_TEXT
from expedition.workspace.hashes import sha256_bytes

ENTRIES = 16_000
TOKENS = 9_500_000
SKIPPED = ("test", "tests", "site-packages", "dist-packages", "idlelib", "__pycache__")


@dataclass(frozen=True, slots=True)
class Corpus:
    """One long row of tokens."""

    tokens_N: npt.NDArray[np.uint16]
    vocabulary: int
    about: dict[str, Any]

    def windows(self, seed: int, rows: int, length: int, step: int) -> npt.NDArray[np.int64]:
        """[rows, length + 1]: the step's windows, in an order that the seed decides; each token once in a pass."""
        count = (len(self.tokens_N) - 1) // length
        wanted = np.arange(step * rows, (step + 1) * rows)
        places = [self._order(seed, int(index) // count, count)[int(index) % count] for index in wanted]
        return np.stack([self.tokens_N[place * length : (place + 1) * length + 1] for place in places]).astype(np.int64)

    def _order(self, seed: int, number: int, count: int) -> npt.NDArray[np.int64]:
        key = (seed, number, count)
        if key not in _ORDERS:
            _ORDERS[key] = np.random.Generator(np.random.Philox(key=[seed, number])).permutation(count)
        return _ORDERS[key]


_ORDERS: dict[tuple[int, int, int], npt.NDArray[np.int64]] = {}


def python_files() -> list[Path]:
    """Source files of the standard library and of torch, without tests, in an order that their names decide."""
    import torch

    folders = [Path(sysconfig.get_paths()["stdlib"]), Path(torch.__file__).parent]
    named = [
        (str(file.relative_to(folder)), file)
        for folder in folders
        for file in folder.rglob("*.py")
        if not set(SKIPPED) & set(file.relative_to(folder).parts)
    ]
    names = np.array(sorted(name for name, _ in named))
    by_name = dict(named)
    return [by_name[str(name)] for name in np.random.Generator(np.random.Philox(key=0)).permutation(names)]


def make_corpus(path: Path, tokens: int = TOKENS, entries: int = ENTRIES) -> Corpus:
    """Read the files until there are `tokens` tokens; write `path`."""
    files = python_files()
    tokenizer = compact_from_texts(files, entries)
    pieces: list[npt.NDArray[Any]] = []
    read = left = 0
    for piece, size in _encoded(tokenizer, files):
        read, left = read + size, left + len(piece)
        pieces.append(piece)
        if left >= tokens:
            break
    flat = np.concatenate(pieces)[:tokens].astype(np.uint16)
    about = {
        "text": "Python files of the standard library and of torch, shuffled by file",
        "python": python_version(),
        "torch": version("torch"),
        "files": len(pieces),
        "bytes": read,
        "tokens": len(flat),
        "tokenizer": tokenizer.fingerprint,
        "sha256": sha256_bytes(flat.tobytes()),
    }
    np.savez_compressed(path, tokens=flat, vocabulary=tokenizer.size, about=json.dumps(about))
    return Corpus(flat, tokenizer.size, about)


def _encoded(tokenizer: Tokenizer, files: list[Path]) -> Iterator[tuple[npt.NDArray[Any], int]]:
    end = tokenizer.special(END_OF_TEXT)
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        yield np.append(tokenizer.encode(text), end), len(text.encode())


def read_corpus(path: Path) -> Corpus:
    """What `make_corpus` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return Corpus(stored["tokens"], int(stored["vocabulary"]), json.loads(str(stored["about"])))
