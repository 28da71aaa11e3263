"""One rank's view of a run on many ranks: real sharding, real collectives' shapes, no devices, no network, no values.

The process group is torch's fake one, tensors are fake (shapes and types only), the model is built on the meta device.
Memory and bytes are counted, time is not. Routing is taken as balanced: which expert gets a token needs values.
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
from torch.utils._python_dispatch import TorchDispatchMode

from expedition.errors import ProgrammeError, UsageError
from expedition.kernels.grouped_experts import Routing
from expedition.model.audio import AudioEncoder
from expedition.model.config import OmniConfig
from expedition.model.omni import OmniModel
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.apply import parallelize, require_layout
from expedition.parallel.dispatch import AllToAllDispatcher, Splits
from expedition.parallel.experts import expert_modules
from expedition.parallel.mesh import Meshes, Ranks, lay_meshes
from expedition.plan.models import Programme
from expedition.plan.runs import ParallelPlan
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
}
"""How torch's operations begin (c10d's and the functional ones), and what they are."""
GIB = 1 << 30
CONDITIONS = (
    "fake process group",
    "fake tensors: no values, no time",
    "balanced routing",
    "text only: encoders take part without arithmetic",
    "rank 0's view",
)


def dry_run(
    ws: Workspace,
    programme: Programme,
    model: str,
    plan: ParallelPlan | None = None,
    sequence_length: int = 4096,
    *,
    memory: bool = False,
) -> dict[str, Any]:
    """Build, shard and step rank 0 of `plan` (default 32 × 8 = 256 ranks); write and return reports/dryrun.json.

    `memory` also follows every allocation of the step, which takes minutes for a large model. Must run in a process
    without a process group. Raises ProgrammeError for an unknown model and, with the rule, for a layout that cannot be.
    """
    if model not in programme.models:
        raise ProgrammeError(f"no model {model!r}", where="models", fix=f"known: {', '.join(programme.models)}")
    plan = plan or ParallelPlan(dp_replicate=32, dp_shard=8)
    vocabulary = 152_064
    config = OmniConfig(programme.models[model], vocabulary, TokenIds())
    require_view(config, plan, sequence_length)
    begin = time.perf_counter()
    seen = rank_view(config, plan, sequence_length, memory=memory)
    report = {
        "ranks": plan.world,
        "model": model,
        "ok": seen.problem is None,
        "problem": seen.problem,
        "parallel": plan.model_dump(),
        "parameters": seen.parameters,
        "rank_parameters": seen.rank_parameters,
        "rank_state_gib": 4 * 4 * seen.rank_parameters / GIB,
        "step_peak_gib": None if seen.peak_bytes is None else seen.peak_bytes / GIB,
        "activations_gib": None if seen.activation_bytes is None else seen.activation_bytes / GIB,
        "collectives": seen.collectives,
        "sequence_length": sequence_length,
        "tokens": sequence_length // (plan.cp * plan.tp),
        "wall_s": round(time.perf_counter() - begin, 3),
        "conditions": list(CONDITIONS),
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

    parameters: int = 0
    rank_parameters: int = 0
    collectives: dict[str, dict[str, int]] = field(default_factory=dict)
    """calls and bytes by "operation/mesh axis"; bytes of the largest tensor that goes in or out, not of the wire."""
    peak_bytes: int | None = None
    """Most that the step holds at one time: weights, gradients, what is gathered, activations; without moments. None:
    not followed."""
    activation_bytes: int | None = None
    """Activations at that time."""
    problem: str | None = None


def require_view(config: OmniConfig, plan: ParallelPlan, sequence_length: int) -> None:
    """Raise ProgrammeError, with the rule, for what has no such view."""
    require_layout(config.shape, plan)
    if plan.pp > 1:
        raise ProgrammeError(
            f"pp = {plan.pp}: a dry run sees one stage of layers, the whole model",
            where="parallel.pp",
            fix="look at a stage alone: a shape with 1/pp of the layers and pp = 1",
        )
    parts = 2 * plan.cp * plan.tp
    if plan.cp * plan.tp > 1 and sequence_length % parts:
        raise ProgrammeError(
            f"a row of {sequence_length} positions does not divide into 2 × cp × tp = {parts}",
            where="sequence_length",
            fix=f"a multiple of {parts}",
        )


def rank_view(config: OmniConfig, plan: ParallelPlan, sequence_length: int, *, memory: bool = False) -> RankView:
    """Rank 0's step (forward, backward) on one sequence of text; `problem` says what failed."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    view = RankView()
    dist.init_process_group("fake", rank=0, world_size=plan.world, store=FakeStore())
    try:
        meshes = lay_meshes(plan, "cpu")
        with torch.device("meta"):
            model = OmniModel(config)
        view.parameters = sum(parameter.numel() for parameter in model.parameters())
        without_values(model)
        parallelize(model, Ranks(0, plan.world, plan, meshes), torch.bfloat16)
        _even(model)
        view.rank_parameters = sum(parameter.to_local().numel() for parameter in model.parameters())  # type: ignore[attr-defined]
        with FakeTensorMode(allow_non_fake_inputs=True), CollectiveRecorder(meshes) as recorder:
            model.to_empty(device="cpu")
            if memory:
                view.peak_bytes, view.activation_bytes = follow_memory(model, sequence_length)
            else:
                fake_step(model, sequence_length)
        view.collectives = recorder.found()
    except (RuntimeError, ValueError) as error:  # RuntimeError: also an operation that fake tensors lack
        view.problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        dist.destroy_process_group()
    return view


def follow_memory(model: OmniModel, sequence_length: int) -> tuple[int, int]:
    """`fake_step`, and the most bytes that it holds at one time: all, and those of activations."""
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(model)
    with tracker:
        fake_step(model, sequence_length)
    (peak,) = tracker.get_tracker_snapshot("peak").values()
    by_kind = {str(getattr(kind, "name", kind)): size for kind, size in peak.items()}
    return by_kind["Total"], by_kind["ACT"]


def fake_step(model: OmniModel, sequence_length: int) -> None:
    """Forward and backward of one packed row of text."""
    shape = (1, sequence_length)
    tokens_BS = torch.ones(shape, dtype=torch.int64)
    config = model.config.shape
    output = model(
        tokens_BS,
        torch.zeros((3, *shape), dtype=torch.int64),
        torch.ones(shape, dtype=torch.int32),
        torch.zeros(0, config.vision.patch_values),
        torch.zeros(0, 3, dtype=torch.int64),
        torch.zeros(0, dtype=torch.bool),
        torch.zeros(config.audio.mel_bins, 0),
        torch.zeros(0, dtype=torch.int64),
    )
    logits_TV = F.linear(output.hidden_BSH.flatten(0, 1), model.lm_head.weight)
    labels_T = tokens_BS[:, : output.hidden_BSH.shape[1]].flatten()
    F.cross_entropy(logits_TV.float(), labels_T).backward()  # type: ignore[no-untyped-call]


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
    """Counts collectives by operation and mesh axis. Where axes have the same ranks, all-to-all is "ep"'s."""

    def __init__(self, meshes: Meshes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes: dict[str, list[str]] = defaultdict(list)
        for mesh in (meshes.sparse, meshes.data, meshes.tensor, meshes.flat):
            for name in mesh.mesh_dim_names or ():
                self._axes[str(mesh.get_group(name).group_name)].append(name)
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
