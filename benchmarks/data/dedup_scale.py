"""Deduplication of any number of gigabytes of generated text on this machine's disk, by the path that a build takes.

    .venv/bin/python benchmarks/data/dedup_scale.py --gigabytes 20 --memory-mib 256 --workers 2 --folder /scratch/dedup
    .venv/bin/python benchmarks/data/dedup_scale.py --documents 10000000 --mean-words 130 --folder /scratch/dedup

Generates the documents (made_text.py) if the folder has them not yet, finds the copies by exchange, compares with what
was planted, and prints one JSON document. A killed run goes on with the same command; its figures then cover only what
this run did (`resumed`). Progress with the time that is left goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.data import made_text
from benchmarks.data.processes import Sampler, cpu_s
from expedition.data.engine import Limits, Progress, Task, map_shards
from expedition.data.engine.tables import read_table
from expedition.data.stages.dedup import NearRule
from expedition.data.versions.copies import Copies
from expedition.data.versions.repeats import Repeats, find_repeats

FILE_BYTES = 32 << 20
_STEPS = ("fingerprints", "exact", "gone", "bands", "verify", "media", "media-verify")
_SHARES = {
    "fingerprints": 0.66,
    "exact": 0.02,
    "gone": 0.02,
    "bands": 0.1,
    "verify": 0.17,
    "media": 0.01,
    "media-verify": 0.01,
}
"""Shares of the time, as measured on two cores: for the estimate of what is left, no result."""


@dataclass(slots=True)
class Clock:
    """Which step runs, since when, and what it took: told by the engine's progress."""

    started: float = field(default_factory=time.perf_counter)
    steps: list[dict[str, Any]] = field(default_factory=list)
    stage: int = -1
    half: str = ""
    resumed: bool = False
    told_at: float = 0.0

    def __call__(self, step: Progress) -> None:
        """One task is done."""
        if step.step != self.half:
            self.half = step.step
            # Every exchange is a scatter and a gather; what comes first of all is the fingerprints.
            self.stage += self.half != "gather"
            name = _STEPS[self.stage] if self.stage < len(_STEPS) else "components"
            self._end()
            half = self.half if self.half in ("scatter", "gather") else "map"
            self.steps.append({"stage": name, "half": half, "at": time.perf_counter(), "cpu": cpu_s(), "tasks": 0})
        self.resumed |= not step.fresh
        self.steps[-1]["tasks"] += 1
        now = time.perf_counter()
        if now - self.told_at > 2 or step.done == step.total:
            self.told_at = now
            left = self._left_s(step)
            sys.stderr.write(
                f"{now - self.started:7.0f} s  {self.steps[-1]['stage']} {self.steps[-1]['half']} "
                f"{step.done}/{step.total}  about {left:.0f} s left\n"
            )

    def _left_s(self, step: Progress) -> float:
        half = {"map": 0.0, "scatter": 0.0, "gather": 0.5}.get(self.steps[-1]["half"], 0.0)
        inside = step.done / step.total * (0.5 if self.half in ("scatter", "gather") else 1.0) + half
        names = list(_SHARES)
        done = sum(_SHARES[name] for name in names[: self.stage])
        done += _SHARES.get(self.steps[-1]["stage"], 0.0) * inside
        return (time.perf_counter() - self.started) * (1 / max(done, 1e-3) - 1)

    def _end(self) -> None:
        if self.steps:
            last = self.steps[-1]
            last["wall_s"] = round(time.perf_counter() - last.pop("at"), 3)
            last["cpu_s"] = round(cpu_s() - last.pop("cpu"), 3)

    def finish(self) -> list[dict[str, Any]]:
        """Wall and processor seconds of each half of each stage. A step's time starts with its first finished task,
        so the first task's time counts to the step before."""
        self._end()
        return self.steps


