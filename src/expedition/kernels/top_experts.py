"""The router's choice: softmax over the experts, the k largest, normalised; forward and backward.

Shapes: T tokens, E experts, K experts a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["top_experts", "top_experts_reference"]

_LARGEST = 1024
"""Experts that one program compares at once."""


def top_experts(logits_TE: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """→ weights [T, K] in the logits' dtype, summing to one, and the experts chosen, int64, heaviest first.

    Softmax and weights are float32 inside. CUDA with E ≤ 1024: a kernel each way, where of equal logits the lower expert
    comes first, and a token without a finite softmax gets k distinct experts with weights that are not a number.
    """
    if _launches(logits_TE):
        weight_TK, ids_TK = _TopExperts.apply(logits_TE, top_k)  # type: ignore[no-untyped-call]
        return weight_TK, ids_TK
    return top_experts_reference(logits_TE, top_k)


def top_experts_reference(logits_TE: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """`top_experts` in plain torch."""
    weight_TK, ids_TK = torch.topk(logits_TE.float().softmax(dim=-1), top_k, dim=-1)
    weight_TK = weight_TK / weight_TK.sum(dim=-1, keepdim=True)
    return weight_TK.to(logits_TE.dtype), ids_TK


def _launches(logits: Tensor) -> bool:
    able = logits.dtype in (torch.bfloat16, torch.float16, torch.float32) and 0 < logits.shape[-1] <= _LARGEST
    return able and launches(logits) and not is_fake(logits) and logits.numel() > 0


class _TopExperts(torch.autograd.Function):
    """Weights are the softmax over the chosen logits, so the gradient needs these alone."""

    @staticmethod
    def forward(ctx: Any, logits_TE: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        logits_TE = logits_TE.contiguous()
        tokens, experts = logits_TE.shape
        weight_TK = logits_TE.new_empty(tokens, top_k)
        ids_TK = torch.empty(tokens, top_k, dtype=torch.int64, device=logits_TE.device)
        padded = next_power_of_2(experts)
        lines = max(1, 2048 // padded)
        _choose_kernel[(-(-tokens // lines),)](
            logits_TE, weight_TK, ids_TK, tokens, experts, top_k, next_power_of_2(top_k), padded, lines, num_warps=4
        )
        ctx.save_for_backward(logits_TE, ids_TK)
        ctx.mark_non_differentiable(ids_TK)
        return weight_TK, ids_TK

    @staticmethod
    def backward(ctx: Any, grad_TK: Tensor, _: Any) -> tuple[Tensor, None]:
        logits_TE, ids_TK = ctx.saved_tensors
        tokens, experts = logits_TE.shape
        grad_TE = torch.empty_like(logits_TE)
        padded = next_power_of_2(experts)
        lines = max(1, 2048 // padded)
        _gradient_kernel[(-(-tokens // lines),)](
            logits_TE,
            ids_TK,
            grad_TK.contiguous(),
            grad_TE,
            tokens,
            experts,
            ids_TK.shape[1],
            padded,
            lines,
            num_warps=4,
        )
        return grad_TE, None


@jit
def _choose_kernel(  # type: ignore[no-untyped-def]
    logits_TE,
    weight_TK,
    ids_TK,
    tokens,
    experts,
    K: tl.constexpr,
    SLOTS: tl.constexpr,
    E: tl.constexpr,
    LINES: tl.constexpr,
):
    token = tl.program_id(0) * LINES + tl.arange(0, LINES)
    exists = token < tokens
    expert = tl.arange(0, E)
    slot = tl.arange(0, SLOTS)
    inside = exists[:, None] & (expert < experts)[None, :]
    at = token[:, None] * experts + expert[None, :]
    logit = tl.load(logits_TE + at, mask=inside, other=0.0).to(tl.float32)
    broken = tl.max((((logit != logit) | (logit == float("inf"))) & inside).to(tl.int32), axis=1) > 0
    # Finite keys below every logit for what is no number, so that k distinct experts are chosen whatever comes.
    key = tl.where(logit == logit, tl.maximum(logit, -3.0e38), -3.0e38)
    key = tl.where((expert < experts)[None, :], key, float("-inf"))
    largest = tl.max(key, axis=1)
    broken = broken | (largest <= -3.0e38)
    weight = tl.zeros((LINES, SLOTS), tl.float32)
    for k in tl.static_range(K):
        value, chosen = tl.max(key, axis=1, return_indices=True)
        tl.store(ids_TK + token * K + k, chosen.to(tl.int64), mask=exists)
        weight = tl.where((slot == k)[None, :], tl.exp(value - largest)[:, None], weight)
        key = tl.where(expert[None, :] == chosen[:, None], float("-inf"), key)
    weight = weight / tl.sum(weight, axis=1)[:, None]
    weight = tl.where(broken[:, None], float("nan"), weight)
    out = token[:, None] * K + slot[None, :]
    tl.store(weight_TK + out, weight.to(weight_TK.dtype.element_ty), mask=exists[:, None] & (slot < K)[None, :])


@jit
def _gradient_kernel(  # type: ignore[no-untyped-def]
    logits_TE, ids_TK, grad_TK, grad_TE, tokens, experts, K: tl.constexpr, E: tl.constexpr, LINES: tl.constexpr
):
    """`w_k (g_k − Σ_j g_j w_j)` at the chosen experts, 0 elsewhere."""
    token = tl.program_id(0) * LINES + tl.arange(0, LINES)
    exists = token < tokens
    expert = tl.arange(0, E)
    largest = tl.full((LINES,), float("-inf"), tl.float32)
    for k in tl.static_range(K):
        chosen = tl.load(ids_TK + token * K + k, mask=exists, other=0)
        logit = tl.load(logits_TE + token * experts + chosen, mask=exists, other=0.0).to(tl.float32)
        largest = tl.maximum(largest, logit)
    total = tl.zeros((LINES,), tl.float32)
    product = tl.zeros((LINES,), tl.float32)
    for k in tl.static_range(K):
        chosen = tl.load(ids_TK + token * K + k, mask=exists, other=0)
        logit = tl.load(logits_TE + token * experts + chosen, mask=exists, other=0.0).to(tl.float32)
        grad = tl.load(grad_TK + token * K + k, mask=exists, other=0.0).to(tl.float32)
        weight = tl.exp(logit - largest)
        total += weight
        product += weight * grad
    result = tl.zeros((LINES, E), tl.float32)
    for k in tl.static_range(K):
        chosen = tl.load(ids_TK + token * K + k, mask=exists, other=0)
        logit = tl.load(logits_TE + token * experts + chosen, mask=exists, other=0.0).to(tl.float32)
        grad = tl.load(grad_TK + token * K + k, mask=exists, other=0.0).to(tl.float32)
        value = tl.exp(logit - largest) / total * (grad - product / total)
        result = tl.where(expert[None, :] == chosen[:, None], value[:, None], result)
    at = token[:, None] * experts + expert[None, :]
    tl.store(grad_TE + at, result.to(grad_TE.dtype.element_ty), mask=exists[:, None] & (expert < experts)[None, :])
