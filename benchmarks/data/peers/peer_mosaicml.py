"""mosaicml-streaming: MDS shards of 64 MB without compression, in sequence, one process, as its docs advise for speed."""

import importlib.machinery
import io
import json
import os
import sys
import tarfile
import tempfile
import time
import types
from pathlib import Path

from PIL import Image


class _Absent(types.ModuleType):
    """torchvision, which streaming imports for its vision data sets alone, and whose wheel needs a CUDA build of torch."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for _name in ("", ".datasets", ".datasets.folder", ".transforms", ".transforms.functional"):
    _module = sys.modules[f"torchvision{_name}"] = _Absent(f"torchvision{_name}")
    _module.__spec__ = importlib.machinery.ModuleSpec(_module.__name__, None)

from streaming import MDSWriter, StreamingDataset  # noqa: E402


def write(source: str, target: str) -> dict[str, object]:
    """Tars to MDS."""
    samples = 0
    with MDSWriter(out=target, columns={"jpg": "bytes"}, compression=None, hashes=[], size_limit=1 << 26) as out:
        for path in sorted(Path(source).glob("*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.name.endswith(".jpg"):
                        out.write({"jpg": tar.extractfile(member).read()})
                        samples += 1
    return {"samples": samples}


def read(target: str, decode: str, passes: str, remote: str = "") -> dict[str, object]:
    """Read everything, each pass timed; from `remote` into a new local folder if given."""
    local = tempfile.mkdtemp(dir=os.path.dirname(target)) if remote else target
    data = StreamingDataset(local=local, remote=remote or None, shuffle=False, batch_size=64, num_canonical_nodes=1)
    times = []
    for _ in range(int(passes)):
        wall, cpu = time.perf_counter(), time.process_time()
        samples = size = 0
        for sample in data:
            samples += 1
            size += sum(sample["jpg"][::4096])
            if decode == "jpeg":
                Image.open(io.BytesIO(sample["jpg"])).convert("RGB").tobytes()
        times.append([time.perf_counter() - wall, time.process_time() - cpu])
    return {"samples": samples, "times": times, "touched": size}


if __name__ == "__main__":
    print(json.dumps((write if sys.argv[1] == "write" else read)(*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
