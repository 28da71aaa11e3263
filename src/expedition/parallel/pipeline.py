"""Pipeline parallelism: a built model cut into stages of layers, and torch's schedules over them.

Shapes: B rows of a micro-batch, S local positions of a row, H hidden.

Stage s of n = pp · stages_per_rank lies on pipeline rank s mod pp. Stage 0 has the embeddings and encoders, the last one
the final norm and the head; parameters keep the names that they have in the whole model. A schedule moves hidden states
[B, S, H] forwards and their gradients back; everything else that a stage needs it takes from the batch, which all ranks
of a pipeline read. Batches of other sizes (a batch ramp) get another schedule object, since buffers have fixed shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
)

from expedition.errors import ProgrammeError
from expedition.model.omni import OmniModel
from expedition.parallel.mesh import Ranks
from expedition.parallel.placement import local
from expedition.plan.runs import ParallelPlan
from expedition.plan.shapes import ModelShape

EMBEDDING = "model.embed_tokens.weight"

Work = Callable[["Stage", int, Tensor], Tensor]
"""(stage, micro-batch, tokens [B, S] or hidden [B, S, H]) → hidden [B, S, H], or the last stage's objective (scalar)."""


class Elsewhere(nn.Module):
    """Stands where another pipeline rank has the module; has no parameters."""


class Stage(nn.Module):
    """Some layers of a model, with what comes before the first or after the last of all; the unit of FSDP2's root.

    Its modules are those of `model`, not copies. The arithmetic is `work`, which the trainer gives.
    """

    def __init__(self, model: OmniModel, number: int, stages: int, layers: range) -> None:
        super().__init__()
        self.number, self.stages, self.numbers = number, stages, layers
        self.whole = (model,)  # in a tuple, so that the model is not a child
        self.layers = nn.ModuleList(model.model.layers[layer] for layer in layers)
        if self.is_first:
            self.embed_tokens, self.visual, self.audio_tower = model.model.embed_tokens, model.visual, model.audio_tower
        if self.is_last:
            self.norm, self.lm_head = model.model.norm, model.lm_head
            if model.config.shape.tied_embeddings:
                self.embed_tokens = model.model.embed_tokens
        self._work: Work | None = None
        self._next = 0

    @property
    def is_first(self) -> bool:
        """Whether it embeds tokens and media."""
        return self.number == 0

    @property
    def is_last(self) -> bool:
        """Whether it computes the loss."""
        return self.number == self.stages - 1

    @property
    def model(self) -> OmniModel:
        """The model whose modules these are; what other ranks have is `Elsewhere`."""
        return self.whole[0]

    def take(self, work: Work) -> None:
        """Use `work` for the step that begins; its micro-batches are counted from 0."""
        self._work, self._next = work, 0

    def forward(self, x: Tensor) -> Tensor:
        assert self._work is not None, "a step begins with `take`"
        self._next += 1
        return self._work(self, self._next - 1, x)


def cut(model: OmniModel, ranks: Ranks) -> list[Stage]:
    """This rank's stages, in order of their numbers; what other ranks have is taken out of `model`."""
    plan, shape = ranks.plan, model.config.shape
    require_stages(plan, shape)
    spans = stage_layers(shape.layers, plan.stages)
    mine = [number for number in range(plan.stages) if number % plan.pp == ranks.place("pp")]
    kept = {layer for number in mine for layer in spans[number]}
    first, last = 0 in mine, plan.stages - 1 in mine
    for layer in range(shape.layers):
        if layer not in kept:
            model.model.layers[layer] = Elsewhere()
    if not first:
        model.visual, model.audio_tower = Elsewhere(), Elsewhere()  # type: ignore[assignment]
    if not last:
        model.model.norm, model.lm_head = Elsewhere(), Elsewhere()  # type: ignore[assignment]
    if not first and not (last and shape.tied_embeddings):
        model.model.embed_tokens = Elsewhere()  # type: ignore[assignment]
    return [Stage(model, number, plan.stages, spans[number]) for number in mine]


