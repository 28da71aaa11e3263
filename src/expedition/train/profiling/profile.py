"""`profile_run`: a few steps of a run by the real trainer, from its newest checkpoint, timed and traced; the run itself stays
as it is."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from expedition.errors import CheckFailed, UsageError, WorkspaceBusy
from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.plan.models import Programme
from expedition.plan.runs import Duration, RunPlan
from expedition.train.callbacks.callback import Callback
from expedition.train.checkpoint import MODEL, OPTIMIZER, CheckpointInfo, load_state, load_tensors, newest_intact
from expedition.train.control import Control
from expedition.train.lost_ranks import lost_ranks
from expedition.train.out_of_memory import explained_memory
from expedition.train.profiling.collectives import mesh_dimensions, named_collectives
from expedition.train.profiling.loader_work import LoaderClock
from expedition.train.profiling.marks import (
    MarkedCallback,
    MarkedSource,
    Range,
    marked_model,
    nvtx_range,
    torch_range,
)
from expedition.train.profiling.peaks import measure_peaks
from expedition.train.profiling.recorder import ENDED, Phases, Recorded, Recorder, document_lengths
from expedition.train.profiling.report import Measured, clocks, profile_key, write_report
from expedition.train.run import Inputs, Job, callbacks_of, describe
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.resume import require_same_run
from expedition.train.saving.snapshot import restore
from expedition.train.setup import build, choose_device, find_run, fix_numerics, model_config
from expedition.train.teaching import load_teacher
from expedition.train.trainer import Trainer
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.store import FolderStore


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a profile."""

    steps: int = 8
    """Timed by the clock; up to `RECORDED` more are recorded with the profiler."""
    warm_up: int = 3
    """Before them; not counted."""
    layers: bool = False
    """Ranges around every decoder layer and encoder too."""
    save: bool = False
    """Take a checkpoint within the recorded steps, into a scratch folder, to measure how long it holds the step up."""
    nsight: bool = False
    """NVTX ranges for Nsight Systems instead of torch's profiler, and no report."""

    @property
    def phases(self) -> Phases:
        """Numbers of steps."""
        return Phases(self.warm_up, self.steps, 0 if self.nsight else min(self.steps, RECORDED))


RECORDED = 3


