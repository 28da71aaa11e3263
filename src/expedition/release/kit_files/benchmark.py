"""Measure the release on this machine: `python kit/benchmark.py [--tokens N] [--new-tokens N] [--repeats N]`.

Prints one JSON document: seconds to load, tokens a second read (one forward pass over a text) and written (greedy).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

started = time.monotonic()  # before torch is imported

import torch  # noqa: E402
from documents import RELEASE, batch, generate, load_release  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the release on this machine.")
    parser.add_argument("--tokens", type=int, default=256, help="length of the text that is read")
    parser.add_argument("--new-tokens", type=int, default=32, help="tokens that are written")
    parser.add_argument("--repeats", type=int, default=3, help="measurements; the median counts")
    parser.add_argument("--release", type=Path, default=RELEASE, help="folder of the release")
    options = parser.parse_args()
    release = load_release(options.release)
    load_s = time.monotonic() - started
    words = torch.arange(1, options.tokens + 1) % 200 + 10
    inputs = batch(release, [words.tolist()], [])
    read_s, write_s = [], []
    with torch.inference_mode():
        release.model.thinker(**inputs)
        for _ in range(options.repeats):
            begin = time.monotonic()
            release.model.thinker(**inputs).logits.sum().item()
            read_s.append(time.monotonic() - begin)
            begin = time.monotonic()
            generate(release, batch(release, [words[:8].tolist()], []), options.new_tokens, options.new_tokens)
            write_s.append(time.monotonic() - begin)
    report = {
        "device": torch.cuda.get_device_name() if release.device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": str(release.model.dtype).removeprefix("torch."),
        "load_s": round(load_s, 3),
        "read_tokens_per_s": round(options.tokens / statistics.median(read_s), 1),
        "written_tokens_per_s": round(options.new_tokens / statistics.median(write_s), 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
