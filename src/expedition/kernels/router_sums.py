"""Sums over tokens that the router's losses are made of: of probabilities by expert, and of squared log-normalisers.

Shapes: L expert layers, T tokens, E experts, B blocks of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.host import is_readable
from expedition.kernels.triton_jit import jit, launches, next_power_of_2, tl

__all__ = ["router_sums", "router_sums_reference"]

_BLOCK_ELEMENTS = 4096
_WARPS = 4


def router_sums_reference(logits_by_layer: Sequence[Tensor], real_T: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: over real tokens Σ softmax(logits) [L, E] and Σ logsumexp(logits)² [L], float32."""
    # Each sum casts for itself: gradients of bf16 logits are rounded before they are added, in this order.
    probability_LE = torch.stack([logits_TE.float()[real_T].softmax(-1).sum(0) for logits_TE in logits_by_layer])
    return probability_LE, torch.stack(
        [logits_TE.float()[real_T].logsumexp(-1).square().sum() for logits_TE in logits_by_layer]
    )


def router_sums(logits_by_layer: Sequence[Tensor], real_T: Tensor) -> tuple[Tensor, Tensor]:
    """Same as the reference; logits of all layers alike in shape, `real_T` bool.

    CUDA: one kernel for all layers each way, sums by block of tokens and then over blocks, nothing waits for the device.
    What the logits of tokens that are not real hold leaves no trace.
    """
    if launches(real_T) and not is_fake(real_T):
        sums: tuple[Tensor, Tensor] = _RouterSums.apply(torch.stack(tuple(logits_by_layer)), real_T)  # type: ignore[no-untyped-call]
        return sums
    if is_readable(real_T):
        return router_sums_reference(logits_by_layer, real_T)
    logits_LTE, real_T1 = torch.stack(tuple(logits_by_layer)).float(), real_T.unsqueeze(-1)
    probability_LE = torch.where(real_T1, logits_LTE.softmax(-1), 0.0).sum(1)
    return probability_LE, torch.where(real_T, logits_LTE.logsumexp(-1).square(), 0.0).sum(1)


class _RouterSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_LTE: Tensor, real_T: Tensor) -> tuple[Tensor, Tensor]:
        layers, tokens, experts = logits_LTE.shape
        padded = next_power_of_2(experts)
        lines = max(1, _BLOCK_ELEMENTS // padded)
        blocks = -(-tokens // lines)
        probability_LBE = torch.empty(layers, blocks, experts, dtype=torch.float32, device=logits_LTE.device)
        squares_LB = torch.empty(layers, blocks, dtype=torch.float32, device=logits_LTE.device)
        if tokens:
            _sums_kernel[(blocks, layers)](
                logits_LTE, real_T, probability_LBE, squares_LB, tokens, experts, padded, lines, num_warps=_WARPS
            )
        ctx.save_for_backward(logits_LTE, real_T)
        return probability_LBE.sum(1), squares_LB.sum(1)

    @staticmethod
    def backward(ctx: Any, grad_LE: Tensor, grad_L: Tensor) -> tuple[Tensor, None]:
        logits_LTE, real_T = ctx.saved_tensors
        layers, tokens, experts = logits_LTE.shape
        padded = next_power_of_2(experts)
        lines = max(1, _BLOCK_ELEMENTS // padded)
        grad_LTE = torch.empty_like(logits_LTE)
        if tokens:
            _gradient_kernel[(-(-tokens // lines), layers)](
                logits_LTE,
                real_T,
                grad_LE.contiguous(),
                grad_L.contiguous(),
                grad_LTE,
                tokens,
                experts,
                padded,
                lines,
                num_warps=_WARPS,
            )
        return grad_LTE, None


@jit
def _sums_kernel(logits, real, probabilities, squares, tokens, experts, E: tl.constexpr, LINES: tl.constexpr):  # type: ignore[no-untyped-def]
    block, layer, blocks = tl.program_id(0), tl.program_id(1), tl.num_programs(0)
    expert = tl.arange(0, E)
    is_real, inside, at = _places(real, block, layer, expert, tokens, experts, LINES)
    logit = tl.load(logits + at, mask=inside, other=-float("inf")).to(tl.float32)
    logit = tl.where(is_real[:, None], logit, tl.where((expert < experts)[None, :], 0.0, -float("inf")))
    top = tl.max(logit, 1)
    power = tl.exp(logit - top[:, None])
    total = tl.sum(power, 1)
    norm = top + tl.log(total)
    probability = tl.where(is_real[:, None], power / total[:, None], 0.0)
    row = layer * blocks + block
    tl.store(probabilities + row * experts + expert, tl.sum(probability, 0), mask=expert < experts)
    tl.store(squares + row, tl.sum(tl.where(is_real, norm * norm, 0.0), 0))


@jit
def _gradient_kernel(  # type: ignore[no-untyped-def]
    logits, real, grad_probability, grad_square, grad, tokens, experts, E: tl.constexpr, LINES: tl.constexpr
):
    """`p_e (g_e − Σ_f g_f p_f) + 2 norm g p_e` at real tokens, 0 elsewhere."""
    block, layer = tl.program_id(0), tl.program_id(1)
    expert = tl.arange(0, E)
    is_real, inside, at = _places(real, block, layer, expert, tokens, experts, LINES)
    logit = tl.load(logits + at, mask=inside, other=-float("inf")).to(tl.float32)
    logit = tl.where(is_real[:, None], logit, tl.where((expert < experts)[None, :], 0.0, -float("inf")))
    top = tl.max(logit, 1)
    power = tl.exp(logit - top[:, None])
    total = tl.sum(power, 1)
    probability = power / total[:, None]
    norm = top + tl.log(total)
    by_probability = tl.load(grad_probability + layer * experts + expert, mask=expert < experts, other=0.0)[None, :]
    mean = tl.sum(probability * by_probability, 1)
    by_norm = 2.0 * norm * tl.load(grad_square + layer)
    value = probability * (by_probability - mean[:, None] + by_norm[:, None])
    value = tl.where(is_real[:, None], value, 0.0)
    tl.store(grad + at, value.to(grad.dtype.element_ty), mask=inside)


@jit
def _places(real, block, layer, expert, tokens, experts, LINES: tl.constexpr):  # type: ignore[no-untyped-def]
    """(token is real, place is inside, its offset) of a block's tokens and all experts of one layer."""
    token = block * LINES + tl.arange(0, LINES)
    exists = token < tokens
    is_real = (tl.load(real + token, mask=exists, other=0) != 0) & exists
    row = layer.to(tl.int64) * tokens + token
    return is_real, exists[:, None] & (expert < experts)[None, :], row[:, None] * experts + expert[None, :]
