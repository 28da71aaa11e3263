"""Every pair of similar documents with its similarity: what a person looks at, where a build needs components only.

Pairs are proposed as in a build. The similarity of a pair is the Jaccard similarity of token 5-grams. In scripts without
spaces a pair a little below the threshold is measured once more as it is written, and the larger counts: there every
fifth character or so is punctuation, which normalisation takes away though two texts share it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from expedition.data.stages.dedup.candidates import Pairs, Work, candidate_pairs
from expedition.data.stages.dedup.exact import exact_pairs
from expedition.data.stages.dedup.fingerprint import Columns, band_matrix, exact_halves, fine_of, fingerprints
from expedition.data.stages.dedup.near import NearRule, Sketches, similarities
from expedition.data.stages.dedup.tokens import is_unspaced

PAIR_RULE: Final = NearRule(threshold=0.8)
SIMILAR_SCHEMA: Final = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("similarity", pa.float64())])
_BELOW: Final = 0.1
"""How far below the threshold a pair is measured as written."""
_MOST_WRITTEN: Final = 1 << 20
"""Characters of a text above which it is not measured as written."""
_AT_ONCE: Final = 4096


def similar_pairs(documents: Columns, rule: NearRule = PAIR_RULE) -> pa.Table:
    """Pairs (a, b, similarity) of rows whose similarity reaches the threshold, a < b, sorted; pure.

    Exact copies have similarity 1. In a group of more than `candidates.ALL_PAIRS` copies each is paired with a few of
    them only, which joins them all the same. Holds about 2 KB a document.
    """
    prints = pa.Table.from_batches([fingerprints(documents, rule)])
    exact = _exact(prints)
    wide = replace(rule, threshold=rule.threshold - _BELOW)
    proposed = _without(_proposed(prints, rule), exact)
    found = _similarities(prints, proposed, wide)
    doubtful = np.flatnonzero((found >= wide.threshold) & (found < rule.threshold))
    for place in doubtful.tolist():
        a, b = proposed[place].tolist()
        found[place] = max(found[place], similarity_as_written(documents.texts[a], documents.texts[b], rule))
    near = found >= rule.threshold
    pairs = np.concatenate([exact, proposed[near]])
    values = np.concatenate([np.ones(len(exact)), found[near]])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    columns = [pairs[order, 0], pairs[order, 1], values[order]]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=SIMILAR_SCHEMA)


def similarity_as_written(a: str, b: str, rule: NearRule = PAIR_RULE) -> float:
    """Jaccard similarity of n-grams of all characters but spaces; 0 unless both texts are of scripts without spaces."""
    if max(len(a), len(b)) > _MOST_WRITTEN or not (is_unspaced(a) and is_unspaced(b)):
        return 0.0
    first, second = (_character_ngrams("".join(text.split()), rule.shingle_tokens) for text in (a, b))
    return len(first & second) / max(1, len(first | second))


def _character_ngrams(text: str, size: int) -> set[str]:
    return {text[start : start + size] for start in range(len(text) - size + 1)}


def _exact(prints: pa.Table) -> Pairs:
    """Pairs of documents with one content key: all of a small group, a few a document of a large one."""
    rows, high, low = exact_halves(prints)
    alike = exact_pairs(high, low, rows)
    if not len(alike):
        return alike
    # The number of the first with a key names the key: 128 bits without a collision of 64.
    firsts = np.unique(alike[:, 0])
    keys, numbers = np.concatenate([firsts, alike[:, 0]]), np.concatenate([firsts, alike[:, 1]])
    order = np.lexsort((numbers, keys))
    fine = np.zeros(len(order), np.uint32)
    return candidate_pairs(keys[order].astype(np.uint64), numbers[order], fine, Work())


def _proposed(prints: pa.Table, rule: NearRule) -> Pairs:
    rows, bands = band_matrix(prints, rule)
    keys, numbers, fine = bands.ravel(), np.repeat(rows, rule.bands), fine_of(bands).ravel()
    order = np.lexsort((numbers, keys))
    return candidate_pairs(keys[order], numbers[order], fine[order], Work())


def _without(pairs: Pairs, others: Pairs) -> Pairs:
    """The pairs that are not among the others."""
    if not len(pairs) or not len(others):
        return pairs
    most = int(max(pairs.max(), others.max())) + 1
    return pairs[~np.isin(pairs[:, 0] * most + pairs[:, 1], others[:, 0] * most + others[:, 1])]


def _similarities(prints: pa.Table, pairs: Pairs, rule: NearRule) -> npt.NDArray[np.float64]:
    column, found = prints.column("sketch"), [np.empty(0)]
    for start in range(0, len(pairs), _AT_ONCE):
        numbers, places = np.unique(pairs[start : start + _AT_ONCE], return_inverse=True)
        places = places.reshape(-1, 2)
        sketches = Sketches.of(column.take(pa.array(numbers)).chunks)
        found.append(similarities(sketches, places[:, 0], places[:, 1], rule))
    return np.concatenate(found)
