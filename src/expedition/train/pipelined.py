"""The objective of a step through pipeline stages: the same losses as `objective`, each where its tensors are.

Cross entropy arises on the last stage, balance and z losses on every stage with experts; `attach` lets an early stage
differentiate its own. Forward passes of a stage come in the order of the micro-batches, whatever the schedule, so counts
grow as they do without a pipeline, and recomputation in the backward pass does not touch them.

Shapes: B rows, S positions, H hidden, K kinds, L expert layers, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expedition.model.moe import RouterOutput
from expedition.model.omni import ModelOutput
from expedition.parallel.pipeline import Pipeline, Stage, attach
from expedition.train.batches import TensorBatch
from expedition.train.fp8.head import linear_head
from expedition.train.losses import token_losses
from expedition.train.objective import Parts, Sums, router_losses, start_sums, targets


def forward_backward_stages(parts: Parts, pipeline: Pipeline, batches: Sequence[TensorBatch]) -> Sums:
    """As `objective.forward_backward`, for a model that is cut into stages; the same figures on every rank."""
    sums = start_sums(parts, batches)
    passing = _Passing(parts, batches, {stage.number: replace(sums) for stage in pipeline.stages}, sums)
    tokens = [batch.tokens_BS for batch in batches]
    pipeline.run(passing.work, tokens, positions=batches[0].labels_BS.shape[1])
    return _joined(parts, pipeline, passing)


def stage_forward(stage: Stage, batch: TensorBatch, x: Tensor) -> tuple[Tensor, list[RouterOutput]]:
    """Hidden states after the stage's layers, without the final norm, and its routers' outputs; on the first stage `x` is
    not used, since it embeds the batch."""
    model = stage.model
    positions_3BS, seen = model.attended(batch.positions_3BS, batch.document_BS)
    visual_index_N, deepstack = None, []
    if stage.is_first:
        media = (batch.patches_PC, batch.grid_G3, batch.mel_MF, batch.mel_lengths_A)
        fused = model.fuse(batch.tokens_BS, *media)
        x, visual_index_N, deepstack = fused.x_BSH, fused.visual_index_N, fused.deepstack
    rotary = model.model.rotary(positions_3BS, x.dtype)
    return model.model.through(stage.numbers, x, rotary, seen, visual_index_N, deepstack)


def pass_batch(pipeline: Pipeline, batch: TensorBatch) -> None:
    """One micro-batch forwards through the layers of all stages, without gradients and losses. A collective."""
    pipeline.pass_once(
        lambda stage, _, x: stage_forward(stage, batch, x)[0], batch.tokens_BS, positions=batch.labels_BS.shape[1]
    )


@dataclass(slots=True)
class _Passing:
    """What a step's micro-batches leave behind on this rank."""

    parts: Parts
    batches: Sequence[TensorBatch]
    by_stage: dict[int, Sums]
    """Balance, z and counts of each stage; this rank's shares, counts summed over the ranks of the stage."""
    tokens: Sums
    """Sums by kind of the last stage; this rank's share."""

    def work(self, stage: Stage, number: int, x: Tensor) -> Tensor:
        """One stage's forward pass: hidden states, or the objective's share on the last."""
        batch = self.batches[number]
        x_BSH, router = stage_forward(stage, batch, x)
        objective = self._router_share(stage, batch, router, x_BSH)
        if not stage.is_last:
            return x_BSH if objective is None else attach(x_BSH, objective)
        share = self._token_share(stage, batch, stage.norm(x_BSH))
        return share if objective is None else share + objective

    def _router_share(
        self, stage: Stage, batch: TensorBatch, router: list[RouterOutput], x_BSH: Tensor
    ) -> Tensor | None:
        if not router:
            return None
        plan, sums = self.parts.run.loss, self.by_stage[stage.number]
        # Both losses are means over the layers of the whole model; here they are means over the stage's.
        share = len(router) / len(stage.model.config.shape.moe_layers)
        balance, z = router_losses(self.parts, batch, ModelOutput(x_BSH, router), sums)
        balance, z = balance * share, z * share
        sums.balance, sums.z = sums.balance + balance.detach(), sums.z + z.detach()
        return plan.balance * balance + plan.z_loss * z

    def _token_share(self, stage: Stage, batch: TensorBatch, hidden_BSH: Tensor) -> Tensor:
        head = linear_head(stage.model.lm_head)
        tokens = token_losses(head, hidden_BSH, targets(self.parts, batch), self.parts.run.loss.chunk_tokens)
        self.tokens.sum_K = self.tokens.sum_K + tokens.sum_K
        self.tokens.count_K = self.tokens.count_K + tokens.count_K
        return tokens.objective / self.tokens.weight


def _joined(parts: Parts, pipeline: Pipeline, passing: _Passing) -> Sums:
    """The step's global figures: over the ranks of each stage, then over the stages."""
    shape = pipeline.stages[0].model.config.shape
    sums, stages = passing.tokens, passing.by_stage
    kinds = sums.sum_K.numel()
    rest = torch.stack([torch.stack([one.balance, one.z]) for one in stages.values()]).sum(0)
    figures = pipeline.sum(parts.ranks.sum(torch.cat([sums.sum_K, sums.count_K, rest])))
    counts_LE = figures.new_zeros(len(shape.moe_layers), parts.experts)
    for stage in pipeline.stages:
        rows = [shape.moe_layers.index(layer) for layer in stage.numbers if layer in shape.moe_layers]
        if rows:
            counts_LE[rows] = stages[stage.number].counts_LE
    sum_K, count_K, rest = torch.split(figures, [kinds, kinds, 2])
    return replace(sums, sum_K=sum_K, count_K=count_K, balance=rest[0], z=rest[1], counts_LE=pipeline.sum(counts_LE))
