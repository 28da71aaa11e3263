"""From a plan to a model, its optimiser and its state on this process: everything before the first step."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from expedition.data.records import KINDS
from expedition.errors import InputError, ProgrammeError, UsageError
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.parallel.apply import parallelize, parameter_names, require_layout
from expedition.parallel.materialise import materialise
from expedition.parallel.mesh import Ranks
from expedition.parallel.pipeline import Pipeline
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import ModelShape, TokenIds
from expedition.train.bad_step import SpikeWindow
from expedition.train.checkpoint import MODEL, load_state, load_tensors, newest_intact, read_info, verify
from expedition.train.compute import Forward
from expedition.train.objective import Parts
from expedition.train.optimizer import Optimizer, hold_weights
from expedition.train.precision import apply_fp8, compute_dtype
from expedition.train.starting import inherited_positions
from expedition.train.step import TrainState
from expedition.train.top_k import StoredTeacher
from expedition.train.update.groups import require_groups_match
from expedition.workspace import Workspace, layout


@dataclass(frozen=True, slots=True)
class Built:
    """A run's machinery, at step 0."""

    parts: Parts
    state: TrainState
    model: OmniModel
    device: torch.device
    dtype: torch.dtype
    fp8_modules: tuple[str, ...]


def find_run(programme: Programme, name: str) -> RunPlan:
    """The run's plan. Raises UsageError with the known names."""
    if name not in programme.runs:
        raise UsageError(f"no run {name!r} in the programme", fix=f"known runs: {', '.join(sorted(programme.runs))}")
    return programme.runs[name]


def choose_device(run: RunPlan) -> torch.device:
    """The plan's device; the local rank's accelerator. Raises UsageError where there is none."""
    available = torch.cuda.is_available()
    if run.device == "cuda" and not available:
        raise UsageError("the plan wants cuda and there is none here", where="runs.*.device", fix="set it to auto")
    if run.device == "cpu" or not available:
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def fix_numerics(run: RunPlan) -> None:
    """Threads by the plan, deterministic kernels unless it lets them be: the same command gives the same bits."""
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(run.deterministic, warn_only=True)
    # Filling every fresh buffer with NaN finds bugs, not differences, and costs 7 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(run.seed)


def model_config(ws: Workspace, programme: Programme, run: RunPlan) -> OmniConfig:
    """The model's config with the token ids of the run's first dataset version."""
    from expedition.data.tokenizer import Tokenizer

    folder = f"{layout.dataset(run.version_at(0), run.dataset)}/tokenizer"
    files = [ws.store.local(key) for key in ws.store.list(folder)]
    if not files:
        raise UsageError(
            f"dataset {run.version_at(0)} has no tokenizer",
            where=folder,
            fix=f"build it: expedition data build --version {run.version_at(0)}",
        )
    tokenizer = Tokenizer.load(files[0].parent)
    ids = TokenIds.from_tokenizer(tokenizer.special)
    return OmniConfig.from_plan(run_shape(ws, programme, run), programme.media, ids, tokenizer.size)


def run_shape(ws: Workspace, programme: Programme, run: RunPlan) -> ModelShape:
    """The run's model under its own rotary positions, else under those of the run that it starts from.

    Raises ProgrammeError where its sequences are longer than the positions reach.
    """
    shape, rope = programme.models[run.model], run.rope
    if rope is None and run.start_from is not None:
        rope = inherited_positions(ws, run.start_from)
    shape = shape if rope is None else shape.with_positions(rope)
    if run.sequence_length > shape.max_positions:
        raise ProgrammeError(
            f"sequences of {run.sequence_length} tokens are longer than the model's max_positions {shape.max_positions}",
            where="runs.*.sequence_length",
            fix="give the run rope: {scaling: {kind: yarn, factor: …, original_max_positions: …}}, or shorter sequences",
        )
    return shape


def build(
    config: OmniConfig, run: RunPlan, ranks: Ranks, device: torch.device, teacher: Forward | StoredTeacher | None = None
) -> Built:
    """Model, optimiser and empty state. Every rank makes its share of the same weights."""
    require_layout(config.shape, run.parallel)
    dtype = compute_dtype(run.precision)
    sharded = ranks.meshes is not None
    # First values are made where they stay: minutes less for ten billion of them, and no rank holds what it does not keep.
    with torch.device("meta") if sharded else device:
        model = OmniModel(config, seed=run.seed)
    fp8 = (
        apply_fp8(model, run.precision.fp8, keep=ranks.meshes is None or run.parallel.gather == "step")
        if run.precision.fp8.modules
        else []
    )
    hold_weights(model, run.optimizer)
    require_groups_match(parameter_names(model), run.optimizer)
    stages = parallelize(model, ranks, dtype)
    if sharded:
        materialise(model, stages, device, run.seed)
    forward = Forward(model, dtype, sharded=sharded, gather=run.parallel.gather)
    copies = forward.working.copies if forward.working is not None else {}
    optimizer = Optimizer(parameter_names(model), run.optimizer, run.seed, copies)
    shape = config.shape
    weights_K = torch.tensor([run.loss.kind_weights.get(kind, 1.0) for kind in KINDS]).to(device)
    counters_LE = torch.zeros(len(shape.moe_layers), shape.experts, dtype=torch.int64, device=device)
    state = TrainState(0, optimizer, SpikeWindow.empty(run.bad_step, device), counters_LE)
    pipeline = Pipeline(stages, ranks, dtype, device) if stages else None
    parts = Parts(run, ranks, forward, shape.experts, weights_K, teacher, pipeline)
    return Built(parts, state, model, device, dtype, tuple(fp8))


def load_model(ws: Workspace, run: str, name: str | None = None) -> OmniModel:
    """The model of a checkpoint (the newest intact one for None), fp32 on the CPU, hashes checked.

    Raises UsageError if there is none, InputError if a file does not match its hash.
    """
    if name is None:
        info, _ = newest_intact(ws, run)
        if info is None:
            raise UsageError(f"run {run!r} has no complete checkpoint", fix=f"expedition train run --run {run}")
    else:
        info = read_info(ws, run, name)
        if (problem := verify(ws, info)) is not None:
            raise InputError(problem, where=info.folder)
    config = OmniConfig.from_json(load_state(ws, info)["model"])
    with torch.device("meta"):
        model = OmniModel(config)
    model.to_empty(device="cpu")
    if config.shape.tied_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    tensors = load_tensors(ws, info, MODEL)
    parameters = parameter_names(model)
    if missing := sorted(parameters.keys() - tensors.keys()):
        raise InputError(f"the checkpoint has no {missing[0]}", where=info.folder)
    tensors.fill(parameters, convert=True)
    return model
