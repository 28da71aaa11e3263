"""One rank of many jobs in one world of processes: python -m tests.parallel.mesh_rank JOBS.json FOLDER.

JOBS.json: name → run plan and changes of the shape; all plans have the same world. Each job leaves NAME.RANK.safetensors in FOLDER: what a rank
holds, and where in the whole tensors it lies. No communication beside the steps' own: `whole_of` puts them together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from expedition.data.loading.batch import Batch
from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.parallel.placement import flat_offsets, local
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.setup import build
from expedition.train.trainer import Trainer
from tests.train.tiny import CountingSource, tiny_config

CPU = torch.device("cpu")
MEDIA = ("", "image", "audio", "")


class InOrder(CountingSource):
    """Micro-batch m of all ranks together is the same rows under every number of ranks."""

    def rank_batch(self, step: int, rank: int, world: int) -> list[Batch]:
        first = self.run.sequences_before(step)
        rows = np.arange(first, first + self.run.batch_sequences_at(step))
        return [self.rows(micro.reshape(world, -1)[rank]) for micro in np.split(rows, self.run.micro_batches)]


class Recorder:
    """Keeps what a rank sees in a step, the first step's gradients, and which samples it read of which data rank."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.found: dict[str, Tensor] = {"data_rank|": torch.tensor(ranks.data_rank)}

    def after_step(self, done: Done) -> str | None:
        seen, number = done.result, done.result.step
        for name in ("loss", "balance", "z", "counts_LE", "real_tokens", "gradient_norm"):
            self.found[f"{name}.{number}"] = getattr(seen, name)
        self.found[f"loss_K.{number}"] = seen.loss_K.nan_to_num(-1.0)
        self.found[f"samples.{number}|"] = torch.tensor(done.sample_ids)
        if number == 0:
            for name, parameter in done.state.optimizer.parameters.items():
                assert parameter.grad is not None, f"rank {self.ranks.rank}: no gradient for {name}"
                self.found |= part(f"gradient.{name}", parameter.grad)
        return None

    def at_end(self, ending: Ending) -> None:
        assert ending == "finished"


def take_steps(run: RunPlan, ranks: Ranks, shape: dict[str, Any]) -> dict[str, Tensor]:
    """What a trainer's two steps see, the first one's gradients, and the weights at the end: this rank's parts."""
    built, recorder = build(tiny_config(**shape), run, ranks, CPU), Recorder(ranks)
    Trainer(built.parts, built.state, InOrder(run, MEDIA), [recorder], device=CPU, dtype=built.dtype).train()
    recorder.found["counters_LE"] = built.state.counters_LE
    for name, parameter in built.state.optimizer.parameters.items():
        recorder.found |= part(f"weight.{name}", parameter)
    return recorder.found


def part(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A sharded tensor's elements here, their places in the whole, and its size."""
    tensor = tensor.detach()
    return {name: local(tensor).clone(), f"{name}|at": flat_offsets(tensor), f"{name}|size": torch.tensor(tensor.shape)}


def whole_of(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The ranks' results put together; fails where two ranks hold different values of what is one number."""
    whole: dict[str, Tensor] = {}
    for found in parts:
        for name in found:
            if "|" in name:
                continue
            if f"{name}|at" not in found:
                assert torch.equal(whole.setdefault(name, found[name]), found[name]), f"ranks differ in {name}"
                continue
            size = found[f"{name}|size"].tolist()
            values = whole.setdefault(name, torch.full(size, float("nan"))).view(-1)
            places = found[f"{name}|at"].flatten()
            there = values[places]
            same = there.isnan() | (there == found[name].flatten())
            assert bool(same.all()), f"ranks differ in {name}"
            values[places] = found[name].flatten()
    assert not any(value.isnan().any() for value in whole.values())
    return whole


def read_by_rank(folder: Path, name: str, step: int) -> list[tuple[int, list[int]]]:
    """(data rank, samples) of each rank."""
    parts = [load_file(path) for path in sorted(folder.glob(f"{name}.*.safetensors"))]
    return [(int(found["data_rank|"]), found[f"samples.{step}|"].tolist()) for found in parts]


def load_whole(folder: Path, name: str) -> dict[str, Tensor]:
    """A job's result."""
    return whole_of([load_file(path) for path in sorted(folder.glob(f"{name}.*.safetensors"))])


def main() -> None:
    torch.set_num_threads(1)
    ranks: Ranks | None = None
    for name, job in json.loads(Path(sys.argv[1]).read_text()).items():
        run = RunPlan.model_validate(job["run"])
        ranks = join_ranks(run.parallel, CPU)
        found = take_steps(run, ranks, job["shape"])
        path = Path(sys.argv[2]) / f"{name}.{ranks.rank}.safetensors"
        save_file({key: value.contiguous() for key, value in found.items()}, path)
    assert ranks is not None
    leave_ranks(ranks)


if __name__ == "__main__":
    main()
