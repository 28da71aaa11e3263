"""The terms of the loss, each as a *share*: summed over micro-batches and data ranks the shares give the global loss.

Shapes: B batch, S sequence, T positions (B·S flat), H hidden, V vocabulary, E experts, K kinds, L expert layers.
Denominators are global and known before the forward pass, so a step over N ranks or N micro-batches has the gradient of
one step over the whole batch. One exception is stated in `balance_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from expedition.kernels.cross_entropy import cross_entropy

IGNORED = -100


Head = Callable[[Tensor], Tensor]
"""Hidden states [T, H] → logits [T, V]."""


@dataclass(frozen=True, slots=True)
class Soft:
    """What a teacher says about the same positions."""

    head: Head
    hidden_BSH: Tensor
    temperature: float


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """Cross entropy in nats, over the labelled positions of one micro-batch."""

    weighted_sum: Tensor
    """fp32 scalar with gradient: Σ kind weight × loss."""
    soft_sum: Tensor
    """fp32 scalar with gradient: Σ kind weight × divergence from the teacher; 0 without one."""
    sum_K: Tensor
    """fp32 [kinds], detached: Σ loss by kind."""
    count_K: Tensor
    """fp32 [kinds]: labelled positions by kind."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels and what a label counts."""

    labels_BS: Tensor
    kind_BS: Tensor
    weights_K: Tensor


def token_losses(
    head: Head, hidden_BSH: Tensor, targets: Targets, chunk_tokens: int, soft: Soft | None = None
) -> TokenLosses:
    """Cross entropy (and divergence from a teacher); at most `chunk_tokens` rows of logits exist at one time.

    With more than one chunk each chunk's logits are recomputed in the backward pass instead of kept. Positions with
    label -100 never reach the head.
    """
    places_T = (targets.labels_BS.flatten() != IGNORED).nonzero().squeeze(1)
    labels_T = targets.labels_BS.flatten()[places_T]
    kinds_T = targets.kind_BS.flatten()[places_T].long()
    hidden_TH = hidden_BSH.flatten(0, 1)[places_T]
    soft_TH = soft.hidden_BSH.flatten(0, 1)[places_T] if soft is not None else hidden_TH.detach()

    def chunk(hidden: Tensor, labels: Tensor, teacher_hidden: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(hidden)
        nll = cross_entropy(logits, labels)
        if soft is None:
            return nll, torch.zeros_like(nll)
        return nll, divergence(logits, soft.head(teacher_hidden), soft.temperature)

    pieces = list(zip(*(torch.split(tensor, chunk_tokens) for tensor in (hidden_TH, labels_T, soft_TH)), strict=True))
    if len(pieces) > 1:
        results = [checkpoint(chunk, *piece, use_reentrant=False) for piece in pieces]
    else:
        results = [chunk(*piece) for piece in pieces]
    loss_T, soft_T = (torch.cat(column) for column in zip(*results, strict=True))
    zeros_K, weight_T = torch.zeros_like(targets.weights_K), targets.weights_K[kinds_T]
    return TokenLosses(
        weighted_sum=(loss_T * weight_T).sum(),
        soft_sum=(soft_T * weight_T).sum(),
        sum_K=zeros_K.index_add(0, kinds_T, loss_T.detach()),
        count_K=zeros_K.index_add(0, kinds_T, torch.ones_like(loss_T)),
    )


def divergence(student_TV: Tensor, teacher_TV: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) by position [T], softened and × temperature² (Hinton et al. 2015, arXiv:1503.02531)."""
    teacher = F.log_softmax(teacher_TV.float() / temperature, dim=-1)
    student = F.log_softmax(student_TV.float() / temperature, dim=-1)
    return F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1) * temperature**2


def expert_counts(topk_by_layer: Sequence[Tensor], real_T: Tensor, experts: int) -> Tensor:
    """Assignments by layer and expert [L, E], fp32; padding positions (real_T false) are left out."""
    counts = [torch.bincount(topk_TK[real_T].flatten(), minlength=experts).float() for topk_TK in topk_by_layer]
    return torch.stack(counts)


def balance_loss(logits_by_layer: Sequence[Tensor], real_T: Tensor, counts_LE: Tensor, global_tokens: Tensor) -> Tensor:
    """Share of the load-balance loss over the global batch, mean over layers: 1 when balanced.

    E · Σ_e f_e · p_e (Switch, arXiv:2101.03961, eq. 4) with f from `counts_LE`: the counts summed over data ranks and
    over this step's micro-batches up to this one (Qiu et al. 2025, arXiv:2501.11873, section 3: a buffer over
    accumulation steps). So with one micro-batch it is exact, with more the early ones see part of the batch. p_e is
    this share's Σ of router probabilities ÷ `global_tokens` (real positions of the global batch).
    """
    total = counts_LE.new_zeros(())
    for logits_TE, counts_E in zip(logits_by_layer, counts_LE, strict=True):
        probability_E = _real(logits_TE, real_T).softmax(-1).sum(0) / global_tokens
        fraction_E = counts_E / counts_E.sum().clamp(min=1)
        total = total + counts_E.numel() * (fraction_E * probability_E).sum()
    return total / len(logits_by_layer)


def router_z_loss(logits_by_layer: Sequence[Tensor], real_T: Tensor, global_tokens: Tensor) -> Tensor:
    """Share of the mean over tokens and layers of logsumexp(logits)² (ST-MoE, arXiv:2202.08906, eq. 5)."""
    squares = [_real(logits_TE, real_T).logsumexp(-1).square().sum() for logits_TE in logits_by_layer]
    return torch.stack(squares).mean() / global_tokens


def _real(logits_TE: Tensor, real_T: Tensor) -> Tensor:
    """fp32 logits of real positions."""
    return logits_TE.float()[real_T]


def top_share(counts_LE: Tensor, share: float = 0.1) -> Tensor:
    """Share of assignments that go to the top tenth of experts (rounded up), by layer [L]."""
    top = -(-counts_LE.shape[1] * share // 1)
    busiest = counts_LE.topk(int(top), dim=1).values.sum(1)
    return busiest / counts_LE.sum(1).clamp(min=1)
