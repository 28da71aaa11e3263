"""Character n-gram profiles: a naive Bayes classifier of some five hundred languages, most of them small.

A profile is a language in a script. The score of an n-gram for a language is its log-likelihood ratio against the mean
of all languages of the script, smoothed by a Dirichlet prior with that mean (Zhai and Lafferty 2004, section 3.2).
N-grams that the file does not hold say nothing. `training.py` makes the file.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from expedition.data.stages.language.ngrams import grams_of
from expedition.errors import InputError

FORMAT: Final = 2
_BUCKET_BITS: Final = 20

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScriptBlock:
    """The profiles of one script: `score_VL` float32 in nats by n-gram and profile, `norm_L` what each known n-gram of
    a text costs."""

    tags: tuple[str, ...]
    row_of_gram: npt.NDArray[np.int32]
    score_VL: Array
    norm_L: Array


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a batch of texts in one script.

    `ratio_BL` nats by text and profile; `known_B` n-grams that the file holds, `all_B` n-grams of the text, `fit_B`
    share of its n-grams of three and more characters that the best profile holds.
    """

    tags: tuple[str, ...]
    ratio_BL: Array
    known_B: Array
    all_B: Array
    fit_B: Array


class Profiles:
    """A loaded file. Read-only after construction; safe to share between threads."""

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.max_n: Final = int(header["max_n"])
        self.tags: Final = tuple(header["tags"])
        self._hash_V: Final = arrays["hash"].astype(np.uint32)
        self._scripts: Final = tuple(header["scripts"])
        self._header: Final = header
        self._arrays: Final = arrays
        self._row_of_bucket: Final = np.full(1 << _BUCKET_BITS, -1, np.int32)
        self._row_of_bucket[self._hash_V >> np.uint32(32 - _BUCKET_BITS)] = np.arange(len(self._hash_V))
        self._blocks: dict[str, ScriptBlock] = {}
        scripts: dict[str, frozenset[str]] = {}
        for tag, script in zip(self.tags, self._scripts, strict=True):
            scripts[tag] = scripts.get(tag, frozenset()) | {script}
        self._scripts_of: Final = scripts

    @property
    def ngrams(self) -> int:
        """N-grams that the file holds."""
        return len(self._hash_V)

    def tags_in(self, script: str) -> tuple[str, ...]:
        """Tags of the profiles in a script."""
        return tuple(tag for tag, name in zip(self.tags, self._scripts, strict=True) if name == script)

    def scripts_of(self, tag: str) -> frozenset[str]:
        """Scripts in which the language has a profile."""
        return self._scripts_of.get(tag, frozenset())

    def score(self, texts: Sequence[str], script: str) -> Scores:
        """Scores of texts that are all written in `script`; fewer than 65,536 at a time. Texts hold no line feed."""
        block = self._block(script)
        grams = grams_of(texts, self.max_n)
        rows = self._row_of_bucket[grams.hash_G >> np.uint32(32 - _BUCKET_BITS)]
        known = (rows >= 0) & (self._hash_V[rows] == grams.hash_G)
        local = block.row_of_gram[rows]
        known &= local >= 0
        size = len(texts)
        line, column = grams.line_G[known].astype(np.uint16), local[known]
        known_B = np.bincount(line, minlength=size).astype(np.float32)
        # Repeated columns in a row are summed by the product itself; an order by line is all that it needs.
        first = np.concatenate([[0], np.cumsum(known_B, dtype=np.int64)]).astype(np.int32)
        columns = column[np.argsort(line, kind="stable")]
        counts = sparse.csr_matrix(
            (np.ones(len(columns), np.float32), columns, first), shape=(size, len(block.score_VL))
        )
        ratio_BL = counts @ block.score_VL - known_B[:, None] * block.norm_L
        return Scores(
            block.tags,
            ratio_BL,
            known_B,
            np.bincount(grams.line_G, minlength=size).astype(np.float32),
            _fit(grams.line_G, grams.n_G, np.where(known, local, -1), block, ratio_BL),
        )

    def _block(self, script: str) -> ScriptBlock:
        if script not in self._blocks:
            self._blocks[script] = self._unpacked(script)
        return self._blocks[script]

    def _unpacked(self, script: str) -> ScriptBlock:
        columns = np.flatnonzero(np.array(self._scripts) == script)
        local = np.full(len(self._scripts), -1, np.int32)
        local[columns] = np.arange(len(columns))
        lengths = self._arrays["length"].astype(np.int64)
        gram = np.repeat(np.arange(len(lengths)), lengths)
        column = local[self._arrays["profile"].astype(np.int64)]
        here = column >= 0
        rows, inverse = np.unique(gram[here], return_inverse=True)
        row_of_gram = np.full(len(lengths), -1, np.int32)
        row_of_gram[rows] = np.arange(len(rows))
        score = np.zeros((len(rows), len(columns)), np.float32)
        score[inverse, column[here]] = self._arrays["score"][here].astype(np.float32) * self._header["step"]
        return ScriptBlock(
            tuple(self.tags[number] for number in columns.tolist()),
            row_of_gram,
            score,
            self._arrays["norm"][columns].astype(np.float32),
        )


def _fit(
    line_G: npt.NDArray[np.int64],
    n_G: npt.NDArray[np.uint8],
    local_G: npt.NDArray[np.int32],
    block: ScriptBlock,
    ratio_BL: Array,
) -> Array:
    """Share of a text's long n-grams that its best profile has seen."""
    long = n_G >= 3
    line, local = line_G[long], local_G[long]
    best = ratio_BL.argmax(axis=1)
    seen = (local >= 0) & (block.score_VL[local, best[line]] > 0)
    size = len(ratio_BL)
    share = np.bincount(line[seen], minlength=size) / np.maximum(np.bincount(line, minlength=size), 1)
    found: Array = share.astype(np.float32)
    return found


def load_profiles(path: Path | Any) -> Profiles:
    """Read a profile file; nothing in it is unpickled. Raises InputError for a file that is none."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("header", "hash", "length", "profile", "score", "norm")}
            header = json.loads(bytes(arrays.pop("header")).decode())
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(
            f"no language model: {error}", where=str(path), fix="make one: expedition data train-language --help"
        ) from error
    if header.get("format") != FORMAT:
        raise InputError(
            f"language model of format {header.get('format')}, not {FORMAT}",
            where=str(path),
            fix="make it again: expedition data train-language --help",
        )
    return Profiles(header, arrays)


@functools.cache
def profiles_of(path: Path | None) -> Profiles:
    """The profiles of a file, or those that come with the package; read once a process. Raises InputError."""
    return load_profiles(path or importlib.resources.files(__package__) / "profiles.npz")
