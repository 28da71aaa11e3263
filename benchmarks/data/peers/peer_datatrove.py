"""datatrove: WarcReader → JsonlWriter (no compression) in its LocalPipelineExecutor, a task, in this process.

`read FOLDER OUT EXTRACT ISAL`: EXTRACT is "none" or "trafilatura" (its own extractor, at its defaults); ISAL "yes" lets fsspec
unpack by isal, which it does wherever that is installed, "no" leaves it as datatrove's own extras install it.
"""

import json
import os
import shutil
import sys
import time

if sys.argv[5] == "no":
    sys.modules["isal"] = None

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger


def read(folder: str, out: str, extract: str, _isal: str) -> dict[str, object]:
    """The archives of a folder to JSON lines, twice; the second run is what counts."""
    times = []
    for _ in range(2):
        shutil.rmtree(out, ignore_errors=True)
        stages = [Trafilatura(timeout=10)] if extract == "trafilatura" else []
        steps = [WarcReader(folder, glob_pattern="*.gz"), *stages, JsonlWriter(out, compression=None)]
        wall, cpu = time.perf_counter(), cpu_s()
        LocalPipelineExecutor(pipeline=steps, tasks=1, workers=1).run()
        times.append([time.perf_counter() - wall, cpu_s() - cpu])
    documents = size = 0
    for name in os.listdir(out):
        with open(os.path.join(out, name), "rb") as file:
            for line in file:
                documents += 1
                size += len(json.loads(line)["text"].encode())
    return {"documents": documents, "text_bytes": size, "times": times}


def cpu_s() -> float:
    """Processor seconds of this process and its ended children (the extractor runs in one)."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    logger.remove()
    print(json.dumps(read(*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
