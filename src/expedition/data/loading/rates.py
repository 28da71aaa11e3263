"""How fast this machine makes batches, by source and kind and as a whole, beside what GPUs eat."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from expedition.data.loading.assign import active_parameters, assign, balance, in_order
from expedition.data.loading.damage import DamagedDocument
from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.data.loading.segments import Segment, manifest_hash, planned_mix, run_plan
from expedition.plan.models import Programme
from expedition.plan.shapes import ModelShape
from expedition.workspace import Workspace, layout

LOAD_TEST_SCHEMA = "report.load-test/1"
NEEDED_UTILISATION = 0.40
"""MFU at which the 1B is to be fed."""
NODES = 1
"""Nodes that a load test runs on: this one."""
WORLDS = (8, 64, 256)
"""Data ranks at which the balance of work is stated."""


@dataclass(frozen=True, slots=True)
class LoadTest:
    """What is measured."""

    run: str = "main"
    version: str | None = None
    """Measure this dataset version in the run's mix, though the run has not joined it; None: the run's segments."""
    batches: int = 64
    """Global batches of each setting."""
    threads: int = 1
    """Threads that make batches where no processes do."""
    processes: tuple[int, ...] = (0,)
    """Settings: so many worker processes; 0: threads. The first is the one that the gate judges."""
    model: str = "1b"
    """Whose need is stated, at 40 % MFU."""
    gpu_tokens_per_s: float | None = None
    """Tokens a second that one GPU eats; None: computed from `model` and the cluster's peak."""
    config: LoadingConfig = LoadingConfig()
    """The cache, and what else holds in every setting."""


def load_test(ws: Workspace, programme: Programme, test: LoadTest) -> dict[str, Any]:
    """Load global batches in each setting, nothing kept decoded, and write reports/load-test.json.

    `tokens_per_s` counts positions that are not padding. `needed_tokens_per_s_1b` is what the GPUs of the nodes that were
    measured (one here) eat, `needed_tokens_per_s_all_gpus` what all of the programme's do; `ratio` is measured ÷ needed
    by the same nodes. `starved_s` is how long a consumer that does nothing else waited. `by_source` and `by_kind` are one
    thread's rates: `stored` reads bytes, `decoded` also decodes. Raises what `Loader` raises.
    """
    segments = _segments(ws, programme, test)
    config = replace(test.config, decoded_bytes=0)
    settings = [
        _setting(Loader(ws, programme, test.run, _of(config, test, n), segments), test, n) for n in test.processes
    ]
    loader = Loader(ws, programme, test.run, config, segments)
    by_source, by_kind = _by_part(loader, test.batches)
    first = settings[0]
    plan = run_plan(programme, test.run)
    flops = flops_per_token(programme.models[test.model], programme.data.tokenizer.padded_size, plan.sequence_length)
    gpu_needs = test.gpu_tokens_per_s or NEEDED_UTILISATION * programme.cluster.peak_flops / flops
    needed = gpu_needs * NODES * programme.cluster.gpus_per_node
    notes = [
        "one node",
        "short run",
        "page cache warm",
        f"{test.threads} loader threads, {test.processes[0]} processes",
    ]
    report = {
        "run": test.run,
        "version": test.version,
        "nodes": NODES,
        "workers": test.threads,
        **first,
        "needed_tokens_per_s_1b": needed,
        "needed_tokens_per_s_all_gpus": gpu_needs * programme.cluster.gpus,
        "needed_for": {
            "model": test.model,
            "gpus_per_node": programme.cluster.gpus_per_node,
            "flops_per_token": flops,
            "gpu_tokens_per_s": gpu_needs,
            "stated": test.gpu_tokens_per_s is not None,
        },
        "ratio": first["tokens_per_s"] / needed,
        "gpus_fed": first["tokens_per_s"] / gpu_needs,
        "settings": settings,
        "by_source": by_source,
        "by_kind": by_kind,
        "balance": _balances(loader),
        "conditions": [*notes, f"{os.cpu_count()} cores", f"preset {programme.preset}"],
    }
    ws.write_json(layout.report("load-test"), report, schema=LOAD_TEST_SCHEMA)
    return report


def flops_per_token(shape: ModelShape, vocabulary: int, sequence_tokens: int) -> float:
    """Training FLOPs of one decoder token: 6 x active parameters + 6 x layers x attention width x sequence.

    Active parameters: attention, router, top-k experts, head; the embedding look-up is left out. Attention counts
    causal (half) and forward + backward (3 x 2 x 2 x S x width / 2). Encoders are left out.
    """
    active = active_parameters(shape) + shape.hidden * vocabulary
    return 6.0 * active + 6.0 * shape.layers * shape.heads * shape.head_dim * sequence_tokens


