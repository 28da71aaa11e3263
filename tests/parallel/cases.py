"""Steps of a tiny model under a mesh, and what they must leave behind on whatever mesh: python -m tests.parallel.cases
CASES.json FOLDER runs several, one after the other, in one world of processes."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.parallel.sequence import sequence_split
from expedition.plan.runs import ParallelPlan, RunPlan
from expedition.plan.shapes import TokenIds
from expedition.train.batches import to_tensors
from expedition.train.setup import build
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch
from tests.parallel.packed import PackedSource
from tests.parallel.processes import run_ranks
from tests.train.state import full_tensor, whole_state
from tests.train.tiny import VOCABULARY, tiny_run, tiny_shape

CPU = torch.device("cpu")
STEPS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A mesh, and what of the model and the run is not as in `tiny`."""

    name: str
    parallel: dict[str, Any]
    shape: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def plan(self, parallel: dict[str, Any]) -> RunPlan:
        # eps makes the first update linear in the gradient: with a small one it is the gradient's sign, and where a
        # gradient is rounding noise around zero its sign is noise too.
        return tiny_run(parallel=parallel, **{"optimizer": {"eps": 1e-2}, **self.run})

    @property
    def config(self) -> OmniConfig:
        return OmniConfig(tiny_shape(**self.shape), VOCABULARY, TokenIds(*range(10)))


def take_steps(case: Case, run: RunPlan, ranks: Ranks) -> dict[str, Tensor]:
    """Figures of every step, the first step's gradients and the weights after the last. A collective."""
    torch.manual_seed(0)
    built = build(case.config, run, ranks, CPU)
    source, split = PackedSource(run), sequence_split(ranks)
    found: dict[str, Tensor] = {}
    for number in range(STEPS):
        rows = source.rank_batch(number, ranks.data_rank, ranks.data_ranks)
        batches = [to_tensors(batch, CPU, built.dtype, split) for batch in rows]
        seen = train_step(built.parts, built.state, batches, (), Stopwatch(CPU))
        for name in ("loss", "loss_K", "balance", "z", "gradient_norm", "counts_LE", "real_tokens"):
            found[f"{name}.{number}"] = getattr(seen, name).nan_to_num(0.0)
        if number == 0:
            for name, parameter in built.state.optimizer.parameters.items():
                assert parameter.grad is not None, f"rank {ranks.rank}: no gradient for {name}"
                found[f"gradient.{name}"] = full_tensor(parameter.grad).clone()
    return found | {f"weight.{name}": value for name, value in whole_state(built.state)[0].items()}


def run_cases(folder: Path, world: int, cases: list[Case]) -> dict[str, dict[str, Tensor]]:
    """What each case leaves behind on `world` processes."""
    file = folder / f"cases-{world}.json"
    file.write_text(json.dumps([asdict(case) for case in cases]))
    run_ranks(world, ["tests.parallel.cases", str(file), str(folder)])
    return {case.name: _whole(folder, case) for case in cases}


def _whole(folder: Path, case: Case) -> dict[str, Tensor]:
    """What the ranks of a pipeline hold, together."""
    stages = range(case.parallel.get("pp", 1))
    parts = [load_file(folder / f"{case.name}.{stage}.safetensors") for stage in stages]
    return {name: value for part in parts for name, value in part.items()}


def alone(case: Case) -> dict[str, Tensor]:
    """The same on this process alone."""
    torch.set_num_threads(1)
    kept = {"recompute": case.parallel.get("recompute", "none")}
    return take_steps(case, case.plan(kept), Ranks(0, 1, ParallelPlan(**kept)))


def differences(many: dict[str, Tensor], one: dict[str, Tensor], bound: float) -> list[str]:
    """What differs by more than `bound` of its norm; counts must be equal."""
    assert many.keys() == one.keys(), many.keys() ^ one.keys()
    wrong = []
    for name, value in one.items():
        if name.startswith(("counts", "real_tokens")):
            wrong += [] if torch.equal(many[name], value) else [f"{name}: {many[name]} instead of {value}"]
            continue
        error, size = float((many[name] - value).norm()), float(value.norm())
        if not error <= bound * size + 1e-6:
            wrong.append(f"{name}: {error:.2e} of {size:.2e}")
    return wrong


def main() -> None:
    torch.set_num_threads(1)
    cases = [Case(**case) for case in json.loads(Path(sys.argv[1]).read_text())]
    for case in cases:
        run = case.plan(case.parallel)
        ranks = join_ranks(run.parallel, CPU)
        try:
            found = take_steps(case, run, ranks)
        except Exception as error:
            raise RuntimeError(f"case {case.name}") from error
        if ranks.place("dp_replicate") + ranks.place("dp_shard") + ranks.place("cp") + ranks.place("tp") == 0:
            path = f"{sys.argv[2]}/{case.name}.{ranks.place('pp')}.safetensors"
            save_file({name: value.contiguous() for name, value in found.items()}, path)
    leave_ranks(ranks)


if __name__ == "__main__":
    main()
