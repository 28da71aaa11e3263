"""One rank of the dispatcher's test: python -m tests.parallel.dispatch_rank CASES.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from expedition.kernels.grouped_experts import expert_products, grouped_experts_reference
from expedition.model.dispatch import TokenDispatcher
from expedition.parallel.deepep import DeepEPDispatcher
from expedition.parallel.dispatch import AllToAllDispatcher
from tests.parallel.deepep_contract import GlooBuffer

HIDDEN, INNER = 16, 8


def tokens_of(case: dict[str, Any], rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, chosen experts and weights of a rank."""
    g = torch.Generator().manual_seed(1000 * case["seed"] + rank)
    tokens, experts, top_k = case["tokens"][rank], case["experts"], case["top_k"]
    ids = torch.stack([torch.randperm(experts, generator=g) for _ in range(tokens + 1)])[:tokens]
    if case["only"] is not None:  # the chosen come first: everybody's first choices
        first = torch.tensor(case["only"])
        ids = torch.stack(
            [torch.cat((first, row[~torch.isin(row, first)])) for row in [*ids, ids.new_tensor(range(experts))]]
        )[:tokens]
    x = torch.randn(tokens, HIDDEN, generator=g).requires_grad_()
    return x, ids[:, :top_k], torch.rand(tokens, top_k, generator=g).requires_grad_()


def weights_of(case: dict[str, Any]) -> list[Tensor]:
    g = torch.Generator().manual_seed(case["seed"])
    sizes = ((case["experts"], 2 * INNER, HIDDEN), (case["experts"], HIDDEN, INNER))
    return [torch.randn(*size, generator=g) for size in sizes]


def differentiate(y: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    probe = torch.cos(torch.arange(y.numel())).view_as(y)
    return list(torch.autograd.grad((y * probe).sum(), inputs))


def dispatched(dispatcher: TokenDispatcher, x: Tensor, ids: Tensor, weight: Tensor, stacks: list[Tensor]) -> Tensor:
    sent = dispatcher.dispatch(x, ids, weight)
    return sent.combine(expert_products(sent.rows_RH, sent.weight_R, sent.counts_e, *stacks))


def check(case: dict[str, Any], rank: int, world: int) -> None:
    x, ids, weight = tokens_of(case, rank)
    whole = [stack.requires_grad_() for stack in weights_of(case)]
    y = grouped_experts_reference(x, ids, weight, *whole)
    expected = [y, *differentiate(y, [x, weight, *whole])]
    for gradient in expected[3:]:
        dist.all_reduce(gradient)
    expected[3:] = [gradient.chunk(world)[rank] for gradient in expected[3:]]

    assert dist.group.WORLD is not None
    dispatchers: list[TokenDispatcher] = [
        AllToAllDispatcher(dist.group.WORLD, case["experts"]),
        DeepEPDispatcher(dist.group.WORLD, case["experts"], GlooBuffer(case["experts"])),
    ]
    for dispatcher in dispatchers:
        mine = [stack.detach().chunk(world)[rank].clone().requires_grad_() for stack in whole]
        y = dispatched(dispatcher, x, ids, weight, mine)
        found = [y, *differentiate(y, [x, weight, *mine])]
        for name, got, want in zip(("y", "x", "weight", "gate_up", "down"), found, expected, strict=True):
            place = (type(dispatcher).__name__, case, name)
            assert got.shape == want.shape, place
            # fp32 sums in another order. A row that went to another expert, or came back to another token, is off by
            # more than 0.1.
            worst = float((got - want).abs().max()) if got.numel() else 0.0
            assert worst <= 1e-5 * max(10.0, float(want.abs().max()) if want.numel() else 0.0), (*place, worst)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    for case in json.loads(Path(sys.argv[1]).read_text()):
        check(case, rank, world)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
