"""LitData: chunks of 64 MB without compression, StreamingDataset in sequence, one process; JPEG by simplejpeg."""

import json
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import litdata
import litdata.streaming.downloader
import simplejpeg


def samples_of(path: str):
    """The JPEGs of one tar."""
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".jpg"):
                yield {"jpg": tar.extractfile(member).read()}


def write(source: str, target: str) -> dict[str, object]:
    """Tars to chunks."""
    tars = sorted(str(path) for path in Path(source).glob("*.tar"))
    litdata.optimize(samples_of, tars, output_dir=target, chunk_bytes="64MB", num_workers=1, verbose=False)
    return {"samples": -1}


def read(target: str, decode: str, passes: str, remote: str = "") -> dict[str, object]:
    """Read everything, each pass timed; from `remote` through a new local cache if given."""
    options = {}
    if remote:
        # Its client refuses plain http otherwise; the server of this benchmark speaks nothing else.
        litdata.streaming.downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
        options["storage_options"] = {
            "endpoint_url": os.environ["PEER_ENDPOINT"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "region_name": "us-east-1",
        }
        options["cache_dir"] = tempfile.mkdtemp(dir=os.path.dirname(target))
    data = litdata.StreamingDataset(remote or target, shuffle=False, **options)
    times = []
    for _ in range(int(passes)):
        wall, cpu = time.perf_counter(), time.process_time()
        samples = size = 0
        for sample in data:
            samples += 1
            size += sum(sample["jpg"][::4096])
            if decode == "jpeg":
                simplejpeg.decode_jpeg(sample["jpg"])
        times.append([time.perf_counter() - wall, time.process_time() - cpu])
    return {"samples": samples, "times": times, "touched": size}


if __name__ == "__main__":
    print(json.dumps((write if sys.argv[1] == "write" else read)(*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
