"""How often a document stands in one pass over its kind: a decided weight by kind, source and language.

A weight of 2.3 is two copies of every document, and a third of those three in ten whose hash says so. Which ones is a
function of the document's id alone: the same in every build, order and run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from expedition.data.loading.index import DocumentPart
from expedition.data.loading.permutation import derive_key, mix
from expedition.data.records import KINDS

IntArray = npt.NDArray[np.int64]

_KEY = derive_key("weights")


def cell_name(kind: str, source: str, language: str) -> str:
    """Name of a cell of the mix in `weights`; kinds and languages hold no slash."""
    return f"{kind}/{source}/{language}"


def copies(
    part: DocumentPart, weights: Mapping[str, float], excluded: tuple[str, ...] = (), shards: Sequence[str] = ()
) -> IntArray:
    """How often each document of a part is packed: its cell's weight (1 where none is given), 0 if it is excluded.

    `excluded` holds names of sources, ids of documents and paths of shards; `shards` are the version's paths.
    """
    out = np.ones(len(part.tokens), dtype=np.int64)
    if weights:
        weight = np.ones(len(part.tokens), dtype=np.float64)
        code = (part.kind * len(part.sources) + part.source) * len(part.languages) + part.language
        for value in np.unique(code).tolist():
            rest, language = divmod(value, len(part.languages))
            kind, source = divmod(rest, len(part.sources))
            name = cell_name(KINDS[kind], part.sources[source], part.languages[language])
            weight[code == value] = weights.get(name, 1.0)
        whole = np.floor(weight)
        out = whole.astype(np.int64) + (fractions(part) < weight - whole)
    if excluded:
        names = set(excluded)
        sources = [number for number, name in enumerate(part.sources) if name in names]
        paths = [number for number in np.unique(part.shard).tolist() if shards and shards[number] in names]
        gone = np.isin(part.source, sources) | np.isin(part.shard, paths)
        if names - set(part.sources) - set(shards):
            gone |= np.fromiter((name in names for name in part.ids), dtype=bool, count=len(out))
        out[gone] = 0
    return out


def fractions(part: DocumentPart) -> npt.NDArray[np.float64]:
    """A number in [0, 1) of each document, from the bytes of its id."""
    lengths = np.diff(part.id_first)
    out = np.empty(len(lengths), dtype=np.float64)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        words = np.zeros((len(chosen), -(-length // 8) * 8), dtype=np.uint8)
        words[:, :length] = part.id_bytes[part.id_first[chosen][:, None] + np.arange(length)]
        value = np.full(len(chosen), _KEY ^ length, dtype=np.uint64)
        for word in words.view("<u8").T:
            value = mix(value ^ word)
        out[chosen] = (value >> np.uint64(11)).astype(np.float64) / float(1 << 53)
    return out
