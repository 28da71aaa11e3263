"""Forward and backward over a step's micro-batches: the gradient of one loss over the global batch.

Shapes: T positions, K kinds, L expert layers, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from expedition.kernels.host import is_readable
from expedition.kernels.router_sums import router_sums
from expedition.model.omni import ModelOutput
from expedition.parallel.mesh import Ranks
from expedition.parallel.pipeline import Pipeline
from expedition.parallel.sequence import sequence_split
from expedition.plan.runs import RunPlan
from expedition.train.batches import TensorBatch
from expedition.train.compute import Forward
from expedition.train.losses import (
    IGNORED,
    Head,
    Soft,
    Targets,
    Teaching,
    balance_loss,
    expert_counts,
    router_z_loss,
    token_losses,
)
from expedition.train.top_k import StoredTeacher


@dataclass(frozen=True, slots=True)
class Parts:
    """What a step works with and does not change."""

    run: RunPlan
    ranks: Ranks
    forward: Forward
    experts: int
    """E; 0 for a dense model."""
    kind_weights_K: Tensor
    teacher: Forward | StoredTeacher | None = None
    pipeline: Pipeline | None = None
    """This rank's stages where the model is cut into them; `forward` cannot be called then."""


@dataclass(slots=True)
class Sums:
    """Global figures of one step; they grow with the micro-batches."""

    sum_K: Tensor
    """Σ cross entropy by kind."""
    count_K: Tensor
    """Labelled positions by kind."""
    balance: Tensor
    z: Tensor
    counts_LE: Tensor
    """Assignments by expert layer and expert."""
    weight: Tensor
    """Σ kind weight over labelled positions of the global batch."""
    real_tokens: Tensor
    """Positions of the global batch that are not padding."""
    counts_whole: bool = False
    """`counts_LE` is of the whole step from the beginning."""

    @property
    def loss(self) -> Tensor:
        """Mean cross entropy over labelled positions."""
        return self.sum_K.sum() / self.count_K.sum()


def forward_backward(parts: Parts, batches: Sequence[TensorBatch]) -> Sums:
    """Gradients into the master parameters and the step's global figures. Every rank runs the same collectives.

    Each rank differentiates its share of the global loss, and gradients are summed over ranks.
    """
    sums = start_sums(parts, batches)
    if parts.run.loss.balance_counts == "exact" and len(batches) > 1 and parts.experts:
        sums.counts_LE, sums.counts_whole = step_counts(parts, batches), True
    for number, batch in enumerate(batches):
        parts.forward.begin(number, len(batches))
        output, head = parts.forward(batch)
        tokens = token_losses(
            head,
            output.hidden_BSH,
            targets(parts, batch),
            parts.run.loss.chunk_tokens,
            _soft(parts, batch),
        )
        balance, z = router_losses(parts, batch, output, sums)
        plan = parts.run.loss
        objective = tokens.objective / sums.weight + plan.balance * balance + plan.z_loss * z
        objective.backward()  # type: ignore[no-untyped-call]
        figures = torch.cat([tokens.sum_K, tokens.count_K, balance.detach()[None], z.detach()[None]])
        kinds = tokens.sum_K.numel()
        sum_K, count_K, rest = torch.split(parts.ranks.sum(figures), [kinds, kinds, 2])
        sums.sum_K, sums.count_K = sums.sum_K + sum_K, sums.count_K + count_K
        sums.balance, sums.z = sums.balance + rest[0], sums.z + rest[1]
    parts.forward.end()
    return sums


def start_sums(parts: Parts, batches: Sequence[TensorBatch]) -> Sums:
    """Zeros, and the two denominators, which labels alone decide."""
    weights_K = parts.kind_weights_K
    weight = torch.stack([_label_weight(batch, weights_K) for batch in batches]).sum()
    real_tokens = torch.full_like(weight, float(sum(batch.real_tokens for batch in batches)))
    weight, real_tokens = parts.ranks.sum(torch.stack([weight, real_tokens])).unbind()
    zero, zeros_K = torch.zeros_like(weight), torch.zeros_like(weights_K)
    counts_LE = weights_K.new_zeros(0, parts.experts)
    return Sums(zeros_K, zeros_K, zero, zero, counts_LE, weight.clamp(min=1e-6), real_tokens.clamp(min=1))


def _label_weight(batch: TensorBatch, weights_K: Tensor) -> Tensor:
    labelled = batch.labels_BS != IGNORED
    if is_readable(labelled):
        return weights_K[batch.kind_BS[labelled].long()].sum()
    # How many they are is not known on the host; padding has kind -1 and no label.
    return torch.where(labelled, weights_K[batch.kind_BS.long().clamp(min=0)], 0.0).sum()


def targets(parts: Parts, batch: TensorBatch) -> Targets:
    """What the labels of a micro-batch count, by the plan."""
    run = parts.run
    share = run.teacher.weight if run.teacher is not None else 0.0
    weights_K, z_loss = parts.kind_weights_K, run.loss.head_z_loss
    return Targets(batch.labels_BS, batch.kind_BS, weights_K, z_loss, share, batch.labelled_N)


def _soft(parts: Parts, batch: TensorBatch) -> Teaching | None:
    if parts.teacher is None or parts.run.teacher is None:
        return None
    if isinstance(parts.teacher, StoredTeacher):
        length, device = batch.tokens_BS.shape[1], batch.labels_BS.device
        return parts.teacher.of(batch.sample_ids, length, device, sequence_split(parts.ranks))
    with torch.no_grad():
        output, head = parts.teacher(batch)
    split, hidden_BSH = sequence_split(parts.ranks), output.hidden_BSH  # the teacher is whole on every rank
    hidden_BSH = hidden_BSH if split is None else split.tokens(hidden_BSH, 1)
    return Soft(_without_gradient(head), hidden_BSH, parts.run.teacher.temperature)


def _without_gradient(head: Head) -> Head:
    @torch.no_grad()
    def quiet(hidden_TH: Tensor) -> Tensor:
        return head(hidden_TH)

    return quiet


def router_losses(parts: Parts, batch: TensorBatch, output: ModelOutput, sums: Sums) -> tuple[Tensor, Tensor]:
    """This micro-batch's shares; adds its global counts to `sums.counts_LE`."""
    zero = torch.zeros_like(sums.z)
    if not output.router:
        return zero, zero
    logits = [router.logits_TE for router in output.router]
    if not sums.counts_whole:
        counts_LE = expert_counts([router.topk_TK for router in output.router], batch.real_T, parts.experts)
        counts_LE = parts.ranks.sum(counts_LE)
        sums.counts_LE = counts_LE if not sums.counts_LE.shape[0] else sums.counts_LE + counts_LE
    probability_LE, squares_L = router_sums(logits, batch.real_T)
    balance = balance_loss(probability_LE, sums.counts_LE, sums.real_tokens)
    return balance, router_z_loss(squares_L, sums.real_tokens)


@torch.no_grad()
def step_counts(parts: Parts, batches: Sequence[TensorBatch]) -> Tensor:
    """Assignments of all micro-batches over all ranks [L, E], by a forward pass of each. A collective."""
    total = parts.kind_weights_K.new_zeros(0, parts.experts)
    for batch in batches:
        output, _ = parts.forward(batch)
        if output.router:
            counts_LE = expert_counts([router.topk_TK for router in output.router], batch.real_T, parts.experts)
            total = counts_LE if not total.shape[0] else total + counts_LE
    return parts.ranks.sum(total)
