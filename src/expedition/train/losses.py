"""The terms of the loss, each as a *share*: summed over micro-batches and data ranks the shares give the global loss.

Shapes: B batch, S sequence, T positions (B·S flat), N labelled positions, H hidden, V vocabulary, E experts, K kinds,
L expert layers.
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
from expedition.kernels.fp8_linear import linear_fp8
from expedition.kernels.host import is_readable
from expedition.kernels.linear_cross_entropy import Fp8Factors, linear_cross_entropy
from expedition.kernels.routing import counts_by_expert
from expedition.kernels.sorted_rows import permute
from expedition.kernels.triton_jit import launches

IGNORED = -100


Head = Callable[[Tensor], Tensor]
"""Hidden states [T, H] → logits [T, V]."""


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A head without bias: its weight is known, so that loss and gradient can be made together."""

    weight_VH: Tensor
    fp8: Fp8Factors | None = None
    """How it multiplies in FP8; None: in the compute type."""

    def __call__(self, hidden_TH: Tensor) -> Tensor:
        if self.fp8 is None:
            return F.linear(hidden_TH, self.weight_VH)
        return linear_fp8(hidden_TH, self.weight_VH, *self.fp8)


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
    """What the labelled positions of one micro-batch cost; cross entropy in nats."""

    objective: Tensor
    """fp32 scalar with gradient: Σ kind weight × ((1 − soft share) × loss + soft share × divergence from the teacher
    + z-loss weight × logsumexp(logits)²)."""
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
    z_loss: float = 0.0
    """Weight of the z-loss of the head's logits."""
    soft_share: float = 0.0
    """Share of the divergence from a teacher; the rest is the cross entropy's."""
    places_N: Tensor | None = None
    """Flat positions that have a label, int64, where the host knows them: the head then sees no other position."""


def token_losses(
    head: Head, hidden_BSH: Tensor, targets: Targets, chunk_tokens: int, soft: Teaching | None = None
) -> TokenLosses:
    """Cross entropy (and divergence from a teacher); at most `chunk_tokens` rows of logits exist at one time.

    Positions with label -100 count nothing, and never reach the head where `targets.places_N` is given or the labels are
    on the host. On a device a `LinearHead` without a teacher makes its gradient in the forward pass and nothing waits;
    otherwise, with more than one chunk, each chunk's logits are recomputed in the backward pass instead of kept.
    """
    labels_T, kinds_T = targets.labels_BS.flatten(), targets.kind_BS.flatten()
    hidden_TH, places = hidden_BSH.flatten(0, 1), targets.places_N
    on_host = is_readable(hidden_TH) and not launches(hidden_TH)
    fused = isinstance(head, LinearHead) and soft is None and not on_host
    if places is None and not fused:
        places = (labels_T != IGNORED).nonzero().squeeze(1)
    if fused and places is not None:
        hidden_TH = _labelled_rows(hidden_TH, labels_T, places)
        labels_T, kinds_T = labels_T.index_select(0, places), kinds_T.index_select(0, places)
    elif places is not None:
        hidden_TH, labels_T, kinds_T = (value.index_select(0, places) for value in (hidden_TH, labels_T, kinds_T))
    kinds_T = kinds_T.long()
    if fused:
        assert isinstance(head, LinearHead)
        return _fused_losses(head, hidden_TH, labels_T, kinds_T, targets, chunk_tokens)
    taught = soft.rows(places) if soft is not None and places is not None else ()

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
    weight_T = targets.weights_K[kinds_T]
    objective = (loss_T * weight_T).sum()
    if soft is not None:
        objective = (1 - targets.soft_share) * objective + targets.soft_share * (soft_T * weight_T).sum()
    if targets.z_loss:
        objective = objective + targets.z_loss * (z_T * weight_T).sum()
    return TokenLosses(objective, *_by_kind(loss_T.detach(), torch.ones_like(loss_T), kinds_T, targets.weights_K))


