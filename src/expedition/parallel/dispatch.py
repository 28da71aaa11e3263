"""Tokens to experts on other ranks and back: each token's row is sent to the rank that holds the expert it chose.

Shapes: T tokens of this rank, H hidden, E experts, K experts a token, S = T·K rows sent, R rows received, P ranks that
share the experts, e = E / P experts of each rank: rank p holds experts p·e … (p + 1)·e - 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_to_all_single_autograd

from expedition.kernels.routing import Routing, route
from expedition.kernels.sorted_rows import expert_rows, expert_weights, permute, sum_rows
from expedition.model.dispatch import Dispatched, TokenDispatcher
from expedition.parallel.placement import local

__all__ = ["AllToAllDispatcher", "Splits", "make_dispatcher"]


class Splits(NamedTuple):
    """How many rows go where; both lists are on the host, where all-to-all needs them."""

    sent_P: list[int]
    """Rows for each rank."""
    received_P: list[int]
    """Rows from each rank."""
    received_Pe: Tensor
    """Rows from each rank for each expert held here, int64 on the device."""


class AllToAllDispatcher:
    """torch.distributed's all-to-all: three a layer forward (counts, rows and weights, results), two backward.

    Split sizes are read on the host: on a device one synchronisation a layer and pass. Nothing is dropped or padded, so
    a rank's memory follows the tokens that choose its experts: at most P · T · K rows.
    """

    def __init__(self, group: dist.ProcessGroup, experts: int) -> None:
        self.group = group
        self.experts = experts
        self.ranks = dist.get_world_size(group)

    def held(self, stacked: Tensor) -> Tensor:
        return local(stacked)

    def dispatch(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Dispatched:
        routing = route(topk_TK, self.experts)
        splits = self.splits(routing)
        there = (splits.received_P, splits.sent_P)
        # Sorted by expert is sorted by rank too. Rows arrive by (rank, expert) and are wanted by expert.
        rows_RH = self._exchange(expert_rows(x_TH, routing), *there)
        weight_R = self._exchange(expert_weights(weight_TK, routing), *there)
        order_R, place_R = _by_expert(splits)

        def combine(out_RH: Tensor) -> Tensor:
            back_SH = self._exchange(permute(out_RH, place_R, order_R), *reversed(there))
            return sum_rows(back_SH, routing)

        rows_RH, weight_R = permute(rows_RH, order_R, place_R), permute(weight_R, order_R, place_R)
        return Dispatched(rows_RH, weight_R, splits.received_Pe.sum(0), combine)

    def splits(self, routing: Routing) -> Splits:
        """Tell each rank how many rows its experts get from here. A collective."""
        sent_Pe = routing.counts_E.view(self.ranks, -1)
        received_Pe = torch.empty_like(sent_Pe)
        dist.all_to_all_single(received_Pe, sent_Pe, group=self.group)
        sent_P, received_P = torch.stack((sent_Pe, received_Pe)).sum(-1).tolist()
        return Splits(sent_P, received_P, received_Pe)

    def _exchange(self, rows: Tensor, output_splits: list[int], input_splits: list[int]) -> Tensor:
        arrived: Tensor = all_to_all_single_autograd(rows, output_splits, input_splits, self.group)
        return arrived


def make_dispatcher(kind: str, group: dist.ProcessGroup, experts: int) -> TokenDispatcher:
    """The plan's `dispatcher` over the ranks of `group`, for all layers. Raises MissingExtra without its package."""
    if kind == "deepep":
        from expedition.parallel.deepep import DeepEPDispatcher

        return DeepEPDispatcher(group, experts)
    return AllToAllDispatcher(group, experts)


def _by_expert(splits: Splits) -> tuple[Tensor, Tensor]:
    """Stable order of the received rows by expert, and its inverse."""
    ranks, experts = splits.received_Pe.shape
    device = splits.received_Pe.device
    expert_Pe = torch.arange(experts, device=device).repeat(ranks)
    rows = sum(splits.received_P)
    expert_R = torch.repeat_interleave(expert_Pe, splits.received_Pe.flatten(), output_size=rows)
    order_R = torch.argsort(expert_R, stable=True)
    place_R = torch.empty_like(order_R)
    place_R[order_R] = torch.arange(rows, device=device)
    return order_R, place_R
