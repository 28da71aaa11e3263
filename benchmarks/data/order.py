"""Order and packing: fill, documents packed a second, resume in a plan of 10^12 sequences, random access.

    .venv/bin/python benchmarks/data/order.py [--documents 400000] [--quick]

Prints one JSON document. Rates are by processor time of one core, best of three, so that other work on the machine
changes them little. Lengths are drawn: text log-normal (median and sigma given), media documents as a caption with one
to four pictures of 64 to 1,200 tokens. The plan of 10^12 has 10^6 shards of 500,000 to 1,500,000 sequences.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from expedition.data.loading.flat import Parted, encode, open_flat
from expedition.data.loading.index import open_index
from expedition.data.loading.mixture import Mixture
from expedition.data.loading.order import SegmentOrder
from expedition.data.loading.packing import best_fit
from expedition.data.loading.packs import SCHEMA, PackPlan, PackRule, open_pack
from expedition.data.loading.sentences import TextCuts
from expedition.data.versions.index import INDEX_SCHEMA
from expedition.plan.media import MediaRule
from expedition.workspace import Workspace

SHARD_DOCUMENTS = 20_000


def best_s(work: Callable[[], object], times: int = 3) -> float:
    """Least processor seconds of a call."""
    spent = []
    for _ in range(times):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return max(min(spent), 1e-9)


def text_lengths(count: int, median: int, sigma: float, capacity: int) -> np.ndarray:
    """Log-normal lengths; longer ones cut into whole sequences' length minus a little, and a rest, as the plan does."""
    generator = np.random.default_rng(1)
    drawn = np.maximum(1, generator.lognormal(np.log(median), sigma, count).astype(np.int64))
    part = capacity - int(0.01 * capacity)
    whole = drawn // part
    rests = drawn - whole * part
    return np.concatenate((np.full(int(whole.sum()), part), rests[rests > 0]))


def media_lengths(count: int, capacity: int) -> np.ndarray:
    """A caption of about 60 tokens and one to four pictures."""
    generator = np.random.default_rng(2)
    pictures = generator.integers(1, 5, count)
    sizes = generator.integers(64, 1200, (count, 4)) * (np.arange(4) < pictures[:, None])
    return np.minimum(sizes.sum(axis=1) + generator.lognormal(np.log(60), 0.8, count).astype(np.int64) + 1, capacity)