def require_stages(plan: ParallelPlan, shape: ModelShape) -> None:
    """Raise ProgrammeError where a model of this shape cannot be cut into the plan's stages."""
    if plan.stages > shape.layers:
        raise ProgrammeError(
            f"{plan.stages} pipeline stages for {shape.layers} layers",
            where="parallel.pp",
            fix="every stage needs a layer: lower pp or stages_per_rank",
        )
    deep, first = len(shape.vision.deepstack_layers), len(stage_layers(shape.layers, plan.stages)[0])
    if first < deep:
        raise ProgrammeError(
            f"the first of {plan.stages} stages has {first} layers and vision adds to the first {deep}",
            where="parallel.pp",
            fix="vision features stay on the first stage: lower pp or stages_per_rank",
        )


def stage_layers(layers: int, stages: int) -> list[range]:
    """Consecutive layers by stage, as equal as can be; the middle gets what is over, since the ends have more to do."""
    sizes = [layers // stages] * stages
    by_distance = sorted(range(stages), key=lambda stage: (abs(2 * stage - (stages - 1)), -stage))
    for stage in by_distance[: layers % stages]:
        sizes[stage] += 1
    ends = [sum(sizes[: stage + 1]) for stage in range(stages)]
    return [range(end - size, end) for end, size in zip(ends, sizes, strict=True)]


@dataclass(frozen=True, slots=True)
class Pass:
    """One thing that a rank does with a micro-batch."""

    kind: Literal["forward", "backward", "input_backward", "weight_backward"]
    """A backward pass may fall into the gradient of the input, and that of the weights later."""
    stage: int
    micro_batch: int


@dataclass(frozen=True, slots=True)
class StepShape:
    """What fixes a schedule's buffers."""

    micro_batches: int
    rows: int
    positions: int
    """Local positions of a row."""


class Pipeline:
    """This rank's stages and the schedules over them. Owned by one thread."""

    def __init__(self, stages: Sequence[Stage], ranks: Ranks, dtype: torch.dtype, device: torch.device) -> None:
        assert ranks.meshes is not None
        self.stages, self.ranks = list(stages), ranks
        self._dtype, self._device = dtype, device
        self._hidden = stages[0].model.config.shape.hidden
        self.group = ranks.meshes.data.get_group("pp")
        self._schedules: dict[StepShape, Any] = {}
        self.ends = _group_of_ends(ranks) if stages[0].model.config.shape.tied_embeddings else None

    @property
    def borrowed(self) -> frozenset[str]:
        """Parameters whose owner is another pipeline rank: the tied table on the last one."""
        return (
            frozenset({EMBEDDING})
            if self.ends is not None and self._holds_last and not self._holds_first
            else frozenset()
        )

    @property
    def _holds_first(self) -> bool:
        return self.stages[0].is_first

    @property
    def _holds_last(self) -> bool:
        return self.stages[-1].is_last

    def run(self, work: Work, tokens: Sequence[Tensor], positions: int) -> None:
        """Forward and backward of all micro-batches: gradients are in the parameters when it returns.

        `tokens[i]` [B, S] are those of micro-batch i, `positions` a row's local ones. `work` is called once for each
        stage and micro-batch; for one stage in the order of the micro-batches. A collective of the pipeline's ranks.
        """
        for stage in self.stages:
            stage.take(work)
        count = len(tokens)
        schedule = self._schedule(StepShape(count, tokens[0].shape[0], positions), tokens[0])
        arguments = (torch.cat(list(tokens)),) if self._holds_first else ()
        schedule.step(*arguments, target=torch.zeros(count) if self._holds_last else None, return_outputs=False)
        self.join_tied_gradients()

    def passes(self, shape: StepShape) -> list[Pass]:
        """What this rank does in a step of such a shape, in order; nothing is run."""
        plan, place, count = self.ranks.plan, self.ranks.place("pp"), shape.micro_batches
        if plan.schedule == "1f1b":
            ahead = min(count, plan.pp - place)
            turns = [("forward", number) for number in range(ahead)]
            for number in range(count):
                turns.append(("backward", number))
                turns += [("forward", number + ahead)] if number + ahead < count else []
            return [Pass(kind, place, number) for kind, number in turns]  # type: ignore[arg-type]
        tokens = torch.empty(shape.rows, shape.positions, dtype=torch.int64, device="meta")
        actions = self._schedule(shape, tokens).pipeline_order[place]
        kinds: dict[str, Any] = {
            "FORWARD": "forward",
            "FULL_BACKWARD": "backward",
            "BACKWARD_INPUT": "input_backward",
            "BACKWARD_WEIGHT": "weight_backward",
        }
        return [
            Pass(kinds[action.computation_type.name], action.stage_index, action.microbatch_index)
            for action in actions
            if action is not None and action.computation_type.name in kinds
        ]

    @torch.no_grad()
    def pass_once(self, work: Work, tokens: Tensor, positions: int) -> None:
        """One micro-batch `tokens` [B, S] forwards through all stages, one after the other, without gradients.

        A collective of the pipeline's ranks; `positions` as in `run`.
        """
        pp = self.ranks.plan.pp
        for stage in self.stages:
            stage.take(work)
            x = tokens
            if not stage.is_first:
                x = torch.empty(tokens.shape[0], positions, self._hidden, dtype=self._dtype, device=self._device)
                dist.recv(x, group=self.group, group_src=(stage.number - 1) % pp)
            x = stage(x)
            if not stage.is_last:
                dist.send(x.contiguous(), group=self.group, group_dst=(stage.number + 1) % pp)
        for unit in (module for stage in self.stages for module in stage.modules()):
            if isinstance(unit, FSDPModule):
                unit.reshard()

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the pipeline's ranks; `value` is not changed."""
        total = value.detach().clone()
        dist.all_reduce(total, group=self.group)
        return total

    def _schedule(self, shape: StepShape, tokens: Tensor) -> Any:
        if shape not in self._schedules:
            self._schedules[shape] = self._build(shape, tokens)
        return self._schedules[shape]

    def _build(self, shape: StepShape, tokens: Tensor) -> Any:
        plan = self.ranks.plan
        hidden = torch.empty(shape.rows, shape.positions, self._hidden, dtype=self._dtype, device="meta")
        objective = torch.empty((), dtype=torch.float32, device="meta")
        parts: list[Any] = [
            PipelineStage(
                stage,
                stage.number,
                stage.stages,
                self._device,
                input_args=tokens.to("meta") if stage.is_first else hidden.requires_grad_(),
                output_args=objective.requires_grad_() if stage.is_last else hidden.requires_grad_(),
                group=self.group,
            )
            for stage in self.stages
        ]
        options: dict[str, Any] = {"n_microbatches": shape.micro_batches, "loss_fn": _as_it_is, "scale_grads": False}
        if plan.schedule == "1f1b":
            return Schedule1F1B(parts[0], **options)
        kind = ScheduleInterleaved1F1B if plan.schedule == "interleaved" else ScheduleInterleavedZeroBubble
        return kind(parts, **options)

    @torch.no_grad()
    def join_tied_gradients(self) -> None:
        """The tied table is on the first and the last rank: both get the sum of the two gradients."""
        if self.ends is None or not (self._holds_first or self._holds_last):
            return
        gradient = self.stages[0].model.model.embed_tokens.weight.grad
        assert gradient is not None
        dist.all_reduce(local(gradient), group=self.ends)


def _as_it_is(objective: Tensor, _target: None) -> Tensor:
    return objective


def _group_of_ends(ranks: Ranks) -> dist.ProcessGroup | None:
    """The group of the first and the last rank of this rank's pipeline; None in the middle. Every rank makes all."""
    assert ranks.meshes is not None
    lines_PN = ranks.meshes.data.mesh.flatten(1)
    mine = None
    for line in lines_PN.t().tolist():
        ends = [line[0], line[-1]]
        group = dist.new_group(ends)
        if ranks.rank in ends:
            mine = group
    return mine


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BSH: Tensor, loss: Tensor) -> Tensor:
        ctx.like = loss
        return x_BSH.clone()

    @staticmethod
    def backward(ctx: Any, grad_BSH: Tensor) -> tuple[Tensor, Tensor]:
        return grad_BSH, torch.ones_like(ctx.like)


def attach(x_BSH: Tensor, loss: Tensor) -> Tensor:
    """`x_BSH` itself; its backward pass also differentiates `loss`, as if it were added to the objective.

    So a loss that arises in an early stage needs no way to the last one.
    """
    joined: Tensor = _Attach.apply(x_BSH, loss)  # type: ignore[no-untyped-call]
    return joined
