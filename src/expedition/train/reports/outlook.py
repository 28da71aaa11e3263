"""What `train run` would do, from the plan and the workspace alone: nothing is written, no device is touched."""

from __future__ import annotations

from typing import Any

import torch

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.model.counts import count_parameters
from expedition.model.omni import OmniModel
from expedition.parallel.apply import parameter_names
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import TokenIds
from expedition.train.checkpoint import checkpoints
from expedition.train.control import standing_pause
from expedition.train.decisions import decisions, open_pause
from expedition.train.lineage import read_parent
from expedition.train.saving.name import checkpoint_name
from expedition.train.schedule import learning_rate
from expedition.train.setup import find_run, model_config
from expedition.train.update.groups import describe_groups
from expedition.workspace import Workspace

SCHEDULE_POINTS = 11
NAMED_CHECKPOINTS = 10


def outlook_of(ws: Workspace, programme: Programme, name: str) -> dict[str, Any]:
    """Model, memory by rank, batch, schedule, tokens by kind, checkpoints to come, groups of the optimiser, and where
    run `name` would go on. Reads only. Raises UsageError for a run that the programme has not."""
    run = find_run(programme, name)
    config, rows_are = _config(ws, programme, run)
    with torch.device("meta"):
        parameters = parameter_names(OmniModel(config))
    groups = describe_groups(parameters, run.optimizer)
    begin = max((info.step for info in checkpoints(ws, name)), default=0)
    return {
        "run": name,
        "model": {"name": run.model, **count_parameters(config).to_json(), "vocabulary_is": rows_are},
        "ranks": {**run.parallel.model_dump(), "world": run.parallel.world},
        "memory_by_rank": _memory(run, groups),
        "batch": _batch(run),
        "steps": run.total_steps,
        "tokens": run.tokens_after(run.total_steps),
        "learning_rate": [
            {"step": step, "tokens": run.tokens_after(step + 1), "learning_rate": learning_rate(run, step)}
            for step in _points(run.total_steps)
        ],
        "optimizer": {"kind": run.optimizer.kind, "groups": groups},
        "planned_tokens_by_kind": _by_kind(programme, run),
        "checkpoints": _checkpoints(run, begin),
        "goes_on": _goes_on(ws, name, begin),
    }


def _config(ws: Workspace, programme: Programme, run: RunPlan) -> tuple[OmniConfig, str]:
    """The model's config; without a dataset yet, with the programme's number of vocabulary rows."""
    try:
        return model_config(ws, programme, run), "the dataset's"
    except UsageError:
        ids = TokenIds(**{field: number for number, field in enumerate(TokenIds.__dataclass_fields__)})
        rows = programme.data.tokenizer.padded_size
        return OmniConfig(programme.models[run.model], rows, ids), "the programme's, as there is no dataset yet"


def _memory(run: RunPlan, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Bytes of weights, gradients and moments on one rank, spread evenly over the ranks of one copy of the model."""
    ranks = run.parallel.world // run.parallel.dp_replicate
    return {
        "state_bytes": -(-sum(group["state_bytes"] for group in groups) // ranks),
        "ranks_of_a_copy": ranks,
        "not_in_it": "gathered layers and activations; one rank's view with them: expedition train dryrun",
    }


def _batch(run: RunPlan) -> list[dict[str, int]]:
    parts = run.parallel.data_ranks * run.micro_batches
    return [
        {
            "from_step": stage.from_step,
            "sequences": stage.sequences,
            "tokens": stage.sequences * run.sequence_length,
            "micro_batches": run.micro_batches,
            "sequences_a_micro_batch": stage.sequences // parts,
        }
        for stage in run.batch_sequences
    ]


def _points(steps: int) -> list[int]:
    return sorted({round(number * (steps - 1) / (SCHEDULE_POINTS - 1)) for number in range(SCHEDULE_POINTS)} | {0})


def _by_kind(programme: Programme, run: RunPlan) -> dict[str, float]:
    """Positions by kind over the whole run: the planned shares of sequences, each segment with its own mix."""
    found: dict[str, float] = {}
    ends = [segment.from_step for segment in run.segments[1:]] + [run.total_steps]
    for segment, end in zip(run.segments, ends, strict=True):
        mix = segment.mix or run.mix or programme.data.mix.weights()
        tokens = run.tokens_after(min(end, run.total_steps)) - run.tokens_after(min(segment.from_step, run.total_steps))
        for kind, share in mix.items():
            found[kind] = found.get(kind, 0.0) + tokens * share / sum(mix.values())
    return dict(sorted(found.items()))


def _checkpoints(run: RunPlan, begin: int) -> dict[str, Any]:
    plan = run.checkpoint
    steps = [
        step + 1
        for step in range(begin, run.total_steps)
        if step + 1 == run.total_steps or run.crosses(plan.permanent_every, step)
    ]
    names = [checkpoint_name(run.tokens_after(step), run.smallest_step_tokens) for step in steps]
    rows = [{"name": name, "step": step} for name, step in zip(names, steps, strict=True)]
    return {
        "permanent": rows[:NAMED_CHECKPOINTS],
        "permanent_in_all": len(rows),
        "ephemeral_every": None if plan.ephemeral_every is None else str(plan.ephemeral_every),
        "keep_ephemeral": plan.keep_ephemeral,
        "grace_s": plan.grace_s,
    }


def _goes_on(ws: Workspace, name: str, begin: int) -> dict[str, Any]:
    """Where the run would begin; the checkpoint's hashes are checked when it does."""
    pause, request, parent = open_pause(ws, name), standing_pause(ws, name), read_parent(ws, name)
    newest = [info.name for info in checkpoints(ws, name) if info.step == begin]
    return {
        "step": begin,
        "checkpoint": newest[0] if newest else None,
        "parent": None if parent is None else f"{parent.run} {parent.checkpoint}",
        "decisions": len(decisions(ws, name)),
        "paused_by": pause["incident"] if pause else request.by if request else None,
    }
