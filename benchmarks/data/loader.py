"""Batches a second of the loader on generated documents of all kinds: python benchmarks/data/loader.py

Prints one JSON line a setting: decoded documents kept or not, threads, batches/s, tokens/s, and where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import pstats
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.data.loading.made_version import generated, write_version

from expedition.data.loading import Loader, LoadingConfig
from expedition.plan import load_programme
from expedition.workspace import Workspace


def main() -> None:
    """Make a version, load it in several settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--scale", type=int, default=8, help="documents, in units of 150")
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(folder, create=True)
        write_version(ws, "v0.1", generated(1, options.scale), shard_documents=64)
        programme = load_programme(
            "rehearsal",
            [
                f"runs.main.sequence_length={options.sequence}",
                f"runs.main.batch_sequences={options.rows}",
                "runs.main.segments=[{from_step: 0, version: v0.1}]",
            ],
        )
        for kept_bytes, workers, processes in ((0, 1, 0), (0, 2, 0), (0, 1, 2), (256 << 20, 1, 0)):
            config = LoadingConfig(decoded_bytes=kept_bytes, workers=workers, processes=processes, prefetch_batches=4)
            print(json.dumps(measure(Loader(ws, programme, "main", config), options.steps)))
        if options.profile:
            print(profile(Loader(ws, programme, "main", LoadingConfig(decoded_bytes=0)), options.steps))


def measure(loader: Loader, steps: int) -> dict[str, object]:
    """Rates over `steps` batches after the first eight (processes have started by then)."""
    loader.batch(0)
    batches = loader.batches(0, steps + 8)
    for _ in range(8):
        next(batches)
    started = time.perf_counter()
    tokens = sum(batch.real_tokens for batch in batches)
    wall_s = time.perf_counter() - started
    return {
        "decoded_bytes": loader.config.decoded_bytes,
        "threads": loader.config.workers,
        "processes": loader.config.processes,
        "cores": os.cpu_count(),
        "batches_per_s": round(steps / wall_s, 1),
        "tokens_per_s": round(tokens / wall_s),
        "hit_rate": loader.statistics()["shards"]["hit_rate"],
    }


def profile(loader: Loader, steps: int) -> str:
    """The twenty dearest functions."""
    loader.batch(0)
    profiler = cProfile.Profile()
    profiler.enable()
    for step in range(steps):
        loader.batch(step)
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(20)
    return text.getvalue()


if __name__ == "__main__":
    main()
