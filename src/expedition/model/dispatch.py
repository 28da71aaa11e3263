"""How tokens get to the experts and back: the one thing that a MoE layer leaves open.

Shapes: T tokens, H hidden, K experts a token, R rows for the experts held here, e experts held here of E.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from expedition.kernels.routing import route
from expedition.kernels.sorted_rows import expert_rows, expert_weights, sum_rows

__all__ = ["Dispatched", "LocalDispatcher", "TokenDispatcher"]


@dataclass(frozen=True, slots=True)
class Dispatched:
    """Rows for the experts held here, and the way back. Holds all of one call's state, so a dispatcher has none."""

    rows_RH: Tensor
    """Sorted by expert."""
    weight_R: Tensor
    counts_e: Tensor
    """Rows of each expert held here, int64."""
    combine: Callable[[Tensor], Tensor]
    """Experts' outputs [R, H], already weighted → y_TH: for each token of this rank the sum of its K rows."""


class TokenDispatcher(Protocol):
    """Brings tokens to the ranks that hold their experts and the results back, with gradients.

    Where experts are spread, every call and its backward pass are collectives of the ranks that share them: each of
    these ranks makes the same calls, also one that has no token.
    """

    def held(self, stacked: Tensor) -> Tensor:
        """The experts held here [e, …] of a parameter that stacks all of them."""
        ...

    def dispatch(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Dispatched:
        """Tokens, chosen experts (int64 in 0..E-1, distinct for a token) and weights in x's dtype → rows."""
        ...


@dataclass(frozen=True, slots=True)
class LocalDispatcher:
    """All experts are here: sorting, and no communication."""

    experts: int

    def held(self, stacked: Tensor) -> Tensor:
        return stacked

    def dispatch(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Dispatched:
        routing = route(topk_TK, self.experts)
        rows_RH, weight_R = expert_rows(x_TH, routing), expert_weights(weight_TK, routing)
        return Dispatched(rows_RH, weight_R, routing.counts_E, lambda out_RH: sum_rows(out_RH, routing))
