"""The arms by the seeds, a file each: what is there is not run again, so pieces of any length end with the same files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.train.device import describe_code, describe_device
from benchmarks.train.fp8_convergence.arms import ARMS, SEEDS, SHAPE, config_of, counting, run_of
from benchmarks.train.fp8_convergence.graphed import aside, train_graphed
from benchmarks.train.fp8_convergence.text import Corpus, read_corpus
from expedition.model.counts import count_parameters
from expedition.parallel.mesh import Ranks
from expedition.plan.shapes import ModelShape
from expedition.train.setup import build, choose_device, fix_numerics
from expedition.workspace.atomic import write_atomic

COUNTS = 10
"""How often a run counts what FP8 loses; the last count is kept."""
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Cell:
    """One run."""

    arm: str
    seed: int

    def path(self, folder: Path) -> Path:
        """Where its result lies."""
        return folder / f"{self.arm}-{self.seed}.json"


def all_cells(arms: Sequence[str] = tuple(ARMS), seeds: Sequence[int] = SEEDS) -> list[Cell]:
    """Seed by seed, so that a piece that ends early leaves whole comparisons."""
    return [Cell(arm, seed) for seed in seeds for arm in arms]


def run_cell(cell: Cell, corpus: Corpus, steps: int, shape: ModelShape = SHAPE, **changes: Any) -> dict[str, Any]:
    """Train one arm from one seed to the end."""
    precision = counting(ARMS[cell.arm], max(1, steps // COUNTS))
    run, config = run_of(precision, steps, cell.seed, **changes), config_of(shape, corpus.vocabulary)
    fix_numerics(run)
    begin = time.perf_counter()
    device = choose_device(run)
    with aside(device):
        built = build(config, run, Ranks(0, 1), device)
        set_up = time.perf_counter() - begin
        found = train_graphed(built, run, corpus)
    found["counted"] = found["counted"][-1:]
    peak = torch.cuda.max_memory_allocated() if built.device.type == "cuda" else None
    return {
        "arm": cell.arm,
        "seed": cell.seed,
        "steps": steps,
        "tokens_a_step": run.batch_tokens_at(0),
        "parameters": count_parameters(config).to_json(),
        "fp8_modules": len(built.fp8_modules),
        "set_up_s": round(set_up, 2),
        "peak_bytes": peak,
        "corpus": corpus.about,
        "precision": run.precision.model_dump(mode="json"),
        **describe_device(),
        **describe_code(ROOT / "src"),
        **found,
    }


def write_cell(cell: Cell, corpus_path: Path, folder: Path, steps: int) -> None:
    """`run_cell` of the real shape, and its file."""
    found = run_cell(cell, read_corpus(corpus_path), steps)
    write_atomic(cell.path(folder), json.dumps(found).encode())


def run_missing(corpus: Path, folder: Path, steps: int, *, minutes: float, together: int) -> list[Cell]:
    """Run cells without a result, `together` at a time in processes of their own; returns those that are still missing.

    After `minutes` what runs is ended and left to the next piece. A step of this size leaves the device idle while its
    kernels are being launched, so several runs take little more time than one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    waiting = [cell for cell in all_cells() if not cell.path(folder).exists()]
    running: dict[Cell, subprocess.Popen[bytes]] = {}
    while (waiting or running) and time.monotonic() < end:
        while waiting and len(running) < together:
            cell = waiting.pop(0)
            running[cell] = _start(cell, corpus, folder, steps)
        time.sleep(0.2)
        for cell, job in list(running.items()):
            if job.poll() is not None:
                del running[cell]
                print(f"{cell.arm} seed {cell.seed}: {'done' if cell.path(folder).exists() else 'failed'}", flush=True)
    for job in running.values():
        job.kill()
        job.wait()
    return [cell for cell in all_cells() if not cell.path(folder).exists()]


def _start(cell: Cell, corpus: Path, folder: Path, steps: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.train.fp8_convergence", "cell", cell.arm, str(cell.seed)]
    options = ["--corpus", str(corpus), "--out", str(folder), "--steps", str(steps)]
    return subprocess.Popen([*command, *options], env={**os.environ, "OMP_NUM_THREADS": "1"})
