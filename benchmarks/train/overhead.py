"""What the trainer costs beside the bare step: python -m benchmarks.train.overhead [--row 1b] [--steps 40] [--tiny]

The same model, the same packed batches: first `train_step` alone on batches that lie on the device, then `train_run` with its
callbacks, rules, metrics and a checkpoint, from batches in host memory. Prints one JSON document: seconds of a step of both
(medians), their ratio, the shares that the trainer's own clock gives to data and to callbacks, what one checkpoint cost the
steps (its copy, and sharing the machine while it is written), as a share of the time between two of them, and the seconds to
the first step. Goal: ratio ≥ 0.97, each share below 0.01.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Any

import torch

from benchmarks.train.device import describe_device
from benchmarks.train.made_batches import made_batch
from benchmarks.train.rows import ROWS, Work, tiny
from benchmarks.train.timing import time_steps
from expedition.data.loading.batch import Batch
from expedition.data.loading.pinned import pin_batch
from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train.batches import TensorBatch, to_tensors
from expedition.train.run import Inputs, train_run
from expedition.train.setup import build, fix_numerics
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from expedition.workspace import Workspace

RUN = "main"
CHECKPOINT_EVERY_S = 600.0
"""Between two checkpoints of the presets' long runs."""
SETTLING = 5
"""First steps that no figure counts: kernels are compiled, the allocator grows."""


class InTurn:
    """A `BatchSource` of a few steps' batches in page-locked memory, given out in turn: a loader that is never late."""

    def __init__(self, steps: Sequence[Sequence[Batch]]) -> None:
        self._steps = steps

    def rank_batch(self, step: int, rank: int, world: int) -> Sequence[Batch]:
        return self._steps[step % len(self._steps)]

    def rank_batches(self, start: int, stop: int, rank: int, world: int) -> Generator[Sequence[Batch], None, None]:
        yield from (self.rank_batch(step, rank, world) for step in range(start, stop))

    def account(self, stretches: Iterable[tuple[int, int]]) -> dict[str, Any]:
        return {"tokens": 0, "by_kind": {}}

    def fingerprint_at(self, step: int) -> str:
        return "made batches in turn"

    def require_same(self, step: int, fingerprint: str) -> None:
        """Always the same."""


@dataclass(frozen=True, slots=True)
class Saved:
    """The checkpoint in the middle of the run."""

    step: int
    """Steps that were done when it was taken."""
    write_s: float
    """Seconds of writing it, beside training."""


def plan_of(work: Work, device: torch.device, steps: int, save_at: int) -> RunPlan:
    """The run that both sides take; a checkpoint is written once, in the middle."""
    return RunPlan.model_validate(
        {
            "model": "measured",
            "length": f"{steps} steps",
            "sequence_length": work.sequence_length,
            "batch_sequences": work.sequences * work.micro_batches,
            "micro_batches": work.micro_batches,
            "learning_rate": {"peak": 1e-5, "floor": 1e-6, "warmup": "10 steps"},
            "precision": {"compute": "bf16"},
            "parallel": {"recompute": work.recompute},
            "checkpoint": {"permanent_every": f"{save_at} steps"},
            "rules": ("nan", "spike"),
            "bad_step": {"spike_deviations": 8.0},
            "device": device.type,
            "threads": 1,
        }
    )


def bare_step_s(config: OmniConfig, run: RunPlan, steps: Sequence[Sequence[Batch]], count: int) -> list[float]:
    """Seconds of each step without a trainer around it."""
    device = torch.device(run.device)
    fix_numerics(run)
    built = build(config, run, Ranks(0, 1), device)
    tensors = [[to_tensors(batch, device, built.dtype) for batch in batches] for batches in steps]
    turns: Iterator[list[TensorBatch]] = cycle(tensors)
    no_laps = Stopwatch(torch.device("cpu"))
    found = time_steps(
        lambda: train_step(built.parts, built.state, next(turns), (), no_laps).loss, device, SETTLING, count
    )
    return list(found.step_s)


def measure(work: Work, device: torch.device, steps: int) -> dict[str, Any]:
    """Both sides, one after the other."""
    config = work.config()
    made = [[pin_batch(made_batch(work, config, 2 * step + n)) for n in range(work.micro_batches)] for step in range(2)]
    save_at = steps // 2 + 1  # not the last step too, whose checkpoint is waited for
    run = plan_of(work, device, steps, save_at)
    bare = statistics.median(bare_step_s(config, run, made, steps - SETTLING))
    if device.type == "cuda":
        torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(folder, create=True)
        begin = time.perf_counter()
        rows: list[dict[str, float]] = []
        train_run(
            ws, _programme(run, work), RUN, lambda moment: rows.append(moment.figures), Inputs(InTurn(made), config)
        )
        wall_s = time.perf_counter() - begin
        started = next(event.fields for event in ws.events_all("train.started"))
        written = next(event.fields for event in ws.events_all("train.checkpoint.complete"))
    return figures_of(rows, bare, Saved(save_at, written["write_s"]), started["setup_s"], wall_s)


def _programme(run: RunPlan, work: Work) -> Programme:
    plain = load_programme("rehearsal")
    models = {**plain.models, "measured": work.config().shape}
    return plain.model_copy(update={"runs": {RUN: run}, "models": models, "phases": ()})


def figures_of(
    rows: list[dict[str, float]], bare: float, saved: Saved, setup_s: float, wall_s: float
) -> dict[str, Any]:
    """The document's figures. Steps before the save are undisturbed; those after it share the machine with its writing."""
    step_s = [row["step_s"] for row in rows]
    quiet, saving, writing = (
        rows[SETTLING : saved.step - 1],
        step_s[saved.step : saved.step + 2],
        step_s[saved.step + 2 : -1],
    )
    median = statistics.median(row["step_s"] for row in quiet)
    spent = sum(row["step_s"] for row in quiet)
    slower = statistics.median(writing) if writing else median
    held_up = sum(saving) - median * len(saving) + (slower - median) * saved.write_s / slower
    peaks = [row["peak_memory_bytes"] for row in rows if "peak_memory_bytes" in row]
    return {
        "bare_step_s": bare,
        "trainer_step_s": median,
        "ratio": bare / median,
        "data_share": sum(row["data_s"] for row in quiet) / spent,
        "callbacks_share": sum(row["other_s"] for row in quiet) / spent,
        "step_while_writing_s": slower,
        "checkpoint_write_s": saved.write_s,
        "checkpoint_s": held_up,
        "checkpoint_share": held_up / CHECKPOINT_EVERY_S,
        "setup_s": setup_s,
        "first_step_s": step_s[0],
        "peak_memory_gib": max(peaks) / (1 << 30) if peaks else None,
        "steps": len(step_s),
        "wall_s": wall_s,
    }


def main() -> int:
    """2 without a CUDA device (unless --tiny)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", choices=list(ROWS), default="1b")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sequences", type=int, help="of a micro-batch, instead of the row's")
    parser.add_argument("--recompute", choices=("none", "layers", "selective"))
    parser.add_argument("--tiny", action="store_true", help="a very small model, for a CPU")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here; --tiny runs a very small model on the CPU\n")
        return 2
    work = ROWS[options.row]
    changes: dict[str, Any] = {"content": "multimodal"} if work.content == "loader" else {}
    changes |= {name: value for name in ("sequences", "recompute") if (value := getattr(options, name)) is not None}
    work = replace(work, **changes)
    device = torch.device("cpu" if options.tiny else "cuda")
    found = measure(tiny(work) if options.tiny else work, device, options.steps)
    sys.stdout.write(json.dumps({"row": options.row, **describe_device(), **found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
