"""Tokens to experts on other ranks by DeepEP's kernels (github.com/deepseek-ai/DeepEP, `deep_ep.Buffer`): CUDA, bf16.

Shapes: T tokens of this rank, H hidden, E experts, K experts a token, N tokens received, R rows for the experts held
here, e experts held here.

A token goes once to each rank that holds any of its experts, where all-to-all sends a row for each choice; the sum over
a rank's experts is made before the way back. The kernels find the sizes themselves and tell the host.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from expedition.errors import MissingExtra, ProgrammeError
from expedition.kernels.routing import Routing, route
from expedition.kernels.sorted_rows import expert_rows, expert_weights, sum_rows
from expedition.model.dispatch import Dispatched
from expedition.parallel.placement import local

__all__ = ["DeepEPDispatcher"]


class DeepEPDispatcher:
    """`deep_ep.Buffer` as a dispatcher; one buffer for all layers, made at the first call (a collective).

    Raises MissingExtra where the package is not installed, ProgrammeError for tokens that are not bf16. `buffer`: one
    that exists, with its `dispatch`, `combine` and `get_dispatch_layout`.
    """

    def __init__(self, group: dist.ProcessGroup, experts: int, buffer: Any = None) -> None:
        self.group = group
        self.experts = experts
        self._buffer = buffer
        self._kind: Any = None if buffer is not None else _buffer_type()

    def held(self, stacked: Tensor) -> Tensor:
        return local(stacked)

    def dispatch(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Dispatched:
        buffer = self._buffer_for(x_TH)
        x_NH, weight_NK, ids_NK, counts, handle = _Dispatch.apply(x_TH, weight_TK, topk_TK, self.experts, buffer)  # type: ignore[no-untyped-call]
        routing = _local_routing(ids_NK, counts)

        def combine(out_RH: Tensor) -> Tensor:
            y_TH: Tensor = _Combine.apply(sum_rows(out_RH, routing), buffer, handle)  # type: ignore[no-untyped-call]
            return y_TH

        weight_R = expert_weights(weight_NK.to(x_TH.dtype), routing)
        return Dispatched(expert_rows(x_NH, routing), weight_R, routing.counts_E, combine)

    def _buffer_for(self, x_TH: Tensor) -> Any:
        if self._buffer is None:
            if x_TH.dtype != torch.bfloat16:
                raise ProgrammeError(
                    f"DeepEP sends bf16 and the tokens are {x_TH.dtype}",
                    where="parallel.dispatcher",
                    fix="set precision.compute: bf16, or parallel.dispatcher: all_to_all",
                )
            kind, ranks, hidden_bytes = self._kind, dist.get_world_size(self.group), 2 * x_TH.shape[1]
            configs = (kind.get_dispatch_config(ranks), kind.get_combine_config(ranks))
            near = max(config.get_nvl_buffer_size_hint(hidden_bytes, ranks) for config in configs)
            far = max(config.get_rdma_buffer_size_hint(hidden_bytes, ranks) for config in configs)
            self._buffer = kind(self.group, near, far)
        return self._buffer


def _buffer_type() -> Any:
    try:
        from deep_ep import Buffer  # type: ignore[import-not-found]
    except ImportError:
        raise MissingExtra(
            "parallel.dispatcher: deepep needs the package deep_ep, which is not installed",
            fix="build it for your CUDA from github.com/deepseek-ai/DeepEP, or set parallel.dispatcher: all_to_all",
        ) from None
    return Buffer


def _local_routing(ids_NK: Tensor, counts: list[int]) -> Routing:
    """Rows for the experts held here; a choice of an expert elsewhere (-1) has no row."""
    experts, rows = len(counts), sum(counts)
    everywhere = route(torch.where(ids_NK < 0, experts, ids_NK), experts + 1)
    place_NK = everywhere.place_TK.clamp(max=rows)
    return Routing(everywhere.order_R[:rows], place_NK, everywhere.counts_E[:experts])


class _Dispatch(torch.autograd.Function):
    """Tokens and their weights to the ranks of their experts; the gradient comes back by `combine`."""

    @staticmethod
    def forward(
        ctx: Any, x_TH: Tensor, weight_TK: Tensor, topk_TK: Tensor, experts: int, buffer: Any
    ) -> tuple[Tensor, Tensor, Tensor, list[int], Any]:
        per_rank, per_far_rank, per_expert, in_rank, _ = buffer.get_dispatch_layout(topk_TK, experts)
        x_NH, ids_NK, weight_NK, counts, handle, _ = buffer.dispatch(
            x_TH.contiguous(),
            topk_idx=topk_TK,
            topk_weights=weight_TK.float(),
            num_tokens_per_rank=per_rank,
            num_tokens_per_rdma_rank=per_far_rank,
            is_token_in_rank=in_rank,
            num_tokens_per_expert=per_expert,
        )
        ctx.buffer, ctx.handle, ctx.weight_dtype = buffer, handle, weight_TK.dtype
        ctx.mark_non_differentiable(ids_NK)
        return x_NH, weight_NK, ids_NK, counts, handle

    @staticmethod
    def backward(ctx: Any, grad_NH: Tensor, grad_NK: Tensor, *_: Any) -> tuple[Tensor, Tensor, None, None, None]:
        grad_TH, grad_TK, _ = ctx.buffer.combine(grad_NH.contiguous(), ctx.handle, topk_weights=grad_NK.float())
        return grad_TH, grad_TK.to(ctx.weight_dtype), None, None, None


class _Combine(torch.autograd.Function):
    """Each token's results summed over the ranks that it was sent to; the gradient goes by `dispatch`."""

    @staticmethod
    def forward(ctx: Any, x_NH: Tensor, buffer: Any, handle: Any) -> Tensor:
        ctx.buffer, ctx.handle = buffer, handle
        y_TH: Tensor = buffer.combine(x_NH.contiguous(), handle)[0]
        return y_TH

    @staticmethod
    def backward(ctx: Any, grad_TH: Tensor) -> tuple[Tensor, None, None]:
        return ctx.buffer.dispatch(grad_TH.contiguous(), handle=ctx.handle)[0], None, None