def profile_run(
    ws: Workspace,
    programme: Programme,
    name: str,
    wanted: Wanted | None = None,
    inputs: Inputs | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Time and trace steps of run `name` on from its newest intact checkpoint; the report, {} on ranks but the first.

    Writes runs/<name>/profile/ (profile.json, profile.md, profile.html, trace.json.gz), nothing else of the run: weights,
    metrics and checkpoints of the profiled steps go to a scratch folder that is removed. `inputs` None reads the run's
    dataset; `tell` hears on the first rank how far it is. Raises WorkspaceBusy while a process of this host trains the
    run, UsageError for numbers of steps below 1, CheckFailed where a rule fires, and what `train_run` raises for plans,
    data and memory.
    """
    wanted = wanted or Wanted()
    if wanted.steps < 1 or wanted.warm_up < 1:
        raise UsageError(f"{wanted.steps} steps after {wanted.warm_up} cannot be timed", fix="give --steps 1 or more")
    run = find_run(programme, name)
    fix_numerics(run)
    device = choose_device(run)
    if wanted.nsight and device.type != "cuda":
        raise UsageError("NVTX ranges need a CUDA device", fix="leave --nsight out: the report needs none")
    ranks = join_ranks(run.parallel, device)
    with _left(ranks), lost_ranks(ranks, name):
        agreement = Agreement.join(ranks.rank, ranks.world)
        agreement.first(lambda: _require_free(ws, name))
        peaks = measure_peaks(device) if ranks.is_first and not wanted.nsight else None
        info, _ = newest_intact(ws, name, agreement)
        run = _long_enough(run, 0 if info is None else info.step, wanted.phases)
        inputs = inputs or _inputs(ws, programme, name)
        with explained_memory(name, run, inputs.config, ranks, device), _scratch(ws, name, ranks, agreement) as scratch:
            job = _job(Begun(ws, programme, name, run, info), ranks, inputs, scratch, agreement)
            recorded, callback_s, saves = _steps(job, wanted, tell if ranks.is_first else lambda _: None)
        if not ranks.is_first:
            return {}
        measured = Measured(job, wanted.phases, recorded, callback_s, saves, peaks, info, mesh_dimensions(ranks))
        return clocks(measured) if peaks is None else write_report(ws, measured)


@dataclass(frozen=True, slots=True)
class Begun:
    """The run that is profiled, and where it is."""

    ws: Workspace
    programme: Programme
    name: str
    run: RunPlan
    checkpoint: CheckpointInfo | None


def _job(begun: Begun, ranks: Ranks, inputs: Inputs, scratch: Scratch, agreement: Agreement) -> Job:
    """The run as `train_run` would have it, its state that of the checkpoint, its files in the scratch folder."""
    ws, name, run, info = begun.ws, begun.name, begun.run, begun.checkpoint
    device = choose_device(run)
    teacher = load_teacher(ws, name, run, inputs.source, inputs.config, ranks, device)
    built = build(inputs.config, run, ranks, device, teacher)
    if info is not None:
        written = load_state(ws, info)
        require_same_run(written, describe(begun.programme, run, built, inputs.tokenizer), info.folder)
        inputs.source.require_same(info.step, written["data"]["fingerprint"])
        restore(built.state, load_tensors(ws, info, MODEL), load_tensors(ws, info, OPTIMIZER), info.step, agreement)
    return Job(
        ws=scratch.ws,
        programme=begun.programme,
        name=name,
        run=run,
        ranks=ranks,
        built=built,
        source=inputs.source,
        lease=scratch.lease,
        control=Control(scratch.ws, name, None, run.checkpoint.grace_s),
        decisions=(),
        began=time.monotonic(),
        tokenizer=inputs.tokenizer,
    )


def _inputs(ws: Workspace, programme: Programme, name: str) -> Inputs:
    """As `train_run`'s, but the run's segments are not recorded where none are yet."""
    from expedition.data.loading import Loader, LoadingConfig, read_segments
    from expedition.data.loading.segments import Segment, manifest_hash, mix_of

    run = find_run(programme, name)
    segments = read_segments(ws, name)
    if not segments:
        version = run.version_at(0)
        mix, weights = mix_of(ws, programme, run, version, run.segments[0].mix or None)
        content = manifest_hash(ws, run.dataset, version)
        segments = [Segment(0, run.dataset, version, content, mix, run.seed, weights=weights)]
    config = LoadingConfig(**run.loading.model_dump(), pin=run.device != "cpu")
    tokenizer = ws.read_json(layout.manifest(run.version_at(0), run.dataset)).get("tokenizer_fingerprint")
    source = Loader(ws, programme, name, config, segments)
    return Inputs(source, model_config(ws, programme, run), tokenizer)


def _long_enough(run: RunPlan, step: int, phases: Phases) -> RunPlan:
    """The plan with steps enough after `step`: a run's last step saves a checkpoint, which no other does."""
    needed = step + phases.total + 1
    return run if run.total_steps >= needed else run.model_copy(update={"length": Duration.of_steps(needed)})


def _require_free(ws: Workspace, name: str) -> None:
    holder = ws.lease(layout.run(name)).live_holder()
    if holder is not None and holder["host"] == socket.gethostname():
        raise WorkspaceBusy(
            f"process {holder['pid']} trains run {name} on this host: both would be slower than they are",
            where=layout.run(name),
            fix=f"expedition train stop --run {name}, profile, expedition train resume --run {name}",
        )


@dataclass(frozen=True, slots=True)
class Scratch:
    """A workspace for what the profiled steps write."""

    ws: Workspace
    lease: Lease | None
    """Of the run in it; held by the first rank."""


@contextmanager
def _scratch(ws: Workspace, name: str, ranks: Ranks, agreement: Agreement) -> Iterator[Scratch]:
    """A workspace beside the run's, removed at the end."""
    # Not in a folder workspace's own scratch folder, whose files no store lists.
    is_folder = isinstance(ws.store, FolderStore)
    path = ws.path(profile_key(name, "steps")) if is_folder else ws.scratch(f"profile/{name}")

    def begin() -> None:
        shutil.rmtree(path, ignore_errors=True)
        Workspace.open(path, create=True)

    agreement.first(begin)
    try:
        inner = Workspace.open(path, create=True)
        with ExitStack() as stack:
            lease = stack.enter_context(inner.lease(layout.run(name))) if ranks.is_first else None
            yield Scratch(inner, lease)
    finally:
        if ranks.is_first:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _left(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    finally:
        leave_ranks(ranks)


def _nsight_capture(begins: bool) -> None:
    """What `nsys profile --capture-range=cudaProfilerApi` waits for."""
    if begins:
        torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    else:
        torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]


def _steps(
    job: Job, wanted: Wanted, tell: Callable[[str], None]
) -> tuple[Recorded, dict[str, list[float]], list[dict[str, Any]]]:
    """Take the steps with everything that a run has around them: what was recorded, seconds of each callback's calls, and
    the checkpoints that were taken."""
    built, ranks = job.built, job.ranks
    mark: Range = nvtx_range if wanted.nsight else torch_range
    dimensions = mesh_dimensions(ranks)
    source = MarkedSource(job.source, mark, wanted.phases.recorded)
    recorder = Recorder(
        wanted.phases,
        built.device,
        job.run.batch_tokens_at,
        records=ranks.is_first,
        save_at=0 if wanted.save else None,
        loader=LoaderClock(lambda: source.busy_s),
        on_clock=_nsight_capture if wanted.nsight else lambda _: None,
        tell=tell,
    )
    listed, saves = callbacks_of(job, describe(job.programme, job.run, built, job.tokenizer), None)
    spent_s: dict[str, list[float]] = {type(callback).__name__: [] for callback in listed}
    callbacks: list[Callback] = [MarkedCallback(one, mark, spent_s[type(one).__name__]) for one in listed]
    with ExitStack() as stack:
        stack.enter_context(named_collectives(dimensions, mark))
        stack.enter_context(marked_model(built.model, built.state.optimizer, mark, layers=wanted.layers))
        trainer = Trainer(
            parts=built.parts,
            state=built.state,
            source=source,
            callbacks=[*callbacks, recorder],
            device=built.device,
            dtype=built.dtype,
            asked=recorder.asked,
            settles=saves.due if built.device.type == "cuda" else lambda step: True,
        )
        outcome = trainer.train()
    if outcome.incident != ENDED:
        raise CheckFailed(
            f"a rule fired at step {outcome.steps} of the profiled steps ({outcome.incident}): they are not what the run "
            "does",
            fix=f"expedition train run --run {job.name}: the same rule pauses it and keeps the evidence",
        )
    taken = [event.fields for event in job.ws.events_all("train.checkpoint.complete")] if ranks.is_first else []
    recorder.found.documents = [document_lengths(batches) for batches in source.given]
    return recorder.found, spent_s, taken