def _labelled_rows(hidden_TH: Tensor, labels_T: Tensor, places_N: Tensor) -> Tensor:
    """Rows that have a label; the gradient is gathered too, since to add rows up in place has no order on a device."""
    if places_N.shape[0] == hidden_TH.shape[0]:
        return hidden_TH
    labelled_T = labels_T != IGNORED
    place_T = torch.where(labelled_T, labelled_T.cumsum(0) - 1, places_N.shape[0])
    return permute(hidden_TH, places_N, place_T)


def _fused_losses(
    head: LinearHead, hidden_TH: Tensor, labels_T: Tensor, kinds_T: Tensor, targets: Targets, chunk_tokens: int
) -> TokenLosses:
    labelled_T = labels_T != IGNORED
    kinds_T = torch.where(labelled_T, kinds_T, 0)
    weight_T = torch.where(labelled_T, targets.weights_K.index_select(0, kinds_T), 0.0)
    found = linear_cross_entropy(
        hidden_TH, head.weight_VH, labels_T, weight_T, targets.z_loss, chunk_tokens=chunk_tokens, fp8=head.fp8
    )
    by_kind = _by_kind(found.loss_T, labelled_T.float(), kinds_T, targets.weights_K)
    return TokenLosses(found.objective, *by_kind)


def _by_kind(loss_T: Tensor, count_T: Tensor, kinds_T: Tensor, weights_K: Tensor) -> tuple[Tensor, Tensor]:
    """(Σ loss, Σ count) by kind [K]; without atomics on a device."""
    if is_readable(loss_T):
        zeros_K = torch.zeros_like(weights_K)
        return zeros_K.index_add(0, kinds_T, loss_T), zeros_K.index_add(0, kinds_T, count_T)
    of_kind_KT = kinds_T == torch.arange(weights_K.shape[0], device=kinds_T.device).unsqueeze(1)
    return torch.where(of_kind_KT, loss_T, 0.0).sum(1), torch.where(of_kind_KT, count_T, 0.0).sum(1)


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
    counts = [counts_by_expert(topk_TK, real_T, experts).float() for topk_TK in topk_by_layer]
    return torch.stack(counts)


def balance_loss(probability_LE: Tensor, counts_LE: Tensor, global_tokens: Tensor) -> Tensor:
    """Share of the load-balance loss over the global batch, mean over layers: 1 when balanced.

    E · Σ_e f_e · p_e (Switch, arXiv:2101.03961, eq. 4) with f from `counts_LE`, summed over data ranks: the counts of the
    whole step, or those of its micro-batches up to this one (Qiu et al. 2025, arXiv:2501.11873, section 3: a buffer
    over accumulation steps), where early micro-batches see part of the batch. p_e is this share's Σ of router
    probabilities (`router_sums`) ÷ `global_tokens` (real positions of the global batch).
    """
    total = counts_LE.new_zeros(())
    for sum_E, counts_E in zip(probability_LE, counts_LE, strict=True):
        fraction_E = counts_E / counts_E.sum().clamp(min=1)
        total = total + counts_E.numel() * (fraction_E * (sum_E / global_tokens)).sum()
    return total / len(probability_LE)


def router_z_loss(squares_L: Tensor, global_tokens: Tensor) -> Tensor:
    """Share of the mean over tokens and layers of logsumexp(logits)² (ST-MoE, arXiv:2202.08906, eq. 5).

    `squares_L` is this share's sum of squares (`router_sums`).
    """
    return squares_L.mean() / global_tokens


def top_share(counts_LE: Tensor, share: float = 0.1) -> Tensor:
    """Share of assignments that go to the top tenth of experts (rounded up), by layer [L]."""
    top = -(-counts_LE.shape[1] * share // 1)
    busiest = counts_LE.topk(int(top), dim=1).values.sum(1)
    return busiest / counts_LE.sum(1).clamp(min=1)
