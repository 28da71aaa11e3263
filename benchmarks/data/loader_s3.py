"""Samples a second from an object store through a cold and a warm local cache: ours beside mosaicml-streaming and LitData.

    .venv/bin/python benchmarks/data/loader_s3.py [--quick] [--samples 4000] [--rounds 3]

A real S3 server (seaweedfs) on this machine holds JPEGs of about 40 kB in each one's own format. One process each,
interleaved, by wall clock; the server takes its share of the processors. Ours reads in block-shuffled order (windows of
4 shards) and in sequence; peers in sequence. Cold is the first pass with an empty cache, warm the second. Prints one JSON
document; the hit rate is that of our cold pass, by read.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.data import peers
from benchmarks.data.loader import WINDOW_SHARDS, write_tars
from expedition.data.loading import ShardSamples
from expedition.data.loading.cache import ShardReader
from expedition.data.loading.samples import scan_tar
from expedition.data.loading.tier import DiskTier
from expedition.voyage.object_server import ACCESS_KEY, SECRET_KEY, object_server
from expedition.workspace.hashes import sha256_file
from expedition.workspace.objects import ObjectStore

PEERS = ("mosaicml", "litdata")


def ours(store: ObjectStore, tars: Path, cache: Path, *, shuffled: bool) -> dict[str, Any]:
    """Two passes of our reader through a new cache."""
    names = sorted(path.name for path in tars.glob("*.tar"))
    members = [scan_tar(tars / name, ".jpg") for name in names]
    shards = [{"path": n, "bytes": (tars / n).stat().st_size, "sha256": sha256_file(tars / n)} for n in names]
    reader = ShardReader(store, tier=DiskTier(cache))
    reader.expect("tars", {"shards": shards})
    samples = ShardSamples(
        reader,
        [f"tars/{name}" for name in names],
        np.repeat(np.arange(len(names)), [len(found.offsets) for found in members]),
        np.concatenate([found.offsets for found in members]),
        np.concatenate([found.lengths for found in members]),
    )
    times, rates = [], []
    for epoch in range(2):
        order = samples.order(7, epoch=epoch, window_shards=WINDOW_SHARDS) if shuffled else np.arange(len(samples))
        begun = time.perf_counter()
        for data in samples.read(order):
            len(data)
        times.append(time.perf_counter() - begun)
        rates.append(reader.counts.hit_rate)
    return {"samples": len(samples), "times": times, "hit_rate": rates[0]}


def measure(root: Path, endpoint: str, rounds: int) -> dict[str, Any]:
    """Median samples/s of every reader."""
    store = ObjectStore(f"s3://bench?endpoint={endpoint}")
    missing: dict[str, str] = {}
    for path in sorted((root / "tars").glob("*.tar")):
        store.upload(f"tars/{path.name}", path, keep=True)
    for peer in PEERS:
        try:
            peers.run(peer, "write", str(root / "tars"), str(root / peer))
            for path in sorted(path for path in (root / peer).rglob("*") if path.is_file()):
                store.upload(f"{peer}/{path.relative_to(root / peer)}", path, keep=True)
        except (RuntimeError, subprocess.SubprocessError) as error:
            missing[peer] = str(error)[-300:]
    rates: dict[str, list[float]] = {}
    hits: list[float] = []
    for number in range(rounds):
        for shuffled in (True, False):
            found = ours(store, root / "tars", root / f"cache-{number}-{shuffled}", shuffled=shuffled)
            name = "ours, block shuffle" if shuffled else "ours, in sequence"
            hits += [found["hit_rate"]] if shuffled else []
            for heat, seconds in zip(("cold", "warm"), found["times"], strict=True):
                rates.setdefault(f"{name}/{heat}", []).append(found["samples"] / seconds)
        for peer in (one for one in PEERS if one not in missing):
            environ = {"S3_ENDPOINT_URL": endpoint, "PEER_ENDPOINT": endpoint, "AWS_REGION": "us-east-1"}
            try:
                read = peers.run(peer, "read", str(root / peer), "none", "2", f"s3://bench/{peer}", **environ)
            except (RuntimeError, subprocess.SubprocessError) as error:
                missing[peer] = str(error)[-300:]
                continue
            for heat, (wall, _) in zip(("cold", "warm"), read["times"], strict=True):
                rates.setdefault(f"{peer}/{heat}", []).append(read["samples"] / wall)
    medians = {name: round(statistics.median(values)) for name, values in rates.items()}
    return {"rates": medians, "hit_rate_of_the_cold_block_shuffle": hits, "peers_that_did_not_run": missing}


def ratios(rates: dict[str, float]) -> dict[str, float | None]:
    """Block shuffle ÷ the best peer in sequence (goal 2)."""
    found = {}
    for heat in ("cold", "warm"):
        best = max((rates[key] for peer in PEERS if (key := f"{peer}/{heat}") in rates), default=None)
        found[f"{heat}: ours / best peer (goal 2)"] = (
            round(rates[f"ours, block shuffle/{heat}"] / best, 2) if best else None
        )
    return found


def main() -> None:
    """Start the server, upload, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1000 samples, one round")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.rounds = 1000, 1
    os.environ.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "tars").mkdir()
        (root / "server").mkdir()
        write_tars(root / "tars", options.samples)
        with object_server(root / "server", "bench") as endpoint:
            found = measure(root, endpoint, options.rounds)
    result = {"samples": options.samples, "rounds": options.rounds, "unit": "samples/s, wall clock", **found}
    print(json.dumps({**result, "ratios": ratios(found["rates"])}, indent=1))


if __name__ == "__main__":
    main()
