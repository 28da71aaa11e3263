"""One rank's view of a run on many ranks: real sharding, real collectives' shapes, no devices, no network, no values.

The process group is torch's fake one, tensors are fake (shapes and types only), the model is built on the meta device.
Memory and bytes are counted, time is not. Routing is taken as balanced: which expert gets a token needs values. Of a
pipeline the first rank of each stage is looked at, with its micro-batches in the schedule's order; what comes from the
stages beside it is made here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode

from expedition.errors import ProgrammeError, UsageError
from expedition.kernels.routing import Routing
from expedition.model.audio import AudioEncoder
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.apply import parallelize, require_layout
from expedition.parallel.dispatch import AllToAllDispatcher, Splits
from expedition.parallel.experts import expert_modules
from expedition.parallel.mesh import Meshes, Ranks, lay_meshes
from expedition.parallel.pipeline import Elsewhere, Pipeline, Stage, StepShape
from expedition.plan.models import Programme
from expedition.plan.runs import OptimizerPlan, ParallelPlan
from expedition.plan.shapes import TokenIds
from expedition.workspace import Workspace, layout

SCHEMA = "parallel.dryrun/1"
COLLECTIVES = {
    "allgather": "all_gather",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "allreduce": "all_reduce",
    "all_reduce": "all_reduce",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "send": "send",
    "recv": "receive",
}
"""How torch's operations begin (c10d's and the functional ones), and what they are."""
GIB = 1 << 30
CONDITIONS = (
    "fake process group",
    "fake tensors: no values, no time",
    "balanced routing",
    "text only: encoders take part without arithmetic",
)


def dry_run(
    ws: Workspace,
    programme: Programme,
    model: str,
    plan: ParallelPlan | None = None,
    sequence_length: int = 4096,
    *,
    run: str = "main",
    memory: bool = False,
) -> dict[str, Any]:
    """Build, shard and step a rank of each pipeline stage of `plan` (default 32 × 8 = 256 ranks, one stage).

    Writes and returns reports/dryrun.json: `stages` has each rank's view, the figures beside it are those of the rank
    that holds most. State is what `run`'s optimiser keeps. `memory` also follows every allocation of the step, which
    takes minutes for a large model. Must run in a process without a process group. Raises ProgrammeError for an unknown
    model and, with the rule, for a layout that cannot be; UsageError for an unknown run.
    """
    if model not in programme.models:
        raise ProgrammeError(f"no model {model!r}", where="models", fix=f"known: {', '.join(programme.models)}")
    if run not in programme.runs:
        raise UsageError(f"no run {run!r}", where="--run", fix=f"known: {', '.join(programme.runs)}")
    plan, optimizer = plan or ParallelPlan(dp_replicate=32, dp_shard=8), programme.runs[run].optimizer
    vocabulary = 152_064
    config = OmniConfig(programme.models[model], vocabulary, TokenIds())
    require_view(config, plan, sequence_length)
    begin = time.perf_counter()
    views = [
        rank_view(config, plan, sequence_length, optimizer=optimizer, stage=stage, memory=memory)
        for stage in range(plan.pp)
    ]
    fullest = max(views, key=lambda view: (view.problem is not None, view.peak_bytes or 0, view.state_bytes))
    report = {
        "ranks": plan.world,
        "model": model,
        "ok": fullest.problem is None,
        "problem": fullest.problem,
        "parallel": plan.model_dump(),
        "optimizer": {"run": run, **optimizer.model_dump(mode="json", include={"kind", "weights", "moments"})},
        "parameters": fullest.parameters,
        **fullest.to_json(),
        "stages": [view.to_json() for view in views],
        "sequence_length": sequence_length,
        "tokens": sequence_length // (plan.cp * plan.tp),
        "micro_batches": micro_batches(plan),
        "wall_s": round(time.perf_counter() - begin, 3),
        "conditions": [*CONDITIONS, "the first rank of each pipeline stage" if plan.pp > 1 else "rank 0's view"],
    }
    ws.write_json(layout.report("dryrun"), report, schema=SCHEMA)
    return report


def layout_from(settings: Sequence[str], **degrees: int) -> ParallelPlan:
    """A plan of `degrees` with NAME=VALUE `settings` over them. Raises UsageError for what the plan does not take."""
    values: dict[str, Any] = dict(degrees)
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in ParallelPlan.model_fields:
            known = ", ".join(ParallelPlan.model_fields)
            raise UsageError(
                f"no setting of a mesh: {setting!r}", where="--mesh", fix=f"NAME=VALUE with NAME of {known}"
            )
        values[name] = value
    try:
        return ParallelPlan(**values)
    except ValidationError as error:
        first = error.errors()[0]
        what = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{what}: {first['msg'].removeprefix('Value error, ')}".lstrip(": "), where="--mesh", fix="other degrees"
        ) from None


@dataclass(slots=True)
class RankView:
    """What one rank holds and sends in one step."""

    rank: int = 0
    layers: list[int] = field(default_factory=list)
    """Decoder layers that it holds."""
    parameters: int = 0
    """Of the whole model."""
    rank_parameters: int = 0
    state_bytes: int = 0
    """Weights, gradients and moments, in the types that the optimiser keeps between steps."""
    collectives: dict[str, dict[str, int]] = field(default_factory=dict)
    """calls and bytes by "operation/mesh axis"; bytes of the largest tensor that goes in or out, not of the wire."""
    peak_bytes: int | None = None
    """Most that the step holds at one time: weights, gradients, what is gathered, activations; without moments. None:
    not followed."""
    activation_bytes: int | None = None
    """Activations at that time."""
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The view in GiB."""
        return {
            "rank": self.rank,
            "layers": self.layers,
            "rank_parameters": self.rank_parameters,
            "rank_state_gib": self.state_bytes / GIB,
            "step_peak_gib": None if self.peak_bytes is None else self.peak_bytes / GIB,
            "activations_gib": None if self.activation_bytes is None else self.activation_bytes / GIB,
            "collectives": self.collectives,
        }


