"""Teachers: which checkpoint teaches a run, decided once, and what the run learns from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from expedition.errors import InputError, ProgrammeError, UsageError
from expedition.model.config import OmniConfig
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan, TeacherPlan
from expedition.train.batches import BatchSource
from expedition.train.checkpoint import CheckpointInfo, newest_intact, read_info
from expedition.train.compute import Forward
from expedition.train.precision import compute_dtype
from expedition.train.saving.agreement import Agreement
from expedition.train.setup import load_model
from expedition.train.starting import named_checkpoint
from expedition.train.top_k import (
    StoredTeacher,
)
from expedition.workspace import NotFound, Workspace, layout

CHOSEN_SCHEMA = "train.teacher_chosen/1"


@dataclass(frozen=True, slots=True)
class Taught:
    """The checkpoint that teaches a run."""

    run: str
    checkpoint: str
    manifest_sha256: str


def load_teacher(
    ws: Workspace, name: str, run: RunPlan, source: BatchSource, config: OmniConfig, ranks: Ranks, device: torch.device
) -> Forward | StoredTeacher | None:
    """The teacher of run `name`: a model beside the student, or what is stored of one; None for a run without. A collective.

    Raises UsageError if there is no checkpoint, nothing is stored, or its vocabulary is not the student's.
    """
    if run.teacher is None:
        return None
    if run.parallel.pp > 1:
        raise ProgrammeError(
            f"a teacher does not work with {run.parallel.pp} pipeline stages",
            where=f"runs.{name}.parallel.pp",
            fix="set pp: 1 and spread the student by dp_shard or tp",
        )
    if run.teacher.top_k is not None:
        return StoredTeacher(ws, name, run.teacher, run.sequence_length, source.fingerprint_at(run.total_steps))
    info = chosen_teacher(ws, name, run.teacher, Agreement.join(ranks.rank, ranks.world))
    model = load_model(ws, info.run, info.name)
    require_same_tokens(model.config, config, run.teacher.run)
    return Forward(model.to(device).eval().requires_grad_(False), compute_dtype(run.precision), sharded=False)


def chosen_teacher(ws: Workspace, name: str, plan: TeacherPlan, agreement: Agreement) -> CheckpointInfo:
    """The checkpoint that teaches: decided and recorded at the first start, so that a resumed run has the same."""
    taught = Taught(**agreement.first(lambda: _choose(ws, name, plan)))
    try:
        info = read_info(ws, taught.run, taught.checkpoint)
    except NotFound as error:
        raise InputError(
            f"the checkpoint that teaches run {name!r} is gone",
            where=layout.checkpoint(taught.run, taught.checkpoint),
            fix="restore it, or train into another run name",
        ) from error
    if info.manifest_sha256 != taught.manifest_sha256:
        raise InputError(f"the checkpoint that teaches run {name!r} is another one now", where=info.folder)
    return info


def _choose(ws: Workspace, name: str, plan: TeacherPlan) -> dict[str, str]:
    key = f"{layout.run(name)}/teacher.json"
    if ws.store.exists(key):
        taught = Taught(**ws.read_json(key)["teacher"])
        if taught.run != plan.run or plan.checkpoint not in (None, taught.checkpoint):
            raise UsageError(
                f"run {name!r} is taught by {taught.run} {taught.checkpoint}, the plan says "
                f"{plan.run} {plan.checkpoint or '(its newest)'}",
                where=key,
                fix=f"restore runs.{name}.teacher, or train into another run name",
            )
        return asdict(taught)
    info: CheckpointInfo | None
    if plan.checkpoint is not None:
        info = named_checkpoint(ws, plan.run, plan.checkpoint)
    else:
        info, _ = newest_intact(ws, plan.run)
    if info is None:
        raise UsageError(
            f"the teacher run {plan.run!r} has no complete checkpoint",
            where=f"runs.{name}.teacher",
            fix=f"train it first: expedition train run --run {plan.run}",
        )
    taught = Taught(plan.run, info.name, info.manifest_sha256)
    ws.write_json(key, {"run": name, "teacher": asdict(taught)}, schema=CHOSEN_SCHEMA)
    return asdict(taught)


def require_same_tokens(teacher: OmniConfig, student: OmniConfig, run: str) -> None:
    if (teacher.vocabulary, teacher.token_ids) != (student.vocabulary, student.token_ids):
        raise UsageError(
            f"the teacher has a vocabulary of {teacher.vocabulary} rows and the student one of {student.vocabulary}, "
            "or other token ids",
            where=f"runs.{run}",
            fix="a teacher and its student need data with the same tokenizer",
        )
