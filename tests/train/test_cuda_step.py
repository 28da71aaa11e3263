"""Steps on a CUDA device: nobody waits for it, nothing is compiled twice, the same bits come twice, and values are the CPU's."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expedition.data.loading.batch import Batch
from expedition.parallel.mesh import Ranks
from expedition.plan.rules import RulesPlan
from expedition.plan.runs import RunPlan
from expedition.train.accelerator import ALLOCATOR, CACHES
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.callbacks.dropped import DroppedSteps
from expedition.train.callbacks.metrics import Metrics
from expedition.train.callbacks.rules import Rules
from expedition.train.callbacks.windows import Windows
from expedition.train.reports.rate import rate_of
from expedition.train.setup import Built, build, choose_device, fix_numerics
from expedition.train.trainer import Trainer
from expedition.watch.rules import RunShape, arm
from expedition.workspace import Workspace
from tests.train.tiny import CountingSource, tiny_config, tiny_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

MEDIA = ("", "image", "audio", "", "image", "", "")
WARM = 12
"""Steps after which everything that is compiled is compiled: every kind of batch has come."""
STEPS = 24


class Packed(CountingSource):
    """Rows of several documents, cut by their index; how many pictures and sounds a batch has changes from step to step."""

    def rows(self, indices: Any) -> Batch:
        batch = super().rows(indices)
        document, positions = np.array(batch.document_BS), np.array(batch.positions_3BS)
        for row, index in enumerate(indices):
            real = int((document[row] > 0).sum())
            generator = np.random.Generator(np.random.Philox(key=index))
            for cut in sorted(generator.integers(18, real, size=int(generator.integers(0, 4)))):
                document[row, cut:real] += 1
                positions[:, row, cut:real] = np.arange(real - cut)
        return replace(batch, document_BS=document, positions_3BS=positions)


def cuda_run(**changes: Any) -> RunPlan:
    wanted: dict[str, Any] = {
        "device": "cuda",
        "length": f"{STEPS} steps",
        "precision": {"compute": "bf16"},
        "bad_step": {"spike_deviations": 12},
        "rules": ("nan", "spike"),
        "parallel": {"recompute": "layers"},
    }
    return tiny_run(**(wanted | changes))


def built_on_cuda(run: RunPlan) -> Built:
    fix_numerics(run)
    return build(tiny_config(), run, Ranks(0, 1), choose_device(run))


class FromStep:
    """Calls `begin` after step `first` and `end` after the last one."""

    def __init__(self, first: int, begin: Any, end: Any) -> None:
        self._first, self._begin, self._end = first, begin, end

    def after_step(self, done: Done) -> str | None:
        if done.result.step == self._first:
            self._begin()
        if done.last:
            self._end()
        return None

    def at_end(self, ending: Ending) -> None: ...


def trained(built: Built, ws: Workspace, last: list[Callback]) -> Metrics:
    """Train with the callbacks of a run; metric rows are read and shown to the rules, not written."""
    run, ranks = built.parts.run, built.parts.ranks
    metrics = Metrics(run, None, rate_of(run, built.model.config, built.device), ranks)
    chosen = {name: getattr(RulesPlan(), name) if name == "nan" else None for name in ("spike", "rise", "plateau")}
    rules = arm(RulesPlan(**chosen, expert_imbalance=None), RunShape(8, 2, STEPS, run.tokens_after(STEPS)))
    seen = [
        metrics,
        Windows(ws, "main"),
        DroppedSteps(ws, "main", ranks),
        Rules(ws, "main", rules, metrics, built.parts),
    ]
    trainer = Trainer(
        built.parts,
        built.state,
        Packed(run, MEDIA),
        [*seen, *last],
        device=built.device,
        dtype=built.dtype,
        settles=lambda step: False,
    )
    trainer.train()
    return metrics


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_step_and_its_callbacks_never_wait_for_the_device(tmp_path: Path, micro_batches: int) -> None:
    run = cuda_run(micro_batches=micro_batches)
    ws = Workspace.open(tmp_path / "w", create=True)
    mode = torch.cuda.set_sync_debug_mode
    try:
        trained(built_on_cuda(run), ws, [FromStep(WARM, lambda: mode("error"), lambda: mode("default"))])
    finally:
        mode("default")


def test_the_profiler_counts_no_synchronisation(tmp_path: Path) -> None:
    """What torch's own mode does not see: waits of libraries, and copies from memory that is not locked."""
    from torch.profiler import ProfilerActivity, profile

    profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    trained(
        built_on_cuda(cuda_run(micro_batches=2)),
        Workspace.open(tmp_path / "w", create=True),
        [FromStep(WARM, profiler.start, profiler.stop)],
    )
    counts = {event.key: event.count for event in profiler.key_averages()}
    # Stopping the profiler waits once for the device.
    assert counts.get("cudaStreamSynchronize", 0) == 0
    assert counts.get("cudaDeviceSynchronize", 0) <= 1
    assert not [name for name in counts if "Pageable" in name]


