"""`train_run`: a named run of the programme, from wherever it is to its last step, a pause or an interruption."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import yaml

from expedition.errors import Interrupted, PausedByRule
from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.plan.models import Programme
from expedition.plan.rules import RulesPlan
from expedition.plan.runs import RunPlan
from expedition.train.batches import BatchSource
from expedition.train.callbacks.callback import Callback
from expedition.train.callbacks.checkpoint import Checkpoints
from expedition.train.callbacks.metrics import Metrics
from expedition.train.callbacks.progress import Listener, Progress
from expedition.train.callbacks.rules import Rules
from expedition.train.callbacks.windows import Windows
from expedition.train.checkpoint import CheckpointInfo
from expedition.train.decisions import Decision, active, decide, decisions, open_pause
from expedition.train.reports.rate import rate_of
from expedition.train.reports.summary import write_summary
from expedition.train.saving.resume import resume
from expedition.train.saving.writer import CheckpointWriter
from expedition.train.setup import Built, build, choose_device, find_run, fix_numerics, load_teacher, model_config
from expedition.train.trainer import Outcome, Trainer
from expedition.watch.rules import Rule, RunShape, arm, warm
from expedition.watch.segments import MetricWriter
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.hashes import sha256_json


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads: batches, and the model's config, which holds the vocabulary's size and token ids."""

    source: BatchSource
    config: OmniConfig


def dataset_inputs(ws: Workspace, programme: Programme, name: str) -> Inputs:
    """The loader on the run's recorded segments, and the config by the dataset's tokenizer."""
    from expedition.data.loading import Loader

    return Inputs(Loader(ws, programme, name), model_config(ws, programme, find_run(programme, name)))


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt at a run on this process."""

    ws: Workspace
    programme: Programme
    name: str
    run: RunPlan
    ranks: Ranks
    built: Built
    source: BatchSource
    lease: Lease | None
    decisions: Sequence[Decision]
    began: float
    """Monotonic clock when the attempt began."""


def train_run(
    ws: Workspace, programme: Programme, name: str, progress: Listener | None = None, inputs: Inputs | None = None
) -> dict[str, Any]:
    """Train run `name` to its last step and return its summary; blocking. The same command goes on after any kill.

    Writes runs/<name>/ (config.yaml, metrics/, checkpoints/, summary.json) and events `train.*`. `inputs` None
    reads the run's dataset. Raises PausedByRule (an incident is open), Interrupted (SIGINT or SIGTERM,
    checkpoint saved), UsageError, ProgrammeError, InputError, ComplianceRefused, WorkspaceBusy.
    """
    began = time.monotonic()
    run = find_run(programme, name)
    taken = decisions(ws, name)
    if (pause := open_pause(ws, name)) is not None:
        raise _paused(name, pause["incident"])
    fix_numerics(run)
    device = choose_device(run)
    ranks = join_ranks(run.parallel, device)
    try:
        lease = ws.lease(layout.run(name)) if ranks.is_first else None
        with lease or nullcontext(), _stop_signals() as stop:
            inputs = inputs or dataset_inputs(ws, programme, name)
            teacher = load_teacher(ws, run, device)
            built = build(inputs.config, run, ranks, device, teacher[0] if teacher else None)
            job = Job(ws, programme, name, run, ranks, built, inputs.source, lease, taken, began)
            return _end(job, _train(job, progress, stop))
    finally:
        leave_ranks(ranks)


def train_after_incident(
    ws: Workspace,
    programme: Programme,
    name: str,
    incident: str,
    *,
    skip_data: bool = False,
    progress: Listener | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Record the decision that a paused run goes on, with or without the data that it was paused on, and go on.

    The first rank records; with more ranks decide first with one process. Raises what `decide` and `train_run` raise.
    """
    decide(ws, name, incident, skip_data=skip_data)
    return train_run(ws, programme, name, progress, inputs)


