"""The comparison in memory: exact first, then near among what is left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from expedition.data.stages.dedup.candidates import Numbers, Pairs, Work, candidate_pairs
from expedition.data.stages.dedup.exact import exact_pairs
from expedition.data.stages.dedup.fingerprint import (
    Columns,
    band_matrix,
    exact_halves,
    fine_of,
    fingerprints,
    media_rows,
)
from expedition.data.stages.dedup.media import near_media
from expedition.data.stages.dedup.near import NearRule, Sketches, verified
from expedition.data.stages.dedup.resolve import REASONS, Dropped, Duplicate, Rank, nodes_of, resolve, tie_of

PLAN_SCHEMA = pa.schema([("id", pa.string()), ("duplicate_of", pa.string()), ("reason", pa.string())])


def dedup_plan(table: pa.Table, rule: NearRule | None = None, source_order: tuple[str, ...] = ()) -> pa.Table:
    """Which documents to drop.

    `table` has the columns id, source, kind, text, phash (string, may be null). Sources named in `source_order` are
    preferred in that order when a copy is chosen to stay; others follow, equal among themselves.
    """
    found = find_duplicates(table, rule, source_order)
    rows = [{"id": item.id, "duplicate_of": item.of, "reason": item.reason} for item in found]
    return pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)


def find_duplicates(
    table: pa.Table, rule: NearRule | None = None, source_order: tuple[str, ...] = ()
) -> list[Duplicate]:
    """Documents to drop, sorted by id; pure, and the order of rows does not matter. Columns as for `dedup_plan`."""
    rule = rule or NearRule()
    rows = table.select(["id", "source", "kind", "text", "phash"]).sort_by("id")
    prints = pa.Table.from_batches([fingerprints(Columns(*(column.to_pylist() for column in rows.columns)), rule)])
    dropped = find_copies(prints, rule, {name: place for place, name in enumerate(source_order)})
    ids = rows.column("id").to_pylist()
    found = zip(dropped.numbers.tolist(), dropped.of.tolist(), dropped.reasons.tolist(), strict=True)
    return [Duplicate(ids[number], REASONS[reason], ids[of]) for number, of, reason in found]


def find_copies(prints: pa.Table, rule: NearRule, preference: Mapping[str, int]) -> Dropped:
    """Copies among the rows of a table of fingerprints; a document's number is its row. `preference`: source → place."""
    rows, high, low = exact_halves(prints)
    exact = exact_pairs(high, low, rows)
    gone = np.zeros(prints.num_rows, bool)
    gone[exact[:, 1]] = True
    near = np.concatenate([_near_text(prints, gone, rule), _near_media(prints, gone)])
    nodes = nodes_of(np.concatenate([exact, near]))
    return resolve(exact, near, nodes, rank_of(prints, nodes, preference))


def rank_of(prints: pa.Table, rows: Numbers, preference: Mapping[str, int]) -> Rank:
    """The ranks of some rows of a table of fingerprints."""
    chosen = prints.select(["id", "source", "length"]).take(pa.array(rows))
    places = [preference.get(source, len(preference)) for source in chosen.column("source").to_pylist()]
    lengths = chosen.column("length").to_numpy()
    return Rank(np.array(places, np.int64), lengths, tie_of(chosen.column("id").to_pylist()))


def _near_text(prints: pa.Table, gone: np.ndarray[tuple[int], np.dtype[np.bool_]], rule: NearRule) -> Pairs:
    rows, bands = band_matrix(prints, rule)
    rows, bands = rows[~gone[rows]], bands[~gone[rows]]
    keys, numbers, fine = bands.ravel(), np.repeat(rows, rule.bands), fine_of(bands).ravel()
    order = np.lexsort((numbers, keys))
    pairs = candidate_pairs(keys[order], numbers[order], fine[order], Work())
    column = prints.column("sketch")

    def sketches(numbers: Numbers) -> Sketches:
        return Sketches.of(column.take(pa.array(numbers)).chunks)

    return verified(pairs, sketches, rule)[0]


def _near_media(prints: pa.Table, gone: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Pairs:
    rows, keys, fine = media_rows(prints)
    left = ~gone[rows]
    rows, keys, fine = rows[left], keys[left], fine[left]
    order = np.lexsort((rows, keys))
    pairs = candidate_pairs(keys[order], rows[order], fine[order], Work())
    column = prints.column("phash")
    return near_media(pairs, lambda numbers: column.take(pa.array(numbers)).to_pylist())
