"""`train_run`: a named run of the programme, from wherever it is to its last step, a pause or an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from expedition.errors import Interrupted, PausedByPerson, PausedByRule
from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks, join_ranks, leave_ranks
from expedition.plan.models import Programme
from expedition.plan.rules import RulesPlan
from expedition.plan.runs import RunPlan
from expedition.train.accelerator import prepare_accelerator
from expedition.train.batches import BatchSource
from expedition.train.callbacks.callback import Callback
from expedition.train.callbacks.checkpoint import Checkpoints, open_writer
from expedition.train.callbacks.dropped import DroppedSteps
from expedition.train.callbacks.fp8_health import Fp8Health
from expedition.train.callbacks.installed import Situation, installed_callbacks
from expedition.train.callbacks.metrics import Metrics
from expedition.train.callbacks.progress import Listener, Progress
from expedition.train.callbacks.rules import Rules
from expedition.train.callbacks.windows import Windows
from expedition.train.control import Control, Request, Said, listening, standing_pause, take_back_pause
from expedition.train.decisions import (
    NOBODY,
    Decision,
    active,
    data_step,
    decide,
    decisions,
    finish_decision,
    open_pause,
)
from expedition.train.lineage import described, read_parent
from expedition.train.lost_ranks import lost_ranks
from expedition.train.out_of_memory import explained_memory
from expedition.train.reports.rate import rate_of
from expedition.train.reports.summary import write_summary
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.resume import resume
from expedition.train.setup import Built, build, choose_device, find_run, fix_numerics, model_config
from expedition.train.starting import begin_from
from expedition.train.teaching import load_teacher
from expedition.train.trainer import Outcome, Trainer, runs_of
from expedition.watch.rules import Rule, RunShape, arm, warm
from expedition.watch.segments import MetricWriter
from expedition.workspace import Lease, Workspace, layout
from expedition.workspace.hashes import sha256_json


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run reads: batches, and the model's config, which holds the vocabulary's size and token ids."""

    source: BatchSource
    config: OmniConfig
    tokenizer: str | None = None
    """Fingerprint of the tokenizer; None where it is not known."""


def dataset_inputs(ws: Workspace, programme: Programme, name: str) -> Inputs:
    """The loader on the run's recorded segments, and the config by the dataset's tokenizer."""
    from expedition.data.loading import Loader, LoadingConfig

    run = find_run(programme, name)
    config = LoadingConfig(**run.loading.model_dump(), pin=run.device != "cpu")
    manifest = layout.manifest(run.version_at(0), run.dataset)
    tokenizer = ws.read_json(manifest).get("tokenizer_fingerprint") if ws.store.exists(manifest) else None
    return Inputs(Loader(ws, programme, name, config), model_config(ws, programme, run), tokenizer)


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
    """Held by the first rank only."""
    control: Control
    decisions: Sequence[Decision]
    began: float
    """Monotonic clock when the attempt began."""
    tokenizer: str | None
    """Fingerprint of the data's tokenizer; None where it is not known."""


def train_run(
    ws: Workspace, programme: Programme, name: str, progress: Listener | None = None, inputs: Inputs | None = None
) -> dict[str, Any]:
    """Train run `name` to its last step and return its summary; blocking. The same command goes on after any kill.

    Writes runs/<name>/ (config.yaml, metrics/, checkpoints/, summary.json) and events `train.*`. `inputs` None
    reads the run's dataset. Raises PausedByRule (an incident is open), PausedByPerson, Interrupted (asked to stop by a
    signal or `train stop`, checkpoint saved; or a rank was lost), UsageError, ProgrammeError, InputError,
    ComplianceRefused, WorkspaceBusy: on every rank the same.
    """
    return _sail(ws, programme, name, progress, inputs, lambda: None)


