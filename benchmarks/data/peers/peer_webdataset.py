"""webdataset: shards in sequence, one process, samples as dicts; JPEG by Pillow (its "rgb8")."""

import json
import sys
import time
from pathlib import Path

import webdataset


def read(folder: str, decode: str, passes: str) -> dict[str, object]:
    """Read all shards, each pass timed."""
    shards = sorted(str(path) for path in Path(folder).glob("*.tar"))
    times = []
    for _ in range(int(passes)):
        data = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
        if decode == "jpeg":
            data = data.decode("rgb8")
        wall, cpu = time.perf_counter(), time.process_time()
        samples = size = 0
        for sample in data:
            samples += 1
            size += len(sample["jpg"]) if decode == "jpeg" else sum(sample["jpg"][::4096])
        times.append([time.perf_counter() - wall, time.process_time() - cpu])
    return {"samples": samples, "times": times, "touched": size}


if __name__ == "__main__":
    print(json.dumps({} if sys.argv[1] == "write" else read(*sys.argv[2:])))
