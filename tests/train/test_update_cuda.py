"""Losses and updates on a CUDA device: no wait for it, and the values of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from expedition.kernels.router_sums import router_sums
from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.plan.runs import BadStepPlan, OptimizerPlan
from expedition.train.bad_step import SpikeWindow, judge, remember
from expedition.train.losses import LinearHead, Targets, balance_loss, expert_counts, router_z_loss, token_losses
from expedition.train.optimizer import Optimizer, clip_scale

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PLANS = [
    OptimizerPlan(),
    OptimizerPlan(moments="bf16"),
    OptimizerPlan(weights="bf16_stochastic", moments="bf16"),
    OptimizerPlan(kind="muon", moments="bf16", muon={"compute": "fp32"}),
]


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def losses(device: torch.device, known: bool) -> Callable[[], tuple[Tensor, ...]]:
    """Hidden states, head and router of a batch → gradients and figures."""
    g = torch.Generator().manual_seed(4)
    hidden = torch.randn(2, 9, 16, generator=g).to(device).requires_grad_()
    weight = torch.randn(131, 16, generator=g).to(device).requires_grad_()
    labels = torch.randint(0, 131, (2, 9), generator=g)
    labels[0, :3] = labels[1, 4:] = -100
    kind = torch.randint(0, 3, (2, 9), generator=g).masked_fill(labels == -100, -1)
    logits = [torch.randn(18, 8, generator=g).to(device).requires_grad_() for _ in range(2)]
    topk = [layer.topk(2).indices for layer in logits]
    real, total = torch.rand(18, generator=g).to(device) < 0.8, torch.tensor(15.0, device=device)
    places = (labels.flatten() != -100).nonzero().squeeze(1).to(device) if known else None
    weights_K = torch.tensor([1.0, 0.5, 2.0], device=device)
    targets = Targets(labels.to(device), kind.to(device), weights_K, 0.1, places_N=places)

    def run() -> tuple[Tensor, ...]:
        for value in (hidden, weight, *logits):
            value.grad = None
        found = token_losses(LinearHead(weight), hidden, targets, 4)
        counts = expert_counts(topk, real, 8)
        probability, squares = router_sums(logits, real)
        balance = balance_loss(probability, counts, total)
        (found.objective / 7 + balance + router_z_loss(squares, total)).backward()
        grads = [value.grad for value in (hidden, weight, *logits)]
        return (found.objective, found.sum_K, found.count_K, counts, balance, *grads)

    return run


@pytest.mark.parametrize("known", [True, False])
def test_losses_never_wait_and_equal_the_cpu(known: bool) -> None:
    run = losses(torch.device("cuda"), known)
    run()
    with no_waiting():
        found = run()
    for got, wanted in zip(found, losses(torch.device("cpu"), known)(), strict=True):
        # float32 with products in full float32 on both.
        torch.testing.assert_close(got.cpu(), wanted, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.kind} {plan.weights} {plan.moments}")
def test_updates_never_wait_and_equal_the_cpu(plan: OptimizerPlan) -> None:
    sides = [state(plan, device) for device in (torch.device("cpu"), torch.device("cuda"))]
    for number in range(4):
        for parameters, optimizer in sides:
            g = torch.Generator().manual_seed(number)
            for value in parameters.values():
                value.grad = torch.randn(value.shape, generator=g).to(value)
            if parameters["w"].is_cuda and number:
                with no_waiting():
                    step(parameters, optimizer, number)
            else:
                step(parameters, optimizer, number)
    for name, value in sides[0][0].items():
        got, wanted = sides[1][0][name].detach().cpu().float(), value.detach().float()
        relative = 2e-5 if plan.weights == "fp32" else 2**-7
        torch.testing.assert_close(got, wanted, atol=2e-5, rtol=relative, msg=name)


def state(plan: OptimizerPlan, device: torch.device) -> tuple[dict[str, Tensor], Optimizer]:
    g = torch.Generator().manual_seed(9)
    dtype = torch.float32 if plan.weights == "fp32" else torch.bfloat16
    shapes = {"w": (24, 40), "a.experts.down_proj": (3, 8, 5), "n": (40,)}
    values = {
        name: torch.nn.Parameter(torch.randn(shape, generator=g).to(device, dtype)) for name, shape in shapes.items()
    }
    return values, Optimizer(values, plan, seed=5)


def step(parameters: dict[str, Tensor], optimizer: Optimizer, number: int) -> None:
    """Update 2 has a gradient that is not finite and is dropped."""
    if number == 2:
        for value in parameters.values():
            assert value.grad is not None
            value.grad.mul_(float("nan"))
    norm = squared_norm([value.grad for value in parameters.values() if value.grad is not None], Ranks(0, 1)).sqrt()
    plan = BadStepPlan()
    window = SpikeWindow(torch.zeros(plan.window_steps, 2, device=norm.device), norm.long() * 0)
    verdict = judge(norm, norm, window, plan)
    remember(window, norm, norm, verdict.keep)
    optimizer.step(1e-2, clip_scale(norm, 1.0), verdict.keep)
