"""The driver over one table in memory: exact first, then near among what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow as pa

from expedition.data.stages.dedup.exact import content_key, exact_edges
from expedition.data.stages.dedup.media import picture_edges
from expedition.data.stages.dedup.near import NEAR_KINDS, NearRule, band_keys, near_edges, shingles, signatures
from expedition.data.stages.dedup.resolve import Duplicate, Edge, Rank, resolve
from expedition.data.stages.dedup.tokens import Hashes, normalised

PLAN_SCHEMA = pa.schema([("id", pa.string()), ("duplicate_of", pa.string()), ("reason", pa.string())])


def dedup_plan(table: pa.Table, rule: NearRule | None = None, source_order: tuple[str, ...] = ()) -> pa.Table:
    """Which documents to drop.

    `table` has the columns id, source, kind, text, length, phash (string, may be null). Sources named in
    `source_order` are preferred in that order when a copy is chosen to stay; others follow, equal among themselves.
    """
    found = find_duplicates(table, rule, source_order)
    rows = [{"id": item.id, "duplicate_of": item.of, "reason": item.reason} for item in found]
    return pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)


def find_duplicates(
    table: pa.Table, rule: NearRule | None = None, source_order: tuple[str, ...] = ()
) -> list[Duplicate]:
    """Documents to drop, sorted by id; pure, and the order of rows does not matter."""
    rows = table.select(["id", "source", "kind", "text", "length", "phash"]).to_pylist()
    preference = {name: number for number, name in enumerate(source_order)}
    ranks = {row["id"]: Rank(preference.get(row["source"], len(preference)), row["length"], row["id"]) for row in rows}
    by_key: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        key = content_key(row["kind"], row["text"], row["phash"])
        if key is not None:
            by_key[key].append(row["id"])
    edges = [edge for ids in by_key.values() for edge in exact_edges(ids)]
    # One of each set of exact copies goes on to be compared; its copies follow it through their edge.
    left_out = {duplicate.id for duplicate in resolve(edges, ranks)}
    left = [row for row in rows if row["id"] not in left_out]
    edges += _near_text(left, rule or NearRule())
    edges += _near_pictures(left)
    return resolve(edges, ranks)


def _near_text(rows: list[dict[str, str]], rule: NearRule) -> list[Edge]:
    edges: set[Edge] = set()
    for family in (NEAR_KINDS - {"code"}, frozenset({"code"})):
        edges |= _near_family([row for row in rows if row["kind"] in family], rule)
    return sorted(edges)


def _near_family(rows: list[dict[str, str]], rule: NearRule) -> set[Edge]:
    sketched: list[tuple[str, Hashes]] = []
    for row in rows:
        sketch = shingles(row["text"], rule)
        if len(sketch) >= rule.min_shingles:
            sketched.append((row["id"], sketch))
    groups: dict[int, list[int]] = defaultdict(list)
    for number, signature in enumerate(signatures([sketch for _, sketch in sketched], rule)):
        for key in band_keys(signature, rule):
            groups[key].append(number)
    edges: set[Edge] = set()
    seen: set[tuple[int, ...]] = set()
    for members in groups.values():
        group = tuple(members)
        # Copies meet in most of their bands; each set of them is compared once.
        if len(group) > 1 and group not in seen:
            seen.add(group)
            edges.update(near_edges([sketched[number] for number in group], rule))
    return edges


def _near_pictures(rows: list[dict[str, str]]) -> list[Edge]:
    by_caption: Mapping[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "image-text" and row["phash"]:
            by_caption[normalised(row["text"])].append((row["id"], row["phash"]))
    return [edge for group in by_caption.values() if len(group) > 1 for edge in picture_edges(group)]
