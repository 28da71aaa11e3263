"""One rank's view of a run on many ranks: real sharding, real collectives' shapes, no devices, no network, no values.

The process group is torch's fake one, tensors are fake (shapes and types only), the model is built on the meta device.
Memory and bytes are counted, time is not. Routing is taken as balanced: which expert gets a token needs values.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from expedition.errors import ProgrammeError
from expedition.model.audio import AudioEncoder
from expedition.model.config import OmniConfig
from expedition.model.moe import Experts
from expedition.model.omni import OmniModel
from expedition.model.vision import VisionEncoder, VisionFeatures
from expedition.parallel.apply import parallelize
from expedition.parallel.mesh import Meshes, Ranks, lay_meshes
from expedition.plan.models import Programme
from expedition.plan.runs import ParallelPlan
from expedition.plan.shapes import TokenIds
from expedition.workspace import Workspace, layout

SCHEMA = "parallel.dryrun/1"
COLLECTIVES = ("allgather", "reduce_scatter", "allreduce", "alltoall")
GIB = 1 << 30
CONDITIONS = (
    "fake process group",
    "fake tensors: no values, no time",
    "balanced routing",
    "text only: encoders take part without arithmetic",
    "rank 0's view",
)


def dry_run(
    ws: Workspace, programme: Programme, model: str, plan: ParallelPlan | None = None, sequence_length: int = 4096
) -> dict[str, Any]:
    """Build, shard and step rank 0 of `plan` (default 32 × 8 = 256 ranks); write and return reports/dryrun.json.

    Must run in a process without a process group. Raises ProgrammeError for an unknown model.
    """
    if model not in programme.models:
        raise ProgrammeError(f"no model {model!r}", where="models", fix=f"known: {', '.join(programme.models)}")
    plan = plan or ParallelPlan(dp_replicate=32, dp_shard=8)
    vocabulary = 152_064
    config = OmniConfig(programme.models[model], vocabulary, TokenIds())
    begin = time.perf_counter()
    seen = rank_view(config, plan, sequence_length)
    report = {
        "ranks": plan.world,
        "model": model,
        "ok": seen.problem is None,
        "problem": seen.problem,
        "parallel": plan.model_dump(),
        "parameters": seen.parameters,
        "rank_parameters": seen.rank_parameters,
        "rank_state_gib": 4 * 4 * seen.rank_parameters / GIB,
        "collectives": seen.collectives,
        "sequence_length": sequence_length,
        "wall_s": round(time.perf_counter() - begin, 3),
        "conditions": list(CONDITIONS),
    }
    ws.write_json(layout.report("dryrun"), report, schema=SCHEMA)
    return report


@dataclass(slots=True)
class RankView:
    """What one rank holds and sends in one step."""

    parameters: int = 0
    rank_parameters: int = 0
    collectives: dict[str, dict[str, int]] = field(default_factory=dict)
    """calls and bytes by "operation/mesh axis"; bytes of the largest tensor argument, not of the wire."""
    problem: str | None = None


def rank_view(config: OmniConfig, plan: ParallelPlan, sequence_length: int) -> RankView:
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
        view.rank_parameters = sum(parameter.to_local().numel() for parameter in model.parameters())  # type: ignore[attr-defined]
        with FakeTensorMode(allow_non_fake_inputs=True), CollectiveRecorder(meshes) as recorder:
            model.to_empty(device="cpu")
            fake_step(model, sequence_length)
        view.collectives = recorder.found()
    except (RuntimeError, ValueError) as error:  # RuntimeError: also an operation that fake tensors lack
        view.problem = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    finally:
        dist.destroy_process_group()
    return view


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
    F.cross_entropy(logits_TV.float(), tokens_BS.flatten()).backward()  # type: ignore[no-untyped-call]


class BalancedExperts(Experts):
    """Experts of the same parameters that take equal numbers of tokens, since fake tensors hold no choice."""

    def forward(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Tensor:
        experts, top_k = self.gate_up_proj.shape[0], topk_TK.shape[1]
        rows_ERH = x_TH.repeat_interleave(top_k, dim=0).reshape(experts, -1, x_TH.shape[1])
        gate, up = torch.bmm(rows_ERH, self.gate_up_proj.transpose(1, 2)).chunk(2, dim=-1)
        out_ERH = torch.bmm(F.silu(gate) * up, self.down_proj.transpose(1, 2))
        return torch.einsum("tkh,tk->th", out_ERH.reshape(*topk_TK.shape, -1), weight_TK)


class TouchedVision(VisionEncoder):
    """An encoder whose parameters take part (gathered, given gradients, reduced) and whose arithmetic does not."""

    def forward(self, patches_PC: Tensor, grid_G3: Tensor) -> VisionFeatures:
        feature_1H = _touch_all(self)
        return VisionFeatures(feature_1H, [feature_1H])


class TouchedAudio(AudioEncoder):
    """As `TouchedVision`."""

    def forward(self, mel_MF: Tensor, mel_lengths_A: Tensor) -> Tensor:
        return _touch_all(self)


def _touch_all(module: nn.Module) -> Tensor:
    return torch.stack([parameter.float().sum() for parameter in module.parameters()]).sum().reshape(1, 1).clone()


def without_values(model: OmniModel) -> None:
    """Replace what needs values of tensors, in place: the choice of experts, and the encoders' plans of their input."""
    swaps = {Experts: BalancedExperts, VisionEncoder: TouchedVision, AudioEncoder: TouchedAudio}
    for module in model.modules():
        if type(module) in swaps:
            module.__class__ = swaps[type(module)]


class CollectiveRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts collectives by operation and mesh axis."""

    def __init__(self, meshes: Meshes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._axes: dict[str, str] = {}
        for mesh in (meshes.data, meshes.sparse, meshes.tensor, meshes.flat):
            for name in mesh.mesh_dim_names or ():
                self._axes[str(mesh.get_group(name).group_name)] = name
        self._calls: dict[str, int] = defaultdict(int)
        self._bytes: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.split("::")[-1].strip("_")
        if name.startswith(COLLECTIVES):
            key = f"{name}/{self._axis(args)}"
            self._calls[key] += 1
            self._bytes[key] += max((_bytes(value) for value in _tensors(args)), default=0)
        return func(*args, **(kwargs or {}))

    def found(self) -> dict[str, dict[str, int]]:
        """calls and bytes by key."""
        return {key: {"calls": self._calls[key], "bytes": self._bytes[key]} for key in sorted(self._calls)}

    def _axis(self, args: tuple[Any, ...]) -> str:
        for value in args:
            if isinstance(value, str) and value in self._axes:
                return self._axes[value]
            if isinstance(value, torch.ScriptObject):
                group = dist.ProcessGroup.unbox(value)
                return self._axes.get(str(group.group_name), "other")
        return "other"


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
