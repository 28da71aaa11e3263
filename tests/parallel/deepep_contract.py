"""What `deep_ep.Buffer` documents of dispatch and combine, by gathering everything over gloo: for its caller's test.

Not DeepEP: it shows that the indices, sums and gradients around the kernels are right, and nothing of the kernels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class GlooBuffer:
    def __init__(self, experts: int) -> None:
        self.rank, self.ranks, self.experts = dist.get_rank(), dist.get_world_size(), experts

    def get_dispatch_layout(self, topk_TK: Tensor, experts: int) -> tuple[Any, ...]:
        held = experts // self.ranks
        in_rank = torch.stack([(topk_TK // held == rank).any(1) for rank in range(self.ranks)], dim=1)
        per_expert = torch.stack([(topk_TK == expert).sum() for expert in range(experts)])
        return in_rank.sum(0), None, per_expert, in_rank, None

    def dispatch(
        self,
        x_TH: Tensor,
        handle: tuple[Any, ...] | None = None,
        topk_idx: Tensor | None = None,
        topk_weights: Tensor | None = None,
        is_token_in_rank: Tensor | None = None,
        **_: Any,
    ) -> tuple[Any, ...]:
        if handle is not None:
            return self._send(x_TH, handle[0]), None, None, None, None, None
        assert topk_idx is not None and topk_weights is not None and is_token_in_rank is not None
        held = self.experts // self.ranks
        sent = [is_token_in_rank[:, rank] for rank in range(self.ranks)]
        ids_NK = self._send(topk_idx, sent) - self.rank * held
        mine = (ids_NK >= 0) & (ids_NK < held)
        ids_NK = torch.where(mine, ids_NK, -1)
        weight_NK = torch.where(mine, self._send(topk_weights, sent), 0.0)
        counts = [int((ids_NK == expert).sum()) for expert in range(held)]
        return self._send(x_TH, sent), ids_NK, weight_NK, counts, (sent, x_TH.shape[0]), None

    def combine(self, x_NH: Tensor, handle: tuple[Any, ...], topk_weights: Tensor | None = None) -> tuple[Any, ...]:
        total = self._sum_back(x_NH, handle)
        return total, None if topk_weights is None else self._sum_back(topk_weights, handle), None

    def _send(self, values: Tensor, sent: list[Tensor]) -> Tensor:
        boxes: list[Any] = [None] * self.ranks
        dist.all_gather_object(boxes, [values[mask] for mask in sent])
        return torch.cat([box[self.rank] for box in boxes])

    def _sum_back(self, values: Tensor, handle: tuple[Any, ...]) -> Tensor:
        sent, tokens = handle
        boxes: list[Any] = [None] * self.ranks
        sizes: list[Any] = [None] * self.ranks
        dist.all_gather_object(sizes, [int(mask.sum()) for mask in sent])
        dist.all_gather_object(boxes, list(values.split([size[self.rank] for size in sizes])))
        total = values.new_zeros(tokens, *values.shape[1:])
        for rank, mask in enumerate(sent):
            total[mask] += boxes[rank][self.rank]
        return total
