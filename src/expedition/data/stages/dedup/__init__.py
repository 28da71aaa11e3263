"""dedup: copies found, exactly and nearly, in text, pictures and sound; one of each is kept by a stated rule.

Why a room: finding copies needs all documents at once. It is written as pure pieces for the engine's exchange
(rows with keys, a group's edges) and as an in-memory driver over the same pieces.
Verbs (all that other rooms may call):
    dedup_plan(table, rule) -> pa.Table     id, duplicate_of, reason of each copy to drop; pure
    find_duplicates(table, rule) -> list[Duplicate]     the same as values
    exact_rows(table) -> pa.Table, band_rows(table, rule) -> pa.Table      rows with a `key` for the exchange
    exact_edges(group), near_edges(group, rule) -> list[Edge]              what a group of one key says
    resolve(edges, ranks) -> list[Duplicate]   connected components, best copy kept
Seams: none.
Imports: data.stages.image (hash distance).  Imported by: data (build), data.quality.
Reads / writes in the workspace: nothing.
Invariants: the order of documents does not matter [test_order_does_not_matter]; every pair dropped as near is verified
[test_unrelated_texts_are_never_dropped].
Read in this order:
    tokens.py       text as comparable tokens and hashed n-grams, for dedup and decontamination
    near.py         MinHash, bands, verification
    exact.py        content keys
    media.py        pictures and sounds
    resolve.py      components and the best copy
    find.py         the driver
Try: pytest tests/data/stages/test_dedup.py
"""

from expedition.data.stages.dedup.exact import exact_edges, exact_rows
from expedition.data.stages.dedup.find import dedup_plan, find_duplicates
from expedition.data.stages.dedup.near import NearRule, band_rows, near_edges
from expedition.data.stages.dedup.resolve import Duplicate, Edge, resolve

__all__ = [
    "Duplicate",
    "Edge",
    "NearRule",
    "band_rows",
    "dedup_plan",
    "exact_edges",
    "exact_rows",
    "find_duplicates",
    "near_edges",
    "resolve",
]