def train_resume(
    ws: Workspace,
    programme: Programme,
    name: str,
    *,
    said: Said = NOBODY,
    progress: Listener | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Take back the pause that a person asked for, if there is one, and go on as `train_run` does."""
    return _sail(ws, programme, name, progress, inputs, lambda: take_back_pause(ws, name, said))


def train_after_incident(
    ws: Workspace,
    programme: Programme,
    name: str,
    incident: str,
    *,
    skip_data: bool = False,
    said: Said = NOBODY,
    progress: Listener | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Record the decision that a paused run goes on, with or without the data that it was paused on, and go on.

    Raises what `decide` and `train_run` raise.
    """

    def record() -> None:
        decide(ws, name, incident, skip_data=skip_data, said=said)

    return _sail(ws, programme, name, progress, inputs, record)


def _sail(
    ws: Workspace,
    programme: Programme,
    name: str,
    progress: Listener | None,
    inputs: Inputs | None,
    first: Callable[[], None],
) -> dict[str, Any]:
    """Train, after `first` was done once under the run's lease."""
    began = time.monotonic()
    run = find_run(programme, name)
    prepare_accelerator(ws, run)
    fix_numerics(run)
    device = choose_device(run)
    ranks = join_ranks(run.parallel, device)
    lease = ws.lease(layout.run(name))

    def begin() -> None:
        lease.acquire()
        first()
        _require_open(ws, name)
        finish_decision(ws, name)

    with _released(ranks, lease), lost_ranks(ranks, name):
        Agreement.join(ranks.rank, ranks.world).first(begin)
        control = Control(ws, name, lease.token if ranks.is_first else None, run.checkpoint.grace_s)
        with listening(control):
            inputs = inputs or dataset_inputs(ws, programme, name)
            with explained_memory(name, run, inputs.config, ranks, device):
                teacher = load_teacher(ws, name, run, inputs.source, inputs.config, ranks, device)
                built = build(inputs.config, run, ranks, device, teacher)
                taken = decisions(ws, name)
                held = lease if ranks.is_first else None
                job = Job(
                    ws, programme, name, run, ranks, built, inputs.source, held, control, taken, began, inputs.tokenizer
                )
                return _end(job, _train(job, progress))


@contextmanager
def _released(ranks: Ranks, lease: Lease) -> Iterator[None]:
    """Give the lease back and leave the group at the end."""
    try:
        yield
    finally:
        lease.release()
        leave_ranks(ranks)


def _require_open(ws: Workspace, name: str) -> None:
    """Raise if the run is paused."""
    if (pause := open_pause(ws, name)) is not None:
        raise _paused(name, pause["incident"])
    if (request := standing_pause(ws, name)) is not None:
        raise _held(name, request)


def _train(job: Job, listener: Listener | None) -> Outcome:
    description = describe(job.programme, job.run, job.built, job.tokenizer)
    start = resume(job.ws, job.name, job.built.state, job.source, job.ranks, description)
    if start.checkpoint is None and job.run.start_from is not None:
        start_plan, config = job.run.start_from, job.built.model.config
        begin_from(job.ws, job.name, start_plan, config, job.built.state, job.ranks, job.tokenizer)
    description |= described(read_parent(job.ws, job.name))
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
    callbacks, saves = callbacks_of(job, description, listener)
    trainer = Trainer(
        parts=job.built.parts,
        state=job.built.state,
        source=job.source,
        callbacks=callbacks,
        decisions=job.decisions,
        faults=active(job.run.inject, job.decisions),
        device=job.built.device,
        dtype=job.built.dtype,
        asked=job.control.heard,
        settles=saves.due if job.built.device.type == "cuda" else lambda step: True,
    )
    return trainer.train()


def callbacks_of(
    job: Job, description: dict[str, Any], listener: Listener | None
) -> tuple[list[Callback], Checkpoints]:
    """In the order in which they see a step; and the one that saves."""
    first = job.ranks.is_first
    writer = MetricWriter(job.ws, job.name, from_step=job.built.state.step) if first else None
    metrics = Metrics(job.run, writer, rate_of(job.run, job.built.model.config, job.built.device), job.ranks)
    files = open_writer(job.ws, job.name, job.run, job.ranks, job.lease)
    rules = Rules(job.ws, job.name, _rules(job), metrics, job.built.parts)
    saves = Checkpoints(job.run, job.ranks, job.source, metrics, files, description)
    callbacks: list[Callback] = [
        metrics,
        *([Windows(job.ws, job.name)] if first else []),
        DroppedSteps(job.ws, job.name, job.ranks),
        rules,
        *_fp8_health(job),
        saves,
    ]
    callbacks += installed_callbacks(Situation(job.ws, job.name, job.run, job.ranks, job.built.state.step))
    if listener is not None and first:
        told = Progress(job.run, metrics, listener, lambda: files.newest, lambda: rules.incident)
        callbacks.append(told)
    return callbacks, saves


def _fp8_health(job: Job) -> list[Callback]:
    """Where the plan counts. Before checkpoints, so that what a step decided is on record when it is saved."""
    plan = job.run.precision.fp8
    if plan.counters_every is None or not job.built.fp8_modules:
        return []
    return [Fp8Health(job.ws, job.name, job.built.model, plan, job.ranks, job.built.state.step)]


def _rules(job: Job) -> tuple[Rule, ...]:
    """The run's rules as they were before this step; after a decision they begin anew at its step."""
    if not job.ranks.is_first:
        return ()
    chosen = {name: getattr(job.programme.rules, name) if name in job.run.rules else None for name in RULE_NAMES}
    plan = RulesPlan(**chosen, sev_resolution_hours=job.programme.rules.sev_resolution_hours)
    shape = job.programme.models[job.run.model]
    steps = job.run.total_steps
    rules = arm(plan, RunShape(shape.experts, shape.top_k, steps, job.run.tokens_after(steps)))
    begin = job.decisions[-1].resume_step if job.decisions else 0
    warm(rules, job.ws, job.name, before_step=job.built.state.step, from_step=begin)
    return rules


RULE_NAMES = ("nan", "spike", "rise", "plateau", "expert_imbalance")


def describe(programme: Programme, run: RunPlan, built: Built, tokenizer: str | None = None) -> dict[str, Any]:
    """What a checkpoint and config.yaml say about the run: a function of the plan, so the same in every attempt."""
    return {
        "run": run.model_dump(mode="json"),
        "model": built.model.config.to_json(),
        "media": programme.media.model_dump(mode="json"),
        "fp8_modules": list(built.fp8_modules),
        **({} if tokenizer is None else {"tokenizer": tokenizer}),
    }


def _end(job: Job, outcome: Outcome) -> dict[str, Any]:
    """Write the summary and the last event; raise what the ending means for the command."""
    summary: dict[str, Any] = {"run": job.name}
    if job.ranks.is_first:
        read = job.source.account(list(runs_of([data_step(step, job.decisions) for step in range(outcome.steps)])))
        device, world = job.built.device, job.ranks.world
        summary = write_summary(job.ws, job.programme, job.name, outcome.incident, device, world, read)
        _tell_end(job, outcome)
    if outcome.ending == "paused":
        raise _paused(job.name, outcome.incident or "unknown")
    if outcome.ending == "held":
        raise _held(job.name, standing_pause(job.ws, job.name), outcome.steps)
    if outcome.ending == "interrupted":
        raise Interrupted(
            f"run {job.name} stopped after {outcome.steps} of {job.run.total_steps} steps; "
            f"{'a checkpoint is saved' if outcome.steps else 'nothing was trained'}",
            fix=f"expedition train resume --run {job.name}",
        )
    return summary


_KINDS = {"finished": "train.finished", "interrupted": "train.interrupted", "held": "train.paused.by_person"}


def _tell_end(job: Job, outcome: Outcome) -> None:
    """The last event of an attempt: with who asked for the end, and how long it took from there to a saved checkpoint.

    A pause by a rule was told when it was found.
    """
    if outcome.ending not in _KINDS:
        return
    asked_at = job.control.asked_at
    took = {} if asked_at is None else {"asked_to_saved_s": time.monotonic() - asked_at, **job.control.cause}
    job.ws.events("train").append(_KINDS[outcome.ending], run=job.name, step=outcome.steps, **took)


def _paused(name: str, incident: str) -> PausedByRule:
    return PausedByRule(
        f"run {name} is paused by a rule",
        where=layout.incident(incident),
        fix=f"look at the incident, then: expedition train run --run {name} --after-incident {incident} [--skip-data]",
    )


def _held(name: str, request: Request | None, steps: int | None = None) -> PausedByPerson:
    who = f" by {request.by} at {request.time}" if request is not None else ""
    why = f": {request.why}" if request is not None and request.why else ""
    saved = "" if steps is None else f" after {steps} steps, a checkpoint is saved"
    return PausedByPerson(f"run {name} is paused{who}{saved}{why}", fix=f"expedition train resume --run {name}")
