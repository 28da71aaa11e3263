"""train: a run plan, data and a model shape into metrics, checkpoints and a trained model, for lead and on-call.

Why a room: what a step is, and how a run survives bad steps, kills and incidents, is decided here. It makes no data,
draws no page and knows no cluster; a run is a function of plan, data, seed and recorded decisions.
Verbs (all that other rooms may call):
    train_run(ws, programme, name) -> summary       blocking; the same command goes on after a kill; writes runs/<name>/
    train_resume, train_after_incident(ws, programme, name, …)  a pause taken back, an incident decided on; then the same
    ask_run(ws, run, want, Said), rewind_run(ws, run, to, Skip), fork_run(ws, programme, new, parent)   quick, idempotent
    train_status(…), outlook_of(ws, programme, name)    where a run stands, what it would do; read only
    load_model(ws, run, name) -> OmniModel          of a checkpoint, hashes checked
    checkpoints(ws, run), newest_intact(ws, run), verify(ws, info)      what there is, and whether it is whole
    train_phases(ws, programme), describe_phases    runs that start from one another; teach(ws, programme, name)
    proof_of_concept, performance_report, distil, profile_run(…, Wanted)    reports/*.json, runs/<run>/profile/
Seams: BatchSource (data.loading.Loader, a test's own arrays); Callback (metrics, rules …; entry points expedition.callbacks).
Imports: errors, workspace, plan, data.loading, data.tokenizer, watch, model, parallel.  Imported by: voyage, cli.
Reads: data/.  Writes: runs/<run>/, reports/, incidents/ through watch.
Invariants: a dropped step changes no bit [test_a_bad_step_leaves_every_bit_unchanged]; a killed run ends as one
    that was not [test_kills_at_any_moment_change_nothing]; ranks and one process take the same step
    [test_ranks_take_the_step_of_one_process]; no two checkpoints share a name [test_no_two_checkpoints_share_a_name].
Read in this order:
    trainer.py      the loop
    step.py         one step on one screen
    objective.py    its forward and backward over micro-batches and ranks
    pipelined.py    the same through the stages of a pipeline
    losses.py       the terms, as shares of the global batch
    compute.py  working.py      the model's call in the compute type, its weights there
    precision.py  fp8/    compute type, what is FP8; layers, counts, the way back
    bad_step.py     which updates are dropped
    optimizer.py  update/    weights, moments and a select; groups, AdamW, Muon, rounding
    schedule.py     the learning rate
    injection.py    faults made on purpose
    batches.py      where data comes from
    checkpoint.py   folders that are whole or not there
    saving/         shards, staging, files, agreement, writer, reader, resume
    decisions.py    how a paused run goes on, rewinds
    diagnosis.py    what an incident keeps of its step
    control.py  lost_ranks.py  out_of_memory.py     asked to save, stop, pause; a rank that is gone; what would fit
    lineage.py  forking.py  starting.py     descent from another run's checkpoint
    teaching.py  top_k.py  teacher_parts.py     a teacher beside the student, or written down
    callbacks/      what happens around a step
    setup.py  accelerator.py    from a plan to a built run; what its process sets before
    run.py          all of it, as one verb
    stopwatch.py  seen.py   the parts of a step, and its figures on their way to the host
    profiling/  reports/    where a step's time goes; summary, status, phases, proof of concept, performance, distillation
Try: expedition train --help; pytest tests/train
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "Said": "control",
    "Skip": "decisions",
    "Wanted": "profiling.profile",
    "ask_run": "control",
    "fork_run": "forking",
    "outlook_of": "reports.outlook",
    "rewind_run": "decisions",
    "train_resume": "run",
    "train_run": "run",
    "train_after_incident": "run",
    "train_status": "reports.status",
    "load_model": "setup",
    "checkpoints": "checkpoint",
    "newest_intact": "checkpoint",
    "verify": "checkpoint",
    "proof_of_concept": "reports.poc",
    "performance_report": "reports.performance",
    "profile_run": "profiling.profile",
    "describe_phases": "reports.phases",
    "distil": "reports.distill",
    "teach": "teacher_parts",
    "train_phases": "reports.phases",
}

__all__ = [
    "Said",
    "Skip",
    "Wanted",
    "ask_run",
    "checkpoints",
    "describe_phases",
    "distil",
    "fork_run",
    "load_model",
    "newest_intact",
    "outlook_of",
    "performance_report",
    "profile_run",
    "proof_of_concept",
    "rewind_run",
    "teach",
    "train_after_incident",
    "train_phases",
    "train_resume",
    "train_run",
    "train_status",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
