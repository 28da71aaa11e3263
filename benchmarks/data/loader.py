"""Raw samples a second of one core: ours beside webdataset, mosaicml-streaming and LitData, in one run.

    .venv/bin/python benchmarks/data/loader.py [--quick] [--samples 4000] [--rounds 3]

JPEGs of about 40 kB in WebDataset tars; every peer in its own format at the settings its docs advise (peers/*.py), in an
environment of its own (.cache/peers). All read on the same core (taskset), interleaved; `cold` is the first pass after
the kernel was asked to drop the files, by wall clock, `warm` the second, by processor time. Without decoding every reader touches
a byte of every page of every sample. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.data import peers

SHARD_SAMPLES = 500
WINDOW_SHARDS = 4

OURS = """
import json, sys, time
from pathlib import Path
import numpy as np
import simplejpeg
from expedition.data.loading import ShardSamples
from expedition.data.loading.media import decode_image
folder, decode, passes, window = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
copy = sys.argv[5] == "copy"
samples = ShardSamples.of_tars(folder, ".jpg")
memory = [samples[n] for n in range(min(400, len(samples)))] if decode == "bare" else []
times = []
for number in range(passes):
    order = samples.order(7, epoch=number, window_shards=window) if window else np.arange(len(samples))
    wall, cpu = time.perf_counter(), time.process_time()
    size = 0
    if decode == "bare":
        for n in range(len(samples)):
            size += len(simplejpeg.decode_jpeg(memory[n % len(memory)]))
    else:
        for data in samples.read(order) if copy else samples.views(order):
            size += len(decode_image(data)) if decode == "jpeg" else sum(data[::4096])
    times.append([time.perf_counter() - wall, time.process_time() - cpu])
print(json.dumps({"samples": len(samples), "times": times, "touched": size}))
"""


def write_tars(folder: Path, samples: int) -> float:
    """`samples` JPEGs of about 40 kB; their mean size in bytes."""
    from PIL import Image

    generator = np.random.default_rng(1)
    sizes = []
    for shard in range(-(-samples // SHARD_SAMPLES)):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(SHARD_SAMPLES):
                coarse = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                picture = Image.fromarray(coarse).resize((448, 336), Image.Resampling.BICUBIC)
                noisy = np.asarray(picture, np.int16) + generator.integers(-14, 15, (336, 448, 1), dtype=np.int16)
                buffer = io.BytesIO()
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
                data = buffer.getvalue()
                sizes.append(len(data))
                for suffix, body in (("jpg", data), ("json", b'{"n": %d}' % number)):
                    member = tarfile.TarInfo(f"{shard:05d}{number:05d}.{suffix}")
                    member.size = len(body)
                    tar.addfile(member, io.BytesIO(body))
    return statistics.mean(sizes)


def drop_cached(folder: Path) -> None:
    """Ask the kernel to forget the files' pages."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def ours(folder: Path, decode: str, window: int, cpu: int, how: str = "view") -> dict[str, Any]:
    """Our reader in a fresh process on one core; `how` is "view" (mapped, not copied) or "copy" (bytes)."""
    command = ["taskset", "-c", str(cpu), sys.executable, "-c", OURS, str(folder), decode, "2", str(window), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(root: Path, options: argparse.Namespace, known: list[str]) -> dict[str, Any]:
    """Median rates of every reader, interleaved."""
    cpu = max(os.sched_getaffinity(0))
    rates: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for decode in ("none", "jpeg"):
            readers: dict[str, Any] = {
                "ours": (root / "tars", lambda f, d=decode: ours(f, d, 0, cpu)),
                "ours, copied": (root / "tars", lambda f, d=decode: ours(f, d, 0, cpu, "copy")),
                "ours, block shuffle": (root / "tars", lambda f, d=decode: ours(f, d, WINDOW_SHARDS, cpu)),
            }
            for name in known:
                folder = root / ("tars" if name == "webdataset" else name)
                readers[name] = folder, lambda f, d=decode, n=name: peers.run(n, "read", str(f), d, "2", cpu=cpu)
            if decode == "jpeg":
                readers["simplejpeg alone, from memory"] = root / "tars", lambda f: ours(f, "bare", 0, cpu)
            for name, (folder, read) in readers.items():
                drop_cached(folder)
                try:
                    found = read(folder)
                except (RuntimeError, subprocess.SubprocessError) as error:
                    sys.stderr.write(f"{name}: {error}\n")
                    continue
                (cold_wall, _), (_, warm_cpu) = found["times"][:2]
                rates.setdefault(f"{decode}/{name}/cold", []).append(found["samples"] / cold_wall)
                rates.setdefault(f"{decode}/{name}/warm", []).append(found["samples"] / max(warm_cpu, 1e-9))
    return {name: round(statistics.median(values)) for name, values in rates.items()}


def ratios(rates: dict[str, Any], known: list[str]) -> dict[str, float | None]:
    """Ours ÷ the best peer, and beside the goals."""

    def best(decode: str, heat: str) -> float | None:
        found = [rates[key] for name in known if (key := f"{decode}/{name}/{heat}") in rates]
        return max(found) if found else None

    def over(mine: str, other: float | None) -> float | None:
        return round(rates[mine] / other, 2) if other else None

    return {
        "none, warm: ours / best peer (goal 5)": over("none/ours/warm", best("none", "warm")),
        "none, warm, block shuffle / best peer": over("none/ours, block shuffle/warm", best("none", "warm")),
        "none, cold: ours / best peer": over("none/ours/cold", best("none", "cold")),
        "jpeg, warm: ours / webdataset with Pillow (goal 1.4)": over(
            "jpeg/ours/warm", rates.get("jpeg/webdataset/warm")
        ),
        "jpeg, warm: ours / bare simplejpeg (goal .95)": over(
            "jpeg/ours/warm", rates.get("jpeg/simplejpeg alone, from memory/warm")
        ),
    }


def main() -> None:
    """Write the data in every format, read it with every reader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1000 samples, one round")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.rounds = 1000, 1
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "tars").mkdir()
        mean_bytes = write_tars(root / "tars", options.samples)
        known, missing = [], {}
        for peer in peers.NAMES:
            try:
                peers.run(peer, "write", str(root / "tars"), str(root / peer))
                known.append(peer)
            except (RuntimeError, subprocess.SubprocessError) as error:
                missing[peer] = str(error)[-300:]
        rates = measure(root, options, known)
    result = {
        "samples": options.samples,
        "mean_sample_bytes": round(mean_bytes),
        "rounds": options.rounds,
        "cores_used": 1,
        "unit": "samples/s: cold by wall clock, warm by processor time",
        "rates": rates,
        "ratios": ratios(rates, known),
        "peers_that_did_not_run": missing,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