@contextmanager
def compiled() -> Iterator[list[str]]:
    """Names of the kernels and functions that are compiled while it lasts."""
    import triton
    from torch._dynamo.utils import counters

    names: list[str] = []

    def note(*args: Any, **given: Any) -> None:
        names.append(str(given.get("repr", given.get("fn", args))))

    before, hook = counters["stats"]["unique_graphs"], triton.knobs.runtime.jit_cache_hook
    triton.knobs.runtime.jit_cache_hook = note
    try:
        yield names
    finally:
        triton.knobs.runtime.jit_cache_hook = hook
    names += ["torch.compile"] * (counters["stats"]["unique_graphs"] - before)


def test_other_packings_compile_nothing_again(tmp_path: Path) -> None:
    found: list[str] = []
    watching = compiled()

    def stop() -> None:
        found.extend(names)
        watching.__exit__(None, None, None)

    names: list[str] = []

    def start() -> None:
        nonlocal names
        names = watching.__enter__()

    ws = Workspace.open(tmp_path / "w", create=True)
    trained(built_on_cuda(cuda_run()), ws, [FromStep(WARM, start, stop)])
    assert found == []


def test_the_same_run_gives_the_same_bits(tmp_path: Path) -> None:
    """And no operation of it says that it may not."""
    ws, found = Workspace.open(tmp_path / "w", create=True), []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            built = built_on_cuda(cuda_run(micro_batches=2))
            trained(built, ws, [])
            found.append({name: value.detach().clone() for name, value in built.state.optimizer.parameters.items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not [str(one.message) for one in said if "deterministic" in str(one.message)]


def test_losses_are_the_cpus(tmp_path: Path) -> None:
    """bf16 on both from the same weights: the first loss within the rounding of bf16's 8 bits.

    Later ones drift apart as rounding turns some tokens to other experts: on one CPU bf16 and float32 differ by up to 6 %
    of a loss that falls to a quarter. A gradient that is wrong or missing would keep it where it began.
    """
    curves: list[list[float]] = []
    on_cpu = build(tiny_config(), cuda_run(device="cpu"), Ranks(0, 1), torch.device("cpu"))
    first = {name: value.detach().clone() for name, value in on_cpu.state.optimizer.parameters.items()}
    for built in (on_cpu, built_on_cuda(cuda_run(micro_batches=2))):
        with torch.no_grad():
            for name, value in built.state.optimizer.parameters.items():
                value.copy_(first[name])
        losses: list[float] = []
        trained(built, Workspace.open(tmp_path / "w", create=True), [_Losses(losses)])
        curves.append(losses)
    ours, theirs = np.array(curves[1]), np.array(curves[0])
    assert len(ours) == len(theirs) == STEPS
    assert abs(ours[0] - theirs[0]) < 0.005 * theirs[0]
    assert (abs(ours - theirs) < 0.15 * theirs).all()


class _Losses:
    def __init__(self, losses: list[float]) -> None:
        self._losses = losses

    def after_step(self, done: Done) -> str | None:
        self._losses += [float(seen.result.loss) for seen in done.seen]
        return None

    def at_end(self, ending: Ending) -> None: ...


def test_first_values_on_the_device_are_spread_as_on_the_cpu() -> None:
    run = cuda_run()
    ours, theirs = (
        dict(build(tiny_config(), cuda_run(device=kind), Ranks(0, 1), torch.device(kind)).model.named_parameters())
        for kind in ("cuda", "cpu")
    )
    assert run.device == "cuda" and ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert value.is_cuda
        if value.dim() > 1:
            # Two estimates of one deviation from n values differ by 1/√n of it; five times that, once in 10^6.
            assert float(value.std()) == pytest.approx(float(theirs[name].std()), rel=5 / value.numel() ** 0.5)
        else:
            assert torch.equal(value.cpu(), theirs[name])


PREPARED = """
import sys, torch
from expedition.train.accelerator import prepare_accelerator
from expedition.workspace import Workspace
from tests.train.tiny import tiny_run
prepare_accelerator(Workspace.open(sys.argv[1]), tiny_run(device="cuda"))
held = torch.zeros(1 << 20, device="cuda")
assert all(segment["is_expandable"] for segment in torch.cuda.memory_snapshot())
import triton
print(triton.knobs.cache.dir)
"""


def test_compiled_kernels_are_kept_in_the_workspace_and_the_allocator_grows_in_place(tmp_path: Path) -> None:
    place = tmp_path / "w"
    ws = Workspace.open(place, create=True)
    unset = {name: value for name, value in os.environ.items() if name not in {*CACHES, *ALLOCATOR}}
    done = subprocess.run(
        [sys.executable, "-c", PREPARED, str(place)], env=unset, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(ws.scratch("compiled") / "triton")
