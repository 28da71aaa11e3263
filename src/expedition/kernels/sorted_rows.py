"""Tokens to rows in expert order and back, with gradients that are gathers too.

Shapes: T tokens, H hidden, K experts a token, R rows in expert order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from expedition.kernels.gather_rows import gather_rows
from expedition.kernels.routing import Routing
from expedition.kernels.sum_rows import gather_sum, with_nothing

__all__ = ["expert_rows", "expert_weights", "permute", "sum_rows"]


def expert_rows(x_TH: Tensor, routing: Routing) -> Tensor:
    """Tokens as rows in expert order [R, H]; the gradient gathers each token's K rows and sums them."""
    rows_RH: Tensor = _Rows.apply(x_TH, routing.order_R, routing.place_TK)  # type: ignore[no-untyped-call]
    return rows_RH


def expert_weights(weight_TK: Tensor, routing: Routing) -> Tensor:
    """Weights in expert order [R]."""
    return permute(weight_TK.flatten(), routing.order_R, routing.place_TK.flatten())


def permute(rows: Tensor, order_R: Tensor, place_R: Tensor) -> Tensor:
    """`rows[order_R]` of an order and its inverse (place R: in no row); the gradient is a gather too."""
    permuted: Tensor = _Permute.apply(rows, order_R, place_R)  # type: ignore[no-untyped-call]
    return permuted


def sum_rows(out_RH: Tensor, routing: Routing) -> Tensor:
    """Each token's K rows summed [T, H]; the gradient is rows in expert order."""
    y_TH: Tensor = _Sum.apply(out_RH, routing.order_R, routing.place_TK)  # type: ignore[no-untyped-call]
    return y_TH


class _Rows(torch.autograd.Function):
    """Rows in expert order; the gradient gathers each token's K rows and sums them."""

    @staticmethod
    def forward(ctx: Any, x_TH: Tensor, order_R: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(place_TK)
        return gather_rows(x_TH, order_R, place_TK)

    @staticmethod
    def backward(ctx: Any, grad_RH: Tensor) -> tuple[Tensor, None, None]:
        (place_TK,) = ctx.saved_tensors
        return gather_sum(grad_RH, place_TK), None, None


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, order_R: Tensor, place_R: Tensor) -> Tensor:
        ctx.save_for_backward(place_R)
        return rows.index_select(0, order_R)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (place_R,) = ctx.saved_tensors
        return with_nothing(grad, place_R).index_select(0, place_R), None, None


class _Sum(torch.autograd.Function):
    """Each token's K rows gathered and summed; the gradient is rows in expert order."""

    @staticmethod
    def forward(ctx: Any, out_RH: Tensor, order_R: Tensor, place_TK: Tensor) -> Tensor:
        ctx.save_for_backward(order_R, place_TK)
        return gather_sum(out_RH, place_TK)

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor, None, None]:
        order_R, place_TK = ctx.saved_tensors
        return gather_rows(grad_TH, order_R, place_TK), None, None
