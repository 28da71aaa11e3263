"""Megatron Energon: WebDataset tars prepared by its own tool, read in sequence, one process; JPEG by simplejpeg."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import simplejpeg
from megatron.energon import (
    Cooker,
    DefaultTaskEncoder,
    Sample,
    WorkerConfig,
    basic_sample_keys,
    edataclass,
    get_loader,
    get_val_dataset,
    stateless,
)


@edataclass
class Jpeg(Sample):
    """One member of a tar."""

    jpg: bytes


@stateless
def cook(sample: dict) -> Jpeg:
    """A sample as it lies in the tar."""
    return Jpeg(**basic_sample_keys(sample), jpg=sample["jpg"])


class Encoder(DefaultTaskEncoder):
    """No batches, nothing decoded."""

    decoder = None
    cookers = (Cooker(cook),)


def write(source: str, target: str) -> dict[str, object]:
    """Links to the tars, with the index that its tool makes."""
    folder = Path(target)
    folder.mkdir(parents=True)
    for path in sorted(Path(source).glob("*.tar")):
        os.link(path, folder / path.name)
    tool = str(Path(sys.executable).with_name("energon"))
    options = ["--non-interactive", "--split-parts", r"train:.*\.tar", "--sample-type", "CrudeWebdataset"]
    command = [tool, "prepare", target, *options, "--num-workers", "1", "--no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {}


def read(target: str, decode: str, passes: str) -> dict[str, object]:
    """Read everything, each pass timed."""
    times = []
    for _ in range(int(passes)):
        data = get_loader(
            get_val_dataset(
                target,
                split_part="train",
                worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0),
                batch_size=None,
                task_encoder=Encoder(),
            )
        )
        wall, cpu = time.perf_counter(), time.process_time()
        samples = size = 0
        for sample in data:
            samples += 1
            size += sum(sample.jpg[::4096])
            if decode == "jpeg":
                simplejpeg.decode_jpeg(sample.jpg)
        times.append([time.perf_counter() - wall, time.process_time() - cpu])
    return {"samples": samples, "times": times, "touched": size}


if __name__ == "__main__":
    print(json.dumps((write if sys.argv[1] == "write" else read)(*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
