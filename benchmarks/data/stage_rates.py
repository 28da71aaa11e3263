"""Processor seconds of each stage of a text build, for planning: what one core does in a second.

    .venv/bin/python benchmarks/data/stage_rates.py --data FOLDER --out benchmarks/data/stage_rates.json

`prepare` (decode and every cleaning stage) runs on the real raw files of FOLDER, a rate a kind of source; without
FOLDER it is left unknown. The others run on generated documents (made_text.py). Each figure is process time of one
process, first and warm-up work left out, so another process on the machine changes it little. The compare stages come
from dedup_scale.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.data.made_text import MadeFile
from expedition.data.engine.runs import write_segment
from expedition.data.engine.tables import read_batches, read_table
from expedition.data.loading.packing import best_fit
from expedition.data.sources import discover, list_items, work_units
from expedition.data.stages.dedup import NearRule
from expedition.data.tokenizer import Tokenizer, qwen_vocabulary
from expedition.data.versions.assemble import ROWS, Prepared, Tokenise, reduce_shard
from expedition.data.versions.plan import plan_shards
from expedition.data.versions.prepare import PrepareUnit, Setup, Unit
from expedition.data.versions.prints import PRINTS, FingerprintFile
from expedition.plan import load_programme
from expedition.plan.media import MediaRule


def prepare_rates(data: Path, most_bytes: int) -> dict[str, Any]:
    """By kind of source: raw bytes a core reads in a second, and bytes of text that come out of a byte."""
    programme = load_programme()
    setup = Setup(programme.data.model_dump_json(), programme.media.model_dump_json(), data / "none")
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for source in discover(data):
        units = work_units(list_items(source))
        done = 0
        for number, items in enumerate(units):
            size = sum(item.size_bytes for item in items)
            if done > most_bytes:
                break
            done += size
            with tempfile.TemporaryDirectory() as name:
                run = PrepareUnit(setup)
                if number == 0:
                    # Models and tables are loaded once a process: not part of a rate.
                    (Path(name) / "warm").mkdir()
                    run(Unit(source, items[:4], 1.0, False), Path(name) / "warm")
                started = time.process_time()
                summary = run(Unit(source, items, 1.0, False), Path(name))
                spent = time.process_time() - started
            for place, value in enumerate((size, spent, summary["text_bytes"], summary["documents"])):
                totals[source.kind][place] += value
    return {
        kind: {
            "raw_bytes": int(raw),
            "cpu_s": round(spent, 3),
            "raw_bytes_per_cpu_s": round(raw / spent),
            "text_bytes_out_per_raw_byte": round(text / raw, 5),
            "documents": int(documents),
        }
        for kind, (raw, spent, text, documents) in sorted(totals.items())
        if spent and raw
    }


def made_rates(documents: int) -> dict[str, Any]:
    """Rates on generated documents."""
    rates: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for part in ("made", "warm", "prints", "rows", "shard"):
            (root / part).mkdir()
        made = MadeFile(400)((0, documents), root / "made")
        path, text_bytes = root / "made" / "documents.arrow", made["text_bytes"]

        def rate(stage: str, started: float, **more: Any) -> None:
            spent = time.process_time() - started
            figures = {"cpu_s": round(spent, 3), "text_bytes_per_cpu_s": round(text_bytes / spent)}
            rates[stage] = {**figures, "documents_per_cpu_s": round(documents / spent), **more}

        FingerprintFile(NearRule())(path, root / "warm")
        started = time.process_time()
        FingerprintFile(NearRule())(path, root / "prints")
        rate("fingerprint", started, bytes_out_per_text_byte=_ratio(root / "prints" / PRINTS, text_bytes))

        Tokenizer(qwen_vocabulary()).save(root / "tokenizer")
        work = Tokenise(root / "tokenizer", MediaRule(), plan_shards({"web": text_bytes}, 1 << 40, 0.0, "dataset"))
        work(Prepared("warm", path, frozenset()), root / "warm")
        started = time.process_time()
        work(Prepared("made", path, frozenset()), root / "rows")
        rate("tokenise", started, bytes_out_per_text_byte=_ratio(root / "rows" / ROWS, text_bytes))

        table = read_table(root / "rows" / ROWS).sort_by("id")
        started = time.process_time()
        segment = write_segment(root / "run", table.schema, iter([table]))
        rows = sum(batch.num_rows for batch in segment.batches())
        rate("exchange_rows", started, rows=rows, bytes_out_per_text_byte=segment.size_bytes / text_bytes)
        started = time.process_time()
        summary = reduce_shard(0, iter([table]), root / "shard")
        tokens = summary["tokens"]
        rate(
            "shards",
            started,
            bytes_out_per_text_byte=summary["bytes"] / text_bytes,
            bytes_per_token=text_bytes / tokens,
        )
        rates["read"] = _read(path, text_bytes)
    return rates


def _read(path: Path, text_bytes: int) -> dict[str, Any]:
    started = time.process_time()
    for batch in read_batches(path):
        batch.num_rows  # noqa: B018
    spent = max(time.process_time() - started, 1e-9)
    return {"cpu_s": round(spent, 4), "text_bytes_per_cpu_s": round(text_bytes / spent)}


def pack_rate(documents: int) -> dict[str, Any]:
    """Documents placed in sequences of 4,096 tokens."""
    lengths = np.random.Generator(np.random.PCG64(5)).lognormal(6.2, 1.0, documents).clip(16, 4096).astype(np.int64)
    started = time.process_time()
    best_fit(lengths, 4096)
    spent = time.process_time() - started
    return {"cpu_s": round(spent, 3), "documents_per_cpu_s": round(documents / spent)}


def _ratio(path: Path, text_bytes: int) -> float:
    return round(path.stat().st_size / text_bytes, 5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of raw sources")
    parser.add_argument("--most-bytes", type=int, default=20_000_000, help="of each source")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "load_1_min": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "prepare": prepare_rates(options.data, options.most_bytes) if options.data else None,
        **made_rates(options.documents),
        "pack": pack_rate(1_000_000),
    }
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
