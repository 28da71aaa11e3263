"""The terms of the loss, each as a *share*: summed over micro-batches and data ranks the shares give the global loss.

Shapes: B batch, S sequence, T positions (B·S flat), H hidden, V vocabulary, E experts, K kinds, L expert layers.
Denominators are global and known before the forward pass, so a step over N ranks or N micro-batches has the gradient of
one step over the whole batch. One exception, which the plan can do without, is stated in `balance_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from expedition.kernels.cross_entropy import cross_entropy

IGNORED = -100


Head = Callable[[Tensor], Tensor]
"""Hidden states [T, H] → logits [T, V]."""


class Teaching(Protocol):
    """What a teacher says about a micro-batch's positions (`Soft`, `train.top_k.TopK`)."""

    def rows(self, places_T: Tensor) -> tuple[Tensor, ...]:
        """What `divergence` takes, at flat positions; none with a gradient."""
        ...

    def divergence(self, student_TV: Tensor, *rows: Tensor) -> Tensor:
        """KL(teacher ‖ student) by position [T] from the student's logits and some of the rows."""
        ...


@dataclass(frozen=True, slots=True)
class Soft:
    """A teacher beside the student: all its probabilities."""

    head: Head
    hidden_BSH: Tensor
    temperature: float

    def rows(self, places_T: Tensor) -> tuple[Tensor, ...]:
        """Its hidden states."""
        return (self.hidden_BSH.flatten(0, 1)[places_T],)

    def divergence(self, student_TV: Tensor, *rows: Tensor) -> Tensor:
        """From both's logits."""
        return divergence(student_TV, self.head(*rows), self.temperature)


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
    z_sum: Tensor
    """fp32 scalar with gradient: Σ kind weight × logsumexp(logits)²; 0 where it is not wanted."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels and what a label counts."""

    labels_BS: Tensor
    kind_BS: Tensor
    weights_K: Tensor
    z_loss: bool = False
    """Whether the z-loss of the head's logits is wanted."""


def token_losses(
    head: Head, hidden_BSH: Tensor, targets: Targets, chunk_tokens: int, soft: Teaching | None = None
) -> TokenLosses:
    """Cross entropy (and divergence from a teacher); at most `chunk_tokens` rows of logits exist at one time.

    With more than one chunk each chunk's logits are recomputed in the backward pass instead of kept. Positions with
    label -100 never reach the head.
    """
    places_T = (targets.labels_BS.flatten() != IGNORED).nonzero().squeeze(1)
    labels_T = targets.labels_BS.flatten()[places_T]
    kinds_T = targets.kind_BS.flatten()[places_T].long()
    hidden_TH = hidden_BSH.flatten(0, 1)[places_T]
    taught = soft.rows(places_T) if soft is not None else ()

    def chunk(hidden: Tensor, labels: Tensor, *rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = head(hidden)
        nll = cross_entropy(logits, labels)
        z = _squared_norm(nll, logits, labels) if targets.z_loss else torch.zeros_like(nll)
        if soft is None:
            return nll, torch.zeros_like(nll), z
        return nll, soft.divergence(logits, *rows), z

    pieces = list(zip(*(torch.split(tensor, chunk_tokens) for tensor in (hidden_TH, labels_T, *taught)), strict=True))
    if len(pieces) > 1:
        results = [checkpoint(chunk, *piece, use_reentrant=False) for piece in pieces]
    else:
        results = [chunk(*piece) for piece in pieces]
    loss_T, soft_T, z_T = (torch.cat(column) for column in zip(*results, strict=True))
    zeros_K, weight_T = torch.zeros_like(targets.weights_K), targets.weights_K[kinds_T]
    return TokenLosses(
        weighted_sum=(loss_T * weight_T).sum(),
        soft_sum=(soft_T * weight_T).sum(),
        sum_K=zeros_K.index_add(0, kinds_T, loss_T.detach()),
        count_K=zeros_K.index_add(0, kinds_T, torch.ones_like(loss_T)),
        z_sum=(z_T * weight_T).sum(),
    )


def _squared_norm(nll_T: Tensor, logits_TV: Tensor, labels_T: Tensor) -> Tensor:
    """logsumexp(logits)² by position: the cross entropy is logsumexp less the label's logit."""
    return (nll_T + logits_TV.gather(-1, labels_T.unsqueeze(-1)).squeeze(-1).float()).square()


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

    E · Σ_e f_e · p_e (Switch, arXiv:2101.03961, eq. 4) with f from `counts_LE`, summed over data ranks: the counts of the
    whole step, or those of its micro-batches up to this one (Qiu et al. 2025, arXiv:2501.11873, section 3: a buffer
    over accumulation steps), where early micro-batches see part of the batch. p_e is this share's Σ of router
    probabilities ÷ `global_tokens` (real positions of the global batch).
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
