"""A step that does not fit into memory: what it holds by estimate, and the smallest change of the plan that would fit.

The estimate counts what grows with the plan, in bytes of one rank. It leaves out encoders' activations, the allocator's
fragmentation and libraries' buffers, so a plan is proposed only if it fits into `USABLE` of the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import torch

from expedition.errors import ProgrammeError
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan

USABLE = 0.85
STATE_BYTES = 16
"""Of a parameter: fp32 weight, gradient and two moments."""
HIDDEN_COPIES = 14
"""Values of hidden width that a layer keeps for the backward pass besides its experts' (norms, q, k, v, residuals)."""
_WORDS = ("can't allocate memory", "out of memory", "Cannot allocate memory")


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes of one rank, by estimate."""

    states: int
    gathered: int
    """The two layers that are whole at one time, in the compute type."""
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.states + self.gathered + self.activations + self.logits


def positions_of(run: RunPlan, micro_batches: int) -> int:
    """Positions that a rank works on in its largest micro-batch."""
    rows = max(stage.sequences for stage in run.batch_sequences) / (run.parallel.data_ranks * micro_batches)
    return max(1, int(rows * run.sequence_length / (run.parallel.cp * run.parallel.tp)))


def memory_need(config: OmniConfig, run: RunPlan, micro_batches: int, recompute: str) -> MemoryNeed:
    """What a rank needs under the run's plan with these two changed. Pure."""
    shape, counts = config.shape, count_parameters(config)
    width = 4 if run.precision.compute == "fp32" else 2
    positions = positions_of(run, micro_batches)
    layers = -(-shape.layers // run.parallel.pp)
    kept = HIDDEN_COPIES * shape.hidden + shape.top_k * (3 * shape.expert_inner + 2 * shape.hidden)
    activations = positions * width * kept * layers
    if recompute == "layers":
        activations = positions * width * (shape.hidden * layers + kept)
    elif recompute == "selective":
        activations = activations // 2
    ranks = run.parallel.world // run.parallel.dp_replicate
    rows = min(positions, run.loss.chunk_tokens)
    return MemoryNeed(
        states=STATE_BYTES * counts.total // ranks,
        gathered=2 * width * counts.total // shape.layers if ranks > 1 else 0,
        activations=activations,
        logits=2 * 4 * rows * config.vocabulary,
    )


def plan_that_fits(config: OmniConfig, run: RunPlan, memory_bytes: int) -> list[str] | None:
    """The changes ("micro_batches=8") of the cheapest plan that fits, fewest recomputations first; None if none does. Pure."""
    now = memory_need(config, run, run.micro_batches, run.parallel.recompute)
    sizes = [stage.sequences for stage in run.batch_sequences]
    largest = max(sizes) // run.parallel.data_ranks
    splits = [
        count
        for count in range(run.micro_batches, largest + 1)
        if all(size % (run.parallel.data_ranks * count) == 0 for size in sizes)
    ]
    for recompute, count in product(dict.fromkeys((run.parallel.recompute, "layers")), splits):
        need = memory_need(config, run, count, recompute)
        if need.total < now.total and need.total <= USABLE * memory_bytes:
            told = [] if count == run.micro_batches else [f"micro_batches={count}"]
            return [*told, *([] if recompute == run.parallel.recompute else [f"parallel.recompute={recompute}"])]
    return None


@contextmanager
def explained_memory(name: str, run: RunPlan, config: OmniConfig, ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Say what a failed allocation means, as a ProgrammeError; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _explanation(name, run, config, ranks, device, error) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up: torch's own class on an accelerator, words of its CPU allocator."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in _WORDS)


def _explanation(
    name: str, run: RunPlan, config: OmniConfig, ranks: Ranks, device: torch.device, error: BaseException
) -> ProgrammeError:
    memory = memory_of(device)
    need = memory_need(config, run, run.micro_batches, run.parallel.recompute)
    rows = max(stage.sequences for stage in run.batch_sequences) // (run.parallel.data_ranks * run.micro_batches)
    parts = ", ".join(f"{part} {_gib(getattr(need, part))}" for part in ("states", "gathered", "activations", "logits"))
    used = f", {_gib(torch.cuda.max_memory_allocated(device))} were in use at most" if device.type == "cuda" else ""
    changes = plan_that_fits(config, run, memory)
    if changes:
        sets = " ".join(f"--set runs.{name}.{change}" for change in changes)
        fix = f"would fit by estimate: {sets}; the run goes on from its last checkpoint"
    else:
        fix = (
            f"no number of micro-batches fits by estimate: spread the model over more ranks "
            f"(runs.{name}.parallel.dp_shard, tp), or make sequences shorter (runs.{name}.sequence_length)"
        )
    first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ProgrammeError(
        f"rank {ranks.rank} of {ranks.world} is out of memory: {_gib(memory)} on {device}{used}; a micro-batch is "
        f"{rows} × {run.sequence_length} positions; by estimate {_gib(need.total)} are needed ({parts}). {first}",
        where=f"runs.{name}",
        fix=fix,
    )


def memory_of(device: torch.device) -> int:
    """Bytes of memory of a device; of the machine for the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _gib(size: float) -> str:
    return f"{size / (1 << 30):.3g} GiB"