def require_view(config: OmniConfig, plan: ParallelPlan, sequence_length: int) -> None:
    """Raise ProgrammeError, with the rule, for what has no such view."""
    require_layout(config.shape, plan)
    parts = 2 * plan.cp * plan.tp
    if plan.cp * plan.tp > 1 and sequence_length % parts:
        raise ProgrammeError(
            f"a row of {sequence_length} positions does not divide into 2 × cp × tp = {parts}",
            where="sequence_length",
            fix=f"a multiple of {parts}",
        )


def micro_batches(plan: ParallelPlan) -> int:
    """How many a step's view has: without a pipeline one; with one as many as bring each rank to the most that it has
    under way at one time, however many follow."""
    if plan.pp == 1:
        return 1
    return plan.pp if plan.schedule == "1f1b" else 2 * plan.pp


def rank_view(
    config: OmniConfig,
    plan: ParallelPlan,
    sequence_length: int,
    *,
    optimizer: OptimizerPlan | None = None,
    stage: int = 0,
    memory: bool = False,
) -> RankView:
    """The step (forward, backward) of the first rank of pipeline place `stage`, with one sequence of text a
    micro-batch; `problem` says what failed."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    optimizer = optimizer or OptimizerPlan()
    view = RankView(rank=stage * plan.world // plan.pp)
    dist.init_process_group("fake", rank=view.rank, world_size=plan.world, store=FakeStore())
    try:
        meshes = lay_meshes(plan, "cpu")
        ranks = Ranks(view.rank, plan.world, plan, meshes)
        with torch.device("meta"):
            model = OmniModel(config)
        view.parameters = sum(parameter.numel() for parameter in model.parameters())
        without_values(model)
        stages = parallelize(model, ranks, torch.bfloat16)
        _even(model)
        view.layers = [number for number, layer in enumerate(model.model.layers) if not isinstance(layer, Elsewhere)]
        held = {name: parameter.to_local().numel() for name, parameter in model.named_parameters()}  # type: ignore[attr-defined]
        view.rank_parameters = sum(held.values())
        view.state_bytes = sum(
            held[name] * optimizer.state_bytes(name, parameter.dim()) for name, parameter in model.named_parameters()
        )
        pipeline = Pipeline(stages, ranks, torch.bfloat16, torch.device("cpu")) if stages else None
        with FakeTensorMode(allow_non_fake_inputs=True), CollectiveRecorder(meshes, pipeline) as recorder:
            model.to_empty(device="cpu")
            if memory:
                view.peak_bytes, view.activation_bytes = follow_memory(model, pipeline, sequence_length)
            else:
                fake_step(model, pipeline, sequence_length)
        view.collectives = recorder.found()
    except (RuntimeError, ValueError) as error:  # RuntimeError: also an operation that fake tensors lack
        view.problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        dist.destroy_process_group()
    return view


def follow_memory(model: OmniModel, pipeline: Pipeline | None, sequence_length: int) -> tuple[int, int]:
    """`fake_step`, and the most bytes that it holds at one time: all, and those of activations."""
    from torch.distributed._tools.mem_tracker import MemTracker

    class Tracker(MemTracker):  # type: ignore[no-untyped-call]
        """Lets a module be called again before its backward pass, as a pipeline does; figures by module are not used."""

        def _pre_fw_hook(self, module: nn.Module, inputs: Any) -> None:
            if torch._C._current_graph_task_id() == -1:  # not in a backward pass, where it would be a recomputation
                self.memory_tracking.pop(module, None)  # type: ignore[no-untyped-call]
            super()._pre_fw_hook(module, inputs)

    tracker = Tracker()
    tracker.track_external(model)
    with tracker:
        fake_step(model, pipeline, sequence_length)
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]
    by_kind = {str(getattr(kind, "name", kind)): size for kind, size in peak.items()}
    return by_kind["Total"], by_kind["ACT"]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One packed row of text as the model takes it."""

    tokens_BS: Tensor
    positions_3BS: Tensor
    document_BS: Tensor
    media: tuple[Tensor, Tensor, Tensor, Tensor]
    """No patches, no grids, no mel frames, no lengths."""

    @classmethod
    def of(cls, config: OmniConfig, sequence_length: int) -> TextRow:
        """A row of `sequence_length` positions."""
        shape = (1, sequence_length)
        return cls(
            torch.ones(shape, dtype=torch.int64),
            torch.zeros((3, *shape), dtype=torch.int64),
            torch.ones(shape, dtype=torch.int32),
            (
                torch.zeros(0, config.shape.vision.patch_values),
                torch.zeros(0, 3, dtype=torch.int64),
                torch.zeros(config.shape.audio.mel_bins, 0),
                torch.zeros(0, dtype=torch.int64),
            ),
        )

    def loss(self, hidden_BSH: Tensor, head_VH: Tensor) -> Tensor:
        """Cross entropy of the positions that are here."""
        logits_TV = F.linear(hidden_BSH.flatten(0, 1), head_VH)
        return F.cross_entropy(logits_TV.float(), self.tokens_BS[:, : hidden_BSH.shape[1]].flatten())


