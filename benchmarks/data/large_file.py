"""A source file of 10 GB within the engine's bound: how much memory the workers and their supervisor really hold.

    .venv/bin/python -m benchmarks.data.large_file [--gigabytes 10] [--packed-gigabytes 0.1] [--workers 2] [--folder DIR]

Makes two files below `--folder` (a temporary one): a WARC of `--gigabytes`, pictures of 1 MiB (holes on disk) between
pages, which is read in parts; and a `.jsonl.gz` that is one gzip member and unpacks to `--packed-gigabytes`, which can
only be streamed. Both go through the shard function of `data build`. Prints one JSON document with the peak of each
process's own memory (sampled every 20 ms), the bound, seconds, and counts that show that every record was seen once.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expedition.data.builder import PRELOAD, worker_memory_bytes
from expedition.data.engine import Limits, Task, map_shards
from expedition.data.engine.worker import own_memory_bytes
from expedition.data.sources import SourceFolder, list_items
from expedition.data.versions.prepare import SLOWEST_BYTES_PER_S, PrepareUnit, Setup, Unit
from expedition.plan import load_programme

_PICTURE = 1 << 20
_SENTENCE = "Page {n} tells how the keeper of lighthouse {n} counted the ships before the fog came in from the sea. "


def write_warc(path: Path, size: int) -> int:
    """A WARC of about `size` bytes; returns how many pages it holds."""
    pages = 0
    with path.open("wb") as file:
        while file.tell() < size:
            for _ in range(4):
                file.write(_head("image/jpeg", _PICTURE))
                file.seek(_PICTURE, os.SEEK_CUR)
                file.write(b"\r\n\r\n")
            text = (_SENTENCE.format(n=pages) * 20).encode()
            file.write(_head("text/plain", len(text)) + text + b"\r\n\r\n")
            pages += 1
    return pages


def _head(content: str, length: int) -> bytes:
    lines = ["WARC/1.0", "WARC-Type: resource", "WARC-Record-ID: <urn:x>", "WARC-Target-URI: http://example.org/"]
    return "\r\n".join([*lines, f"Content-Type: {content}", f"Content-Length: {length}", "", ""]).encode()


def write_rows(path: Path, size: int) -> int:
    """One gzip member of JSON lines that unpacks to about `size` bytes; returns how many rows."""
    rows = written = 0
    with gzip.open(path, "wb", compresslevel=1) as file:
        while written < size:
            row = json.dumps({"text": _SENTENCE.format(n=rows) * 40}).encode() + b"\n"
            file.write(row)
            rows, written = rows + 1, written + len(row)
    return rows


@contextmanager
def memory_watched() -> Iterator[dict[int, int]]:
    """Peak of own memory, bytes, by process: this one and all below it."""
    peaks: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for pid in [os.getpid(), *_below(os.getpid())]:
                peaks[pid] = max(peaks.get(pid, 0), own_memory_bytes(pid))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _below(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in [child, *_below(child)]]


def measure(root: Path, name: str, workers: int) -> dict[str, Any]:
    """Clean the source `name`, an item a task."""
    programme = load_programme("rehearsal")
    setup = Setup(programme.data.model_dump_json(), programme.media.model_dump_json(), root / "eval")
    started = time.perf_counter()
    source = SourceFolder(name, root, "web")
    items = list_items(source)
    listed = time.perf_counter() - started
    limits = Limits(workers=workers, memory_bytes=worker_memory_bytes(workers), preload=PRELOAD)
    tasks = [
        Task(f"t{n:05d}", Unit(source, (item,), 1.0, False), extra_s=item.size_bytes / SLOWEST_BYTES_PER_S)
        for n, item in enumerate(items)
    ]
    with memory_watched() as peaks:
        outcomes = map_shards(PrepareUnit(setup), tasks, root / "out" / name, limits)
    wall = time.perf_counter() - started
    size = sum(item.size_bytes for item in items)
    own = peaks.pop(os.getpid(), 0)
    return {
        "file_bytes": size,
        "parts": len(items),
        "list_s": listed,
        "wall_s": wall,
        "read_bytes_per_s": size / wall,
        "decoded": sum(outcome.summary.get("decoded", 0) for outcome in outcomes),
        "rejects": _summed(outcome.summary["counts"]["rejects"] for outcome in outcomes if outcome.summary),
        "quarantined": [outcome.quarantined for outcome in outcomes if outcome.quarantined],
        "worker_bound_bytes": limits.memory_bytes,
        "worker_peak_bytes": max(peaks.values(), default=0),
        "supervisor_peak_bytes": own,
    }


def _summed(parts: Iterator[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return total


def main() -> None:
    """Make the files, measure both, remove them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--packed-gigabytes", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        for name in ("crawl", "rows"):
            (root / name).mkdir()
        pages = write_warc(root / "crawl" / "crawl.warc", int(options.gigabytes * 1e9))
        rows = write_rows(root / "rows" / "rows.jsonl.gz", int(options.packed_gigabytes * 1e9))
        result = {
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "cut": {**measure(root, "crawl", options.workers), "pages_written": pages},
            "streamed": {**measure(root, "rows", options.workers), "rows_written": rows},
        }
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