def packing(documents: int) -> list[dict[str, Any]]:
    """Fill and rate of best fit over shards of 20,000 documents."""
    rows = []
    for capacity in (4096, 32_768):
        mixes = {
            "web text, median 500": text_lengths(documents, 500, 1.2, capacity),
            "captions, median 90": text_lengths(documents, 90, 0.8, capacity),
            "books and articles, median 6000": text_lengths(documents // 8, 6000, 1.0, capacity),
            "pictures with text": media_lengths(documents, capacity),
        }
        for name, lengths in mixes.items():
            lengths = np.random.default_rng(3).permutation(lengths)
            shards = [lengths[start : start + SHARD_DOCUMENTS] for start in range(0, len(lengths), SHARD_DOCUMENTS)]
            used = sum(int(best_fit(shard, capacity).max()) + 1 for shard in shards)
            seconds = best_s(lambda shards=shards, capacity=capacity: [best_fit(shard, capacity) for shard in shards])
            rows.append(
                {
                    "lengths": name,
                    "sequence_tokens": capacity,
                    "pieces": len(lengths),
                    "fill": int(lengths.sum()) / (used * capacity),
                    "documents_per_s": len(lengths) / seconds,
                }
            )
    return rows


def cutting() -> dict[str, float]:
    """Tokens a second that are looked at for sentence ends in texts longer than a sequence."""
    words = [bytes([value]) for value in range(256)] + [f" word{number}".encode() for number in range(2000)]
    generator = np.random.default_rng(5)
    tokens = generator.integers(256, len(words), 2_000_000).astype(np.int32)
    tokens[generator.random(len(tokens)) < 0.05] = ord(".")
    cuts = TextCuts(words)
    found = cuts.cut(tokens, 4096, by_line=False)
    return {
        "tokens_per_s": len(tokens) / best_s(lambda: cuts.cut(tokens, 4096, by_line=False)),
        "cuts_at_an_end": sum(cut.at_end for cut in found) / len(found),
        "filled": len(tokens) / (4096 * len(found)),
    }


def write_version(ws: Workspace, documents: int) -> None:
    """A version's index and manifest (no shards: no document is longer than a sequence, so none is read)."""
    generator = np.random.default_rng(6)
    folder, shards = "data/dataset/v0.1", []
    path = Path(ws.place) / folder / "index/documents.parquet"
    path.parent.mkdir(parents=True)
    with pq.ParquetWriter(path, INDEX_SCHEMA, compression="zstd") as writer:
        for number, first in enumerate(range(0, documents, SHARD_DOCUMENTS)):
            count = min(SHARD_DOCUMENTS, documents - first)
            sizes = np.clip(generator.lognormal(np.log(500), 1.2, count).astype(np.int32), 1, 4096)
            name = f"shards/web-{number:05d}.tar"
            columns = {
                "doc": np.arange(first, first + count),
                "id": [f"{first + n:032x}" for n in range(count)],
                "shard": [name] * count,
                "kind": ["web"] * count,
                "source": ["crawl"] * count,
                "language": ["en"] * count,
                "tokens": sizes,
                **{key: np.arange(count) * 512 for key in ("tokens_offset", "json_offset")},
                **{key: sizes.astype(np.int64) * 4 for key in ("tokens_bytes", "json_bytes")},
                "media": pa.array([[]] * count, INDEX_SCHEMA.field("media").type),
            }
            writer.write_table(pa.table({key: columns[key] for key in INDEX_SCHEMA.names}, schema=INDEX_SCHEMA))
            shards.append({"path": name, "documents": count, "tokens": int(sizes.sum()), "bytes": 0, "sha256": ""})
    ws.write_json(f"{folder}/manifest.json", {"content_hash": "0" * 64, "shards": shards}, schema="data.manifest/1")


def planning(documents: int) -> dict[str, float]:
    """Index and plan of a whole version, tables written; then random access to the pieces of sequences."""
    with tempfile.TemporaryDirectory() as place:
        ws = Workspace.open(place, create=True)
        write_version(ws, documents)
        index_s = best_s(lambda: open_index(ws, "v0.1", part_documents=documents), 1)
        rule = PackRule(4096, MediaRule(), part_documents=documents)
        plan_s = best_s(lambda: open_pack(ws, "v0.1", "dataset", "0" * 64, rule), 1)
        pack = open_pack(ws, "v0.1", "dataset", "0" * 64, rule)
        order = SegmentOrder(Mixture.from_weights({"web": 1}), {"web": pack.firsts("web")}, 16, 7)
        indices = np.random.default_rng(7).integers(0, 10 * pack.sequences, 20_000)
        places = order.locate_many(indices).sequence
        members_s = best_s(lambda: [pack.members(sequence) for sequence in places[:5000].tolist()])
        bytes_ = sum(ws.store.size(key) for key in ws.store.list("data") if key.endswith(".flat"))
        return {
            "documents": documents,
            "index_documents_per_s": documents / index_s,
            "plan_documents_per_s": documents / plan_s,
            "fill": pack.counts["web"].fill(4096) or 0.0,
            "costs_per_s": len(places) / best_s(lambda: pack.costs(places)),
            "pieces_of_a_sequence_per_s": 5000 / members_s,
            "derived_bytes_a_document": bytes_ / documents,
        }


def trillion() -> dict[str, float]:
    """A plan of 10^12 sequences, its table a mapped file: opening, resume, access by global index."""
    generator = np.random.default_rng(1)
    entries = 10**6
    sizes = generator.integers(500_000, 1_500_000, entries)
    half = entries // 2
    table = {
        "kind": (np.arange(entries) >= half).astype("u1"),
        "shard": np.concatenate((np.arange(half), np.arange(entries - half))),
        "pass": np.zeros(entries, dtype="i2"),
        "first": np.concatenate(([0], np.cumsum(sizes))),
        "part": np.zeros(entries, dtype="i4"),
        "part_first": np.zeros(entries, dtype=np.int64),
    }
    with tempfile.TemporaryDirectory() as place:
        ws = Workspace.open(place, create=True)
        ws.store.write("table.flat", encode(table, {"parts": 0, "counts": {}, "cells": {}}, f"{SCHEMA}.table"))

        def opened() -> SegmentOrder:
            flat = open_flat(ws.store, "table.flat", f"{SCHEMA}.table")
            pack = PackPlan(4096, flat, Parted(np.zeros(1, dtype=np.int64), lambda _: flat))
            mixture = Mixture.from_weights({"web": 0.6, "code": 0.4})
            return SegmentOrder(mixture, {kind: pack.firsts(kind) for kind in ("web", "code")}, 16, 7)

        resume_s = best_s(lambda: opened().locate(10**9), 5)
        order = opened()
        indices = generator.integers(0, 10**12, 300_000)
        cold_s = best_s(lambda: order.locate_many(indices), 1)
        single = indices[:20_000].tolist()
        return {
            "shards": entries,
            "sequences": int(sizes.sum()),
            "open_and_resume_ms": 1e3 * resume_s,
            "many_first_per_s": len(indices) / cold_s,
            "many_per_s": len(indices) / best_s(lambda: order.locate_many(indices)),
            "one_by_one_per_s": len(single) / best_s(lambda: [order.locate(index) for index in single]),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of the documents")
    options = parser.parse_args()
    documents = options.documents // 10 if options.quick else options.documents
    result = {
        "cores": os.cpu_count(),
        "packing": packing(documents),
        "cutting": cutting(),
        "planning": planning(documents),
        "trillion": trillion(),
        "peak_resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
