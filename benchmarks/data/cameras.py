"""The six-camera plan: what the formula asks for, what this machine's disk gives on real shards, and the cache it needs.

    .venv/bin/python -m benchmarks.data.cameras [--samples 40] [--quick]

Writes a dataset version whose driving documents are one second of six cameras (480 × 854 pixels, 12 Hz, JPEG frames), among
documents of other kinds, and calls what `expedition data bench-storage` calls. Prints one JSON document: the report, and the
programme's own estimate. The kernel may ignore the advice to drop its page cache; the rates are then of memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.data.loading.made_version import Made, generated, jpeg, write_version

from expedition.data.loading import io_report
from expedition.data.records import CAMERAS, PLACEHOLDER, Insert
from expedition.plan import load_programme
from expedition.workspace import Workspace

HEIGHT, WIDTH, RATE_HZ = 480, 854, 12


def drives(samples: int) -> list[Made]:
    """One second of six cameras each; cameras show the same few pictures in other orders."""
    generator = np.random.default_rng(1)
    frames = [jpeg(generator, HEIGHT, WIDTH) for _ in range(RATE_HZ)]
    made = []
    for number in range(samples):
        inserts: list[Insert] = []
        for place, name in enumerate(CAMERAS):
            turn = (number + place) % RATE_HZ
            pictures = frames[turn:] + frames[:turn]
            meta = {
                "width": WIDTH,
                "height": HEIGHT,
                "frames": RATE_HZ,
                "sizes": [len(picture) for picture in pictures],
                "timestamps_s": [index / RATE_HZ for index in range(RATE_HZ)],
                "fps_sampled": float(RATE_HZ),
            }
            inserts += [Insert("special", f"<|camera_{name}|>"), Insert("video", data=b"".join(pictures), meta=meta)]
        made.append(Made("driving", PLACEHOLDER * len(inserts) + f"drive {number}", tuple(inserts)))
    return made


def main() -> None:
    """Write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="10 samples")
    options = parser.parse_args()
    mix = "runs.main.mix={web: 6, code: 2, image-text: 2, video-text: 1, audio-text: 1}"
    programme = load_programme("rehearsal", ["runs.main.sequence_length=256", mix])
    with tempfile.TemporaryDirectory() as name:
        ws = Workspace.open(Path(name) / "ws", create=True)
        made = drives(10 if options.quick else options.samples)
        stored = sum(len(insert.data) for document in made for insert in document.inserts) / len(made)
        write_version(ws, "v0.1", generated(1, 4) + made, shard_documents=4)
        report = io_report(ws, programme, megabytes=256)
    print(json.dumps({"stored_sample_bytes_per_s": round(stored), **report}, indent=1))


if __name__ == "__main__":
    main()