def _segments(ws: Workspace, programme: Programme, test: LoadTest) -> list[Segment] | None:
    if test.version is None:
        return None
    plan = run_plan(programme, test.run)
    content = manifest_hash(ws, plan.dataset, test.version)
    return [Segment(0, plan.dataset, test.version, content, planned_mix(programme, plan), plan.seed)]


def _of(config: LoadingConfig, test: LoadTest, processes: int) -> LoadingConfig:
    ahead = 2 * max(test.threads, processes)
    return replace(config, workers=test.threads, processes=processes, prefetch_batches=ahead)


def _setting(loader: Loader, test: LoadTest, processes: int) -> dict[str, Any]:
    """Rates of whole batches; the first is not counted: files are opened and processes started for it."""
    loader.batch(0)
    read_before = loader.shards.counts.read_bytes
    batches = loader.batches(0, test.batches + 1)
    next(batches)
    started = time.perf_counter()
    tokens = samples = payload = 0
    for batch in batches:
        tokens += batch.real_tokens
        samples += len(batch.sample_ids)
        payload += batch.patches_PC.nbytes + batch.mel_MF.nbytes + batch.tokens_BS.nbytes
    wall_s = time.perf_counter() - started
    cache = loader.statistics()["cache"]
    return {
        "processes": processes,
        "batches": test.batches,
        "wall_s": wall_s,
        "batches_per_s": test.batches / wall_s,
        "samples_per_s": samples / wall_s,
        "tokens": tokens,
        "tokens_per_s": tokens / wall_s,
        "read_bytes_per_s": (loader.shards.counts.read_bytes - read_before) / wall_s if not processes else None,
        "batch_bytes_per_s": payload / wall_s,
        "starved_s": loader.waiting.starved_s,
        "starved_share": loader.waiting.starved_s / wall_s,
        "cache_hit_rate": loader.shards.counts.hit_rate,
        "cache": cache,
        "replaced": len(loader.damage.replacements),
    }


def _by_part(loader: Loader, batches: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rates of one thread by source, and by kind, over the documents of the first steps."""
    by_source: dict[str, dict[str, float]] = {}
    by_kind: dict[str, dict[str, float]] = {}
    for step in range(batches):
        for index in loader.global_batch_ids(step).tolist():
            version, kind, pieces = loader.pieces(index)
            for piece in pieces:
                source = version.index.sources[piece.document]
                try:
                    begun = time.perf_counter()
                    size = version.reader.read_stored(piece.document)
                    read = time.perf_counter()
                    loader.read_piece(index, piece)
                    counted = {
                        "documents": 1.0, "bytes": float(size), "tokens": float(piece.tokens),
                        "stored_s": read - begun, "decoded_s": time.perf_counter() - read,
                    }  # fmt: skip
                except DamagedDocument:
                    counted = {"damaged": 1.0}
                for sums in (by_source.setdefault(source, {}), by_kind.setdefault(kind, {})):
                    for name, value in counted.items():
                        sums[name] = sums.get(name, 0.0) + value
    return {name: _rates(by_source[name]) for name in sorted(by_source)}, {
        name: _rates(by_kind[name]) for name in sorted(by_kind)
    }


def _rates(sums: dict[str, float]) -> dict[str, Any]:
    documents, size, tokens = (sums.get(name, 0.0) for name in ("documents", "bytes", "tokens"))
    rates = {
        how: {"documents_per_s": documents / s, "bytes_per_s": size / s, "tokens_per_s": tokens / s}
        for how in ("stored", "decoded")
        if (s := sums.get(f"{how}_s", 0.0)) > 0
    }
    return {"documents": int(documents), "tokens": int(tokens), "damaged": int(sums.get("damaged", 0)), **rates}


def _balances(loader: Loader, worlds: Sequence[int] = WORLDS) -> list[dict[str, Any]]:
    """Max ÷ mean work of the ranks by `assign`, and without it, on the run's own mix: means over a few steps.

    The batch is the run's; where it has fewer than four sequences a part, as many steps are taken together, cut to a
    multiple of the parts.
    """
    micro = loader.plan.micro_batches
    stated: list[dict[str, Any]] = []
    for world in worlds:
        parts = world * micro
        per_step = len(loader.global_batch_ids(0))
        steps = max(1, -(-4 * parts // per_step)) if per_step < 4 * parts else 1
        costs = np.concatenate([loader.costs(step) for step in range(steps)])
        costs = costs[: len(costs) // parts * parts]
        ours, plain = balance(costs, assign(costs, world, micro)), balance(costs, in_order(len(costs), world, micro))
        stated.append(
            {"world": world, "micro_batches": micro, "sequences": len(costs), "assigned": asdict(ours),
             "in_order": asdict(plain)}
        )  # fmt: skip
    return stated