def _train(job: Job, listener: Listener | None, stop: threading.Event) -> Outcome:
    start = resume(job.ws, job.name, job.built.state, job.source, job.ranks)
    description = describe(job.programme, job.run, job.built)
    if job.ranks.is_first:
        job.ws.write_text(f"{layout.run(job.name)}/config.yaml", yaml.safe_dump(description, sort_keys=True))
        job.ws.events("train").append(
            "train.started",
            run=job.name,
            step=start.step,
            total_steps=job.run.total_steps,
            checkpoint=start.checkpoint,
            recomputed_steps=start.recomputed_steps,
            setup_s=time.monotonic() - job.began,
            restore_s=start.restore_s,
            world_size=job.ranks.world,
            device=str(job.built.device),
            plan_hash=sha256_json(description["run"]),
        )
    trainer = Trainer(
        parts=job.built.parts,
        state=job.built.state,
        source=job.source,
        callbacks=_callbacks(job, description, listener),
        decisions=job.decisions,
        faults=active(job.run.inject, job.decisions),
        device=job.built.device,
        dtype=job.built.dtype,
        stop_asked=stop.is_set,
    )
    return trainer.train()


def _callbacks(job: Job, description: dict[str, Any], listener: Listener | None) -> list[Callback]:
    """In the order in which they see a step."""
    first, plan = job.ranks.is_first, job.run.checkpoint
    writer = MetricWriter(job.ws, job.name) if first else None
    metrics = Metrics(job.run, writer, rate_of(job.run, job.built.model.config, job.built.device))
    files = CheckpointWriter(job.ws, job.name, plan.keep_ephemeral, job.lease, _announce(job)) if first else None
    callbacks: list[Callback] = [
        metrics,
        *([Windows(job.ws, job.name)] if first else []),
        Rules(job.ws, job.name, _rules(job), metrics, job.ranks, job.built.parts.forward),
        Checkpoints(job.run, job.ranks, job.source, metrics, files, description),
    ]
    if listener is not None and first:
        callbacks.append(Progress(job.run, metrics, listener))
    return callbacks


def _rules(job: Job) -> tuple[Rule, ...]:
    """The run's rules as they were before this step; after a decision they begin anew at its step."""
    if not job.ranks.is_first:
        return ()
    chosen = {name: getattr(job.programme.rules, name) if name in job.run.rules else None for name in RULE_NAMES}
    plan = RulesPlan(**chosen, sev_resolution_hours=job.programme.rules.sev_resolution_hours)
    shape = job.programme.models[job.run.model]
    steps = job.run.total_steps
    rules = arm(plan, RunShape(shape.experts, shape.top_k, steps, job.run.tokens_after(steps)))
    begin = max((decision.resume_step for decision in job.decisions), default=0)
    warm(rules, job.ws, job.name, before_step=job.built.state.step, from_step=begin)
    return rules


RULE_NAMES = ("nan", "spike", "rise", "plateau", "expert_imbalance")


def describe(programme: Programme, run: RunPlan, built: Built) -> dict[str, Any]:
    """What a checkpoint and config.yaml say about the run: a function of the plan, so the same in every attempt."""
    return {
        "run": run.model_dump(mode="json"),
        "model": built.model.config.to_json(),
        "media": programme.media.model_dump(mode="json"),
        "fp8_modules": list(built.fp8_modules),
    }


def _announce(job: Job) -> Any:
    def written(info: CheckpointInfo, retired: list[str]) -> None:
        job.ws.events("train").append(
            "train.checkpoint.complete",
            run=job.name,
            checkpoint=info.name,
            step=info.step,
            tokens=info.tokens,
            permanent=info.permanent,
            manifest_sha256=info.manifest_sha256,
            retired=retired,
        )

    return written


def _end(job: Job, outcome: Outcome) -> dict[str, Any]:
    """Write the summary and the last event; raise what the ending means for the command."""
    summary: dict[str, Any] = {"run": job.name}
    if job.ranks.is_first:
        summary = write_summary(job.ws, job.programme, job.name, outcome.incident, job.built.device, job.ranks.world)
        if outcome.ending != "paused":
            job.ws.events("train").append(f"train.{outcome.ending}", run=job.name, step=outcome.steps)
    if outcome.ending == "paused":
        raise _paused(job.name, outcome.incident or "unknown")
    if outcome.ending == "interrupted":
        raise Interrupted(
            f"run {job.name} stopped after {outcome.steps} of {job.run.total_steps} steps; a checkpoint is saved",
            fix=f"expedition train run --run {job.name}",
        )
    return summary


def _paused(name: str, incident: str) -> PausedByRule:
    return PausedByRule(
        f"run {name} is paused by a rule",
        where=layout.incident(incident),
        fix=f"look at the incident, then: expedition train run --run {name} --after-incident {incident} [--skip-data]",
    )


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the old handlers come back at the end. In other threads than the main one
    signals are left alone."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