def generate(folder: Path, options: argparse.Namespace) -> tuple[list[Path], int, int]:
    """The files of documents, the number of documents, and bytes of text."""
    sample = made_text.MadeFile(options.mean_words)
    with tempfile.TemporaryDirectory() as name:
        tried = sample((0, 2000), Path(name))
    each = max(1, int(FILE_BYTES / (tried["text_bytes"] / tried["documents"])))
    wanted = options.documents or max(1, round(options.gigabytes * 1e9 / FILE_BYTES)) * each
    files = -(-wanted // each)
    tasks = [Task(f"made-{n:06d}", (n * each, min((n + 1) * each, wanted))) for n in range(files)]
    started = time.perf_counter()

    def told(step: Progress) -> None:
        if step.fresh and step.done % 20 == 0:
            left = (time.perf_counter() - started) * (step.total / step.done - 1)
            sys.stderr.write(f"generated {step.done}/{step.total} files, about {left:.0f} s left\n")

    place = folder / f"documents-{options.mean_words}{f'-{wanted}' if options.documents else ''}"
    outcomes = map_shards(sample, tasks, place, Limits(workers=options.workers), told)
    text_bytes = sum(item.summary["text_bytes"] for item in outcomes)
    return [item.folder / "documents.arrow" for item in outcomes], wanted, text_bytes


def judge(copies: Copies, documents: int) -> dict[str, Any]:
    """The copies found against those planted, by class."""
    numbers = np.arange(documents, dtype=np.uint64)
    kinds, sources = made_text.classes(numbers), made_text.sources(numbers).astype(np.int64)
    home = np.arange(documents)
    for table in copies.tables:
        rows = read_table(table)
        ids, of = ([int(name, 16) for name in rows.column(column).to_pylist()] for column in ("id", "of"))
        home[ids] = of
    found = home == home[sources]
    names = {
        made_text.EXACT: "exact",
        made_text.NEAR_1: "near_1_percent",
        made_text.NEAR_3: "near_3_percent",
        made_text.FAR_10: "far_10_percent",
    }
    joined = {name: round(float(found[kinds == kind].mean()), 5) for kind, name in names.items()}
    dropped = np.flatnonzero(home != np.arange(documents))
    wrong = sources[dropped] != sources[home[dropped]]
    boilerplate = kinds[dropped] == made_text.BOILERPLATE
    planted = (kinds == made_text.EXACT) | (kinds == made_text.NEAR_1) | (kinds == made_text.NEAR_3)
    return {
        "planted": int(planted.sum()),
        "dropped": len(dropped),
        "recall": round(float(found[planted].mean()), 5),
        "precision": round(1 - float(wrong.mean()), 5) if len(dropped) else None,
        "joined_share_by_class": joined,
        "boilerplate_dropped": int(boilerplate.sum()),
        "boilerplate": int((kinds == made_text.BOILERPLATE).sum()),
    }


def _summed(work: Path, stage: str, name: str) -> int:
    """Sum of one count over the committed tasks of a stage."""
    found = (json.loads(path.read_text(encoding="utf-8")) for path in work.glob(f"{stage}/*/summary.json"))
    return sum(summary["work"].get(name, 0) for summary in found)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.1)
    parser.add_argument("--documents", type=int, help="how many, instead of --gigabytes")
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mean-words", type=int, default=400)
    parser.add_argument("--folder", type=Path, help="keeps documents and work; default: a temporary folder")
    parser.add_argument("--anew", action="store_true", help="keep the documents, compare from the start")
    parser.add_argument("--out", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(options.folder or Path(temporary), options)
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Generate, compare, judge."""
    paths, documents, text_bytes = generate(folder, options)
    work = folder / f"work-{options.documents or f'{options.gigabytes:g}'}-{options.memory_mib}"
    if options.anew:
        shutil.rmtree(work, ignore_errors=True)
    clock, sampler = Clock(), Sampler(work)
    preload = ("expedition.data.versions.repeats",)
    limits = Limits(workers=options.workers, task_s=3600.0, report=clock, preload=preload)
    repeats = Repeats(NearRule(), ("made",), in_memory_bytes=-1, memory_bytes=options.memory_mib << 20)
    sampler.start()
    cpu = cpu_s()
    copies = find_repeats(paths, text_bytes, repeats, work, limits)
    wall_s, cpu = time.perf_counter() - clock.started, cpu_s() - cpu
    steps, peaks = clock.finish(), sampler.stop()
    own = peaks.process_bytes.pop(os.getpid(), 0)
    by_process = sorted(peaks.process_bytes.values(), reverse=True)
    return {
        "what": "near and exact deduplication of generated text, by exchange",
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "workers": options.workers,
        "memory_setting_bytes": options.memory_mib << 20,
        "documents": documents,
        "text_bytes": text_bytes,
        "files": len(paths),
        "resumed": clock.resumed,
        "wall_s": round(wall_s, 2),
        "cpu_s": round(cpu, 2),
        "documents_per_s": round(documents / wall_s),
        "text_bytes_per_s": round(text_bytes / wall_s),
        "text_bytes_per_cpu_s": round(text_bytes / cpu),
        "peak_resident_bytes_of_a_worker": by_process[0] if by_process else 0,
        "peak_resident_bytes_by_process": by_process[:8],
        "peak_resident_bytes_of_the_caller": own,
        "peak_resident_bytes_of_all": peaks.tree_bytes,
        "peak_work_disk_bytes": peaks.folder_bytes,
        "steps": steps,
        "proposed_pairs": _summed(work, "*/bands/gather", "proposed"),
        "compared_pairs": _summed(work, "*/verify/gather", "compared"),
        "capped_rows": _summed(work, "*/bands/gather", "capped_rows"),
        "truth": judge(copies, documents),
    }


if __name__ == "__main__":
    main()
