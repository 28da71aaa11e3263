"""Cross entropy over a large vocabulary, with one buffer of logits' size in the backward pass.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["cross_entropy", "cross_entropy_reference"]


def cross_entropy_reference(logits_TV: Tensor, labels_T: Tensor) -> Tensor:
    """The definition: `logsumexp(logits_t) - logits_t[label_t]`, float32 [T]."""
    logits = logits_TV.float()
    return logits.logsumexp(-1) - logits.gather(-1, labels_T.unsqueeze(-1)).squeeze(-1)


def cross_entropy(logits_TV: Tensor, labels_T: Tensor) -> Tensor:
    """Same value as the reference, in nats, float32 [T]; every label lies in 0..V-1 (leave ignored rows out before).

    Keeps the logits and one number a row; the gradient `(softmax - one_hot) · g` is made in one new buffer.
    """
    loss_T: Tensor = _CrossEntropy.apply(logits_TV, labels_T)  # type: ignore[no-untyped-call]
    return loss_T


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_TV: Tensor, labels_T: Tensor) -> Tensor:
        top_T1 = logits_TV.amax(-1, keepdim=True).float()
        norm_T1 = (logits_TV.float() - top_T1).exp_().sum(-1, keepdim=True).log_().add_(top_T1)
        ctx.save_for_backward(logits_TV, norm_T1, labels_T)
        label_T1 = logits_TV.gather(-1, labels_T.unsqueeze(-1)).float()
        return (norm_T1 - label_T1).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor, None]:
        logits_TV, norm_T1, labels_T = ctx.saved_tensors
        grad_T1 = grad_T.unsqueeze(-1)
        grad_TV = (logits_TV.float() - norm_T1).exp_().mul_(grad_T1)
        grad_TV.scatter_add_(-1, labels_T.unsqueeze(-1), -grad_T1)
        return grad_TV.to(logits_TV.dtype), None
