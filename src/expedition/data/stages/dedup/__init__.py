"""dedup: copies found, exactly and nearly, in text, pictures and sound; one of each is kept by a stated rule.

Why a room: finding copies needs all documents at once. It is written as pure pieces over small arrays, which an
in-memory driver here and the exchanges of `versions.repeats` use alike, so that both find the same.
Verbs (all that other rooms may call):
    dedup_plan(table, rule) -> pa.Table     id, duplicate_of, reason of each copy to drop; pure
    find_duplicates(table, rule) -> list[Duplicate]     the same as values
    find_copies(prints, rule, preference) -> Dropped    the same over fingerprints, by number
    fingerprints(documents, rule) -> batch              what is kept of documents to compare them
    similar_pairs(documents, rule) -> pa.Table          a, b, similarity of every near pair
    exact_pairs, candidate_pairs, verified, resolve     the pieces
    Columns, Dropped, Duplicate, NearRule               the nouns
Seams: none.
Imports: data.stages.image (hash distance).  Imported by: data (build), data.quality.
Reads / writes in the workspace: nothing.
Invariants: the order of documents does not matter [test_order_does_not_matter]; every pair dropped as near is verified
[test_unrelated_texts_are_never_dropped]; a group of n costs at most n times a constant
[test_a_large_group_costs_a_bounded_number_of_pairs_a_row].
Read in this order:
    tokens.py       text as comparable tokens and hashed n-grams, for dedup and decontamination
    exact.py        content keys
    candidates.py   which pairs are compared
    near.py         MinHash, bands, verification
    fingerprint.py  what is kept of a document
    media.py        pictures and sounds
    line_scan.py    kernel: lines as numbers
    lines.py        lines that repeat over a site
    resolve.py      components and the best copy
    find.py         the driver
    pairs.py        every pair with its similarity
Try: pytest tests/data/stages/test_dedup.py
"""

from expedition.data.stages.dedup.candidates import candidate_pairs
from expedition.data.stages.dedup.exact import exact_pairs
from expedition.data.stages.dedup.find import dedup_plan, find_copies, find_duplicates
from expedition.data.stages.dedup.fingerprint import Columns, fingerprints
from expedition.data.stages.dedup.near import NearRule, verified
from expedition.data.stages.dedup.pairs import similar_pairs
from expedition.data.stages.dedup.resolve import Dropped, Duplicate, resolve

__all__ = [
    "Columns",
    "Dropped",
    "Duplicate",
    "NearRule",
    "candidate_pairs",
    "dedup_plan",
    "exact_pairs",
    "find_copies",
    "find_duplicates",
    "fingerprints",
    "resolve",
    "similar_pairs",
    "verified",
]
