"""What this machine reads and loads, beside what is needed: load test, storage test, storage estimate."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.plan.shapes import ModelShape
from expedition.workspace import Workspace, layout

LOAD_TEST_SCHEMA = "report.load-test/1"
IO_SCHEMA = "report.io/1"
NEEDED_UTILISATION = 0.40
"""MFU at which the 1B is to be fed."""
NODES = 1
"""Nodes that a load test runs on: this one."""
READ_BYTES = 1 << 20
"""Bytes of one sequential read."""
RANDOM_BYTES = 64 << 10
"""Bytes of one random read."""


def load_test(
    ws: Workspace, programme: Programme, run: str, *, batches: int = 64, workers: int = 1, model: str = "1b"
) -> dict[str, Any]:
    """Load `batches` global batches of `run`, nothing kept decoded, and write reports/load-test.json.

    `tokens_per_s` counts positions that are not padding. `needed_tokens_per_s_1b` is what `model` consumes at 40 % MFU
    on the GPUs of the nodes that were measured (one here), `needed_tokens_per_s_all_gpus` on all of the programme's
    (FLOPs a token: `flops_per_token`). `ratio` is measured ÷ needed by the same nodes.
    """
    loader = Loader(ws, programme, run, LoadingConfig(decoded_bytes=0, workers=workers, prefetch_batches=2 * workers))
    loader.batch(0)
    read_before = loader.shards.counts.read_bytes
    started = time.perf_counter()
    tokens = sum(batch.real_tokens for batch in loader.batches(0, batches))
    wall_s = time.perf_counter() - started
    plan = programme.runs[run]
    flops = flops_per_token(programme.models[model], programme.data.tokenizer.padded_size, plan.sequence_length)
    gpu_needs = NEEDED_UTILISATION * programme.cluster.peak_flops / flops
    needed = gpu_needs * NODES * programme.cluster.gpus_per_node
    report = {
        "run": run,
        "nodes": NODES,
        "batches": batches,
        "workers": workers,
        "wall_s": wall_s,
        "batches_per_s": batches / wall_s,
        "tokens": tokens,
        "tokens_per_s": tokens / wall_s,
        "read_bytes_per_s": (loader.shards.counts.read_bytes - read_before) / wall_s,
        "needed_tokens_per_s_1b": needed,
        "needed_tokens_per_s_all_gpus": gpu_needs * programme.cluster.gpus,
        "needed_for": {"model": model, "gpus_per_node": programme.cluster.gpus_per_node, "flops_per_token": flops},
        "ratio": tokens / wall_s / needed,
        "cache_hit_rate": loader.shards.counts.hit_rate,
        "conditions": _conditions(["one node", "short run", "page cache warm", f"{workers} loader threads"], programme),
    }
    ws.write_json(layout.report("load-test"), report, schema=LOAD_TEST_SCHEMA)
    return report


def io_report(ws: Workspace, programme: Programme, *, version: str = "v0.1", megabytes: int = 64) -> dict[str, Any]:
    """Read a dataset version's shards, in sequence and at random, and write reports/io.json with the storage estimate.

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
        "conditions": _conditions(["one node", "short run", "page cache dropped by advice only"], programme),
    }
    ws.write_json(layout.report("io"), report, schema=IO_SCHEMA)
    return report


def storage_need(programme: Programme) -> dict[str, float]:
    """The six-camera estimate, bytes a second: one sample raw and as the chapter states it, and a batch of each."""
    plan = programme.data.storage
    raw = plan.cameras * plan.height * plan.width * plan.channels * plan.rate_hz
    return {
        "raw_sample_bytes_per_s": raw,
        "stated_sample_bytes_per_s": plan.stated_sample_bytes_per_s,
        "compression_needed": raw / plan.stated_sample_bytes_per_s,
        "batch_samples": plan.batch_samples,
        "raw_batch_bytes_per_s": raw * plan.batch_samples,
        "stated_batch_bytes_per_s": plan.stated_sample_bytes_per_s * plan.batch_samples,
        "needed_bytes_per_s": plan.needed_bytes_per_s,
    }


def flops_per_token(shape: ModelShape, vocabulary: int, sequence_tokens: int) -> float:
    """Training FLOPs of one decoder token: 6 x active parameters + 6 x layers x attention width x sequence.

    Active parameters: attention, router, top-k experts, head; the embedding look-up is left out. Attention counts
    causal (half) and forward + backward (3 x 2 x 2 x S x width / 2). Encoders are left out.
    """
    width = shape.heads * shape.head_dim
    attention = shape.hidden * (2 * width + 2 * shape.kv_heads * shape.head_dim)
    moe = shape.top_k * 3 * shape.hidden * shape.expert_inner + shape.hidden * shape.experts
    dense = 3 * shape.hidden * shape.dense_inner
    moe_layers = len(shape.moe_layers)
    blocks = shape.layers * attention + moe_layers * moe + (shape.layers - moe_layers) * dense
    active = blocks + shape.hidden * vocabulary
    return 6.0 * active + 6.0 * shape.layers * width * sequence_tokens


def _conditions(conditions: list[str], programme: Programme) -> list[str]:
    return [*conditions, f"{os.cpu_count()} cores", f"preset {programme.preset}"]


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
