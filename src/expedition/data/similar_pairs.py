"""A file of documents into a file of the pairs among them that are near copies, each with its similarity."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from expedition.data.stages.dedup.fingerprint import Columns
from expedition.data.stages.dedup.pairs import PAIR_RULE, similar_pairs
from expedition.errors import InputError
from expedition.workspace.atomic import ASIDE_PREFIX, commit_file, storage_errors

KINDS = ("web", "books", "synthetic", "code")
"""Kinds that are compared: code with code, the others with each other."""
_DIGITS = 4


def write_similar_pairs(
    source: Path, out: Path, *, threshold: float = PAIR_RULE.threshold, kind: str = "web"
) -> dict[str, Any]:
    """Compare the documents of JSON lines {id, text[, kind]} and write JSON lines {a, b, similarity}, a before b in the
    file; returns counts and the settings.

    `threshold`: least similarity (Jaccard of 5-grams of words, of characters in scripts without spaces) that is written.
    `kind`: of documents that name none. Raises InputError with the line of a document that is none.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"the threshold {threshold:g} is not above 0 and at most 1", where="--threshold")
    ids, documents = _read(source, kind)
    found = similar_pairs(documents, replace(PAIR_RULE, threshold=threshold))
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.parent / f"{ASIDE_PREFIX}{out.name[:100]}-{uuid.uuid4().hex[:8]}"
        try:
            _write(aside, ids, found)
            commit_file(aside, out)
        finally:
            aside.unlink(missing_ok=True)
    groups, members = _components(found)
    return {
        "documents": len(ids),
        "pairs": found.num_rows,
        "groups": groups,
        "copies": members - groups,
        "threshold": threshold,
        "out": str(out),
    }


def _read(source: Path, kind: str) -> tuple[list[str | int], Columns]:
    ids: list[str | int] = []
    kinds: list[str] = []
    texts: list[str] = []
    seen: dict[str | int, int] = {}
    try:
        with source.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                name, mine, text = _document(line, f"{source}:{number}", kind)
                if name in seen:
                    raise InputError(f"the id {name!r} is that of line {seen[name]} too", where=f"{source}:{number}")
                seen[name] = number
                ids.append(name)
                kinds.append(mine)
                texts.append(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(source)) from error
    count = len(ids)
    return ids, Columns(list(map(str, ids)), [""] * count, kinds, texts, [None] * count)


def _document(line: bytes, where: str, kind: str) -> tuple[str | int, str, str]:
    fix = 'each line is a JSON object with "id" (text or number) and "text"'
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON: {error}", where=where, fix=fix) from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise InputError('no "text"', where=where, fix=fix)
    name = row.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise InputError('no "id"', where=where, fix=fix)
    mine = row.get("kind", kind)
    if mine not in KINDS:
        raise InputError(f"kind {mine!r} is none of {', '.join(KINDS)}", where=where)
    return name, mine, row["text"]


def _write(path: Path, ids: list[str | int], found: pa.Table) -> None:
    with path.open("w", encoding="utf-8") as file:
        for batch in found.to_batches(max_chunksize=1 << 14):
            for a, b, similarity in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                row = {"a": ids[a], "b": ids[b], "similarity": round(similarity, _DIGITS)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _components(found: pa.Table) -> tuple[int, int]:
    """Number of groups that the pairs join, and of documents in them."""
    pairs = np.stack([found.column("a").to_numpy(), found.column("b").to_numpy()], axis=-1)
    nodes, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2)
    if not len(nodes):
        return 0, 0
    graph = coo_array((np.ones(len(places), np.int8), (places[:, 0], places[:, 1])), shape=(len(nodes), len(nodes)))
    return int(connected_components(graph, directed=False)[0]), len(nodes)
