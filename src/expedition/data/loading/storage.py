"""What this machine's storage gives beside the six-camera estimate, and how large a cache the run's order needs."""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.loading.index import DocumentIndex, open_index
from expedition.data.loading.loader import Loader
from expedition.data.loading.segments import Segment, manifest_hash, planned_mix, run_plan
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

IO_SCHEMA = "report.io/1"
READ_BYTES = 1 << 20
"""Bytes of one sequential read."""
RANDOM_BYTES = 64 << 10
"""Bytes of one random read."""
CACHE_SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Cache sizes, in windows, at which the hit rate is stated."""
MAX_USES = 200_000
"""Sequences of the order that are followed."""


def io_report(
    ws: Workspace, programme: Programme, *, version: str = "v0.1", run: str = "main", megabytes: int = 64
) -> dict[str, Any]:
    """Read a dataset version's shards, in sequence and at random; write reports/io.json with the six-camera estimate and
    the cache that `run`'s order over the version needs.

    Reads up to `megabytes` MiB each way (shards again from the start where they hold less). Local files are first
    asked out of the page cache, which the kernel may ignore. Raises InputError if the version has no shards.
    """
    folder = layout.dataset(version)
    keys = [key for key in ws.store.list(f"{folder}/shards") if key.endswith(".tar")]
    if not keys:
        raise InputError(f"{version} has no shards", where=folder, fix="build it: expedition data build")
    limit = megabytes << 20
    _drop_cached(ws, keys)
    sequential = _rate(ws, _sequential(ws, keys, limit))
    _drop_cached(ws, keys)
    random = _rate(ws, _random(ws, keys, limit // 4))
    report = {
        "version": version,
        "sequential_read_bytes_per_s": sequential,
        "random_read_bytes_per_s": random,
        "random_read_bytes": RANDOM_BYTES,
        "needed_bytes_per_s": programme.data.storage.needed_bytes_per_s,
        "ratio": sequential / programme.data.storage.needed_bytes_per_s,
        "storage_need": storage_need(programme),
        "nodes_for_bandwidth": math.ceil(programme.data.storage.needed_bytes_per_s / sequential),
        "measured_compression": _compression(open_index(ws, version)),
        "cache": cache_sizing(ws, programme, version, run),
        "conditions": [
            *("one node", "short run", "page cache dropped by advice only"),
            *(f"{os.cpu_count()} cores", f"preset {programme.preset}"),
        ],
    }
    ws.write_json(layout.report("io"), report, schema=IO_SCHEMA)
    return report


def storage_need(programme: Programme) -> dict[str, float]:
    """The six-camera estimate, bytes a second: one sample raw and as the chapter states it, and a batch of each.

    `raw_4_by_3` is the same at the frame height's 4:3 width (640 at 480), the lower end of what "480p" may mean.
    """
    plan = programme.data.storage
    pixel_bytes_per_s = plan.cameras * plan.height * plan.channels * plan.rate_hz
    raw, narrow = pixel_bytes_per_s * plan.width, pixel_bytes_per_s * round(plan.height * 4 / 3)
    return {
        "raw_sample_bytes_per_s": raw,
        "raw_4_by_3_sample_bytes_per_s": narrow,
        "stated_sample_bytes_per_s": plan.stated_sample_bytes_per_s,
        "compression_needed": raw / plan.stated_sample_bytes_per_s,
        "compression_needed_4_by_3": narrow / plan.stated_sample_bytes_per_s,
        "batch_samples": plan.batch_samples,
        "raw_batch_bytes_per_s": raw * plan.batch_samples,
        "raw_4_by_3_batch_bytes_per_s": narrow * plan.batch_samples,
        "stated_batch_bytes_per_s": plan.stated_sample_bytes_per_s * plan.batch_samples,
        "needed_bytes_per_s": plan.needed_bytes_per_s,
    }


def cache_sizing(ws: Workspace, programme: Programme, version: str, run: str) -> dict[str, Any]:
    """How large a cache of whole shards one node needs for the run's order over a version, by following the order.

    `window_bytes`: shards of one window of every kind of the mix. `curve`: hit rate of a least-recently-used cache by
    its size; below one window the block shuffle reads shards again and again. `nodes_for_capacity`: nodes whose caches
    (the programme's `cluster.storage.cache_bytes` each) hold the whole version.
    """
    plan = run_plan(programme, run)
    content = manifest_hash(ws, plan.dataset, version)
    segment = Segment(0, plan.dataset, version, content, planned_mix(programme, plan), plan.seed)
    loader = Loader(ws, programme, run, segments=[segment])
    sizes = {
        f"{layout.dataset(version, plan.dataset)}/{shard['path']}": int(shard["bytes"])
        for shard in ws.read_json(layout.manifest(version, plan.dataset))["shards"]
    }
    keys = _followed(loader, plan.total_steps)
    of_kind: dict[str, set[str]] = {}
    for key in keys:
        of_kind.setdefault(Path(key).name.rsplit("-", 1)[0], set()).add(key)
    window = sum(
        min(segment.window_shards, len(shards)) * float(np.mean([sizes[key] for key in shards]))
        for shards in of_kind.values()
    )
    total, node_bytes = sum(sizes.values()), programme.cluster.storage.cache_bytes
    return {
        "run": run,
        "window_shards": segment.window_shards,
        "window_bytes": int(window),
        "version_bytes": total,
        "sequences_followed": len(keys),
        "curve": [
            {
                "windows": share,
                "cache_bytes": int(share * window),
                "hit_rate": lru_hit_rate(keys, sizes, share * window),
            }
            for share in CACHE_SHARES
        ],
        "node_cache_bytes": node_bytes,
        "nodes_for_capacity": math.ceil(total / node_bytes) if node_bytes else None,
        "note": "hit rate 1 - shards fetched / sequences read; every node of a data-parallel run reads the same windows",
    }


def lru_hit_rate(keys: Iterable[str], sizes: dict[str, int], cache_bytes: float) -> float:
    """Share of the uses that find their shard in a least-recently-used cache of `cache_bytes`. Pure."""
    kept: OrderedDict[str, None] = OrderedDict()
    used = hits = uses = 0
    for key in keys:
        uses += 1
        if key in kept:
            hits += 1
            kept.move_to_end(key)
        elif sizes[key] <= cache_bytes:
            kept[key] = None
            used += sizes[key]
            while used > cache_bytes:
                used -= sizes[kept.popitem(last=False)[0]]
    return hits / max(1, uses)


def _followed(loader: Loader, steps: int) -> list[str]:
    keys: list[str] = []
    for step in range(steps):
        keys += [use.key for use in loader.shard_uses(step)]
        if len(keys) >= MAX_USES:
            break
    return keys


def _compression(index: DocumentIndex) -> float | None:
    """Raw bytes (RGB) of the version's clips ÷ their stored bytes; None if it has none."""
    raw = stored = 0
    for part in index.parts():
        media = part.media
        clips = media["kind"] == 1
        raw += int((3 * media["width"] * media["height"] * media["frames"])[clips].sum())
        stored += int(media["bytes"][clips].sum())
    return raw / stored if stored else None


def _sequential(ws: Workspace, keys: list[str], limit: int) -> list[tuple[str, int, int]]:
    reads: list[tuple[str, int, int]] = []
    for key in keys:
        size = ws.store.size(key)
        reads += [(key, start, min(READ_BYTES, size - start)) for start in range(0, size, READ_BYTES)]
    return _up_to(reads, limit)


def _random(ws: Workspace, keys: list[str], limit: int) -> list[tuple[str, int, int]]:
    generator = np.random.Generator(np.random.Philox(key=7))
    sizes = [ws.store.size(key) for key in keys]
    reads: list[tuple[str, int, int]] = []
    for _ in range(max(1, limit // RANDOM_BYTES)):
        number = int(generator.integers(len(keys)))
        last = max(0, sizes[number] - RANDOM_BYTES)
        reads.append((keys[number], int(generator.integers(last + 1)), min(RANDOM_BYTES, sizes[number])))
    return reads


def _up_to(reads: list[tuple[str, int, int]], limit: int) -> list[tuple[str, int, int]]:
    chosen: list[tuple[str, int, int]] = []
    total = 0
    for read in reads:
        if total >= limit:
            break
        chosen.append(read)
        total += read[2]
    return chosen


def _rate(ws: Workspace, reads: list[tuple[str, int, int]]) -> float:
    started = time.perf_counter()
    read_bytes = sum(len(ws.store.read_range(key, start, length)) for key, start, length in reads)
    return read_bytes / max(time.perf_counter() - started, 1e-9)


def _drop_cached(ws: Workspace, keys: list[str]) -> None:
    for key in keys:
        path = _local_path(ws, key)
        if path is None:
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _local_path(ws: Workspace, key: str) -> Path | None:
    """The file of a folder workspace; None in an object store, or where the system takes no advice."""
    from expedition.workspace.store import FolderStore

    return ws.path(key) if isinstance(ws.store, FolderStore) and hasattr(os, "posix_fadvise") else None