def fake_step(model: OmniModel, pipeline: Pipeline | None, sequence_length: int) -> None:
    """Forward and backward of one packed row of text, or of one in each micro-batch of a pipeline."""
    row = TextRow.of(model.config, sequence_length)
    if pipeline is not None:
        fake_passes(pipeline, row)
        return
    patches_PC, grid_G3, mel_MF, mel_lengths_A = row.media
    is_video_G = torch.zeros(0, dtype=torch.bool)
    output = model(
        row.tokens_BS, row.positions_3BS, row.document_BS, patches_PC, grid_G3, is_video_G, mel_MF, mel_lengths_A
    )
    row.loss(output.hidden_BSH, model.lm_head.weight).backward()  # type: ignore[no-untyped-call]


def fake_passes(pipeline: Pipeline, row: TextRow) -> None:
    """This rank's passes of a step. Where weight gradients come apart, activations count as kept until then."""
    plan, group = pipeline.ranks.plan, pipeline.group
    rows, width = row.tokens_BS.shape
    shape = StepShape(micro_batches(plan), rows, width // (plan.cp * plan.tp))
    stages = {stage.number: stage for stage in pipeline.stages}
    for stage in stages.values():
        stage.take(lambda stage, _, x: stage_work(stage, row, x))
    under_way: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
    left = dict.fromkeys(stages, shape.micro_batches)
    for turn in pipeline.passes(shape):
        stage, key = stages[turn.stage], (turn.stage, turn.micro_batch)
        before, after = (turn.stage - 1) % plan.pp, (turn.stage + 1) % plan.pp
        if turn.kind == "forward":
            x = row.tokens_BS
            if not stage.is_first:
                hidden = stage.model.config.shape.hidden
                x = torch.empty(rows, shape.positions, hidden, dtype=torch.bfloat16).requires_grad_()
                dist.recv(x.detach(), group=group, group_src=before)
            out = stage(x)
            under_way[key] = x, out
            if not stage.is_last:
                dist.send(out.detach(), group=group, group_dst=after)
            continue
        if turn.kind in ("backward", "input_backward"):
            x, out = under_way[key]
            if not stage.is_last:
                dist.recv(torch.empty_like(out), group=group, group_src=after)
            if not stage.is_first:
                dist.send(torch.empty_like(x), group=group, group_dst=before)
        if turn.kind in ("backward", "weight_backward"):
            x, out = under_way.pop(key)
            left[turn.stage] -= 1
            _reduce_gradients(stage, left[turn.stage] == 0)
            out.backward(None if stage.is_last else torch.empty_like(out))  # type: ignore[no-untyped-call]
    pipeline.join_tied_gradients()


def _reduce_gradients(stage: Stage, last: bool) -> None:
    """As torch's schedules do: gradients of a stage are summed over ranks after its last micro-batch."""
    assert isinstance(stage, FSDPModule)
    stage.set_is_last_backward(last)
    stage.set_reshard_after_backward(last)
    stage.set_requires_gradient_sync(last)


def stage_work(stage: Stage, row: TextRow, x: Tensor) -> Tensor:
    """What a pipeline stage computes: hidden states, the loss on the last."""
    model = stage.model
    positions_3BS, seen = model.attended(row.positions_3BS, row.document_BS)
    if stage.is_first:
        x = model.fuse(row.tokens_BS, *row.media).x_BSH
    x_BSH, _ = model.model.through(stage.numbers, x, model.model.rotary(positions_3BS, x.dtype), seen)
    return row.loss(stage.norm(x_BSH), model.lm_head.weight) if stage.is_last else x_BSH


class EvenDispatcher(AllToAllDispatcher):
    """All-to-all of equal parts, since fake tensors hold no choice: what each rank sends if experts are balanced."""

    def splits(self, routing: Routing) -> Splits:
        sent_Pe = routing.counts_E.view(self.ranks, -1)
        received_Pe = torch.empty_like(sent_Pe)
        dist.all_to_all_single(received_Pe, sent_Pe, group=self.group)
        rows, over = divmod(routing.order_R.numel(), self.ranks)
        rows_P = [rows + int(rank < over) for rank in range(self.ranks)]
        return Splits(rows_P, rows_P, received_Pe)


class TouchedVision(VisionEncoder):
    """An encoder whose parameters take part (gathered, given gradients, reduced) and whose arithmetic does not."""

    def forward(self, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        feature_1H = _touch_all(self)
        return VisionFeatures(feature_1H, [feature_1H])


class TouchedAudio(AudioEncoder):
    """As `TouchedVision`."""

    def forward(self, mel_MF: Tensor, mel_lengths_A: Tensor, longest_chunk: int | None = None) -> Tensor:
        return _touch_all(self)


def _touch_all(module: nn.Module) -> Tensor:
    return torch.stack([parameter.float().sum() for parameter in module.parameters()]).sum().reshape(1, 1).clone()


def without_values(model: OmniModel) -> None:
    """Replace what needs values of tensors, in place: the encoders' plans of their input."""
    swaps = {VisionEncoder: TouchedVision, AudioEncoder: TouchedAudio}
    for module in model.modules():
        if type(module) in swaps:
            module.__class__ = swaps[type(module)]


def _even(model: OmniModel) -> None:
    """Let every dispatcher send equal parts, in place. After `parallelize`."""
    for module in expert_modules(model):
        if isinstance(module.dispatcher, AllToAllDispatcher):
            module.dispatcher = EvenDispatcher(module.dispatcher.group, module.dispatcher.experts)


class CollectiveRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is sent by operation and mesh axis. Where axes have the same ranks, all-to-all is "ep"'s."""

    def __init__(self, meshes: Meshes, pipeline: Pipeline | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes: dict[str, list[str]] = defaultdict(list)
        for mesh in (meshes.sparse, meshes.data, meshes.tensor, meshes.flat):
            for name in mesh.mesh_dim_names or ():
                self._axes[str(mesh.get_group(name).group_name)].append(name)
        if pipeline is not None:
            self._axes[str(pipeline.group.group_name)] = ["pp"]
            if pipeline.ends is not None:
                self._axes[str(pipeline.ends.group_name)].append("pp_ends")
        self._calls: dict[str, int] = defaultdict(int)
        self._bytes: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[-1].strip("_")
        operation = next((kind for begin, kind in COLLECTIVES.items() if name.startswith(begin)), None)
        if operation is not None and func.namespace in ("c10d", "_c10d_functional"):
            key = f"{operation}/{self._axis(operation, args)}"
            self._calls[key] += 1
            self._bytes[key] += max((_bytes(value) for value in _tensors([args, out])), default=0)
        return out

    def found(self) -> dict[str, dict[str, int]]:
        """calls and bytes by key."""
        return {key: {"calls": self._calls[key], "bytes": self._bytes[key]} for key in sorted(self._calls)}

    def _axis(self, operation: str, args: tuple[Any, ...]) -> str:
        for value in args:
            if isinstance(value, torch.ScriptObject):
                value = str(dist.ProcessGroup.unbox(value).group_name)
            if isinstance(value, str) and value in self._axes:
                names = self._axes[value]
                return "ep" if operation == "all_to_all" and "ep" in names else names[-1]
        return "other"


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
