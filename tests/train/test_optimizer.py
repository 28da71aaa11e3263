"""AdamW against torch's own."""

from __future__ import annotations

import torch

from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.plan.runs import OptimizerPlan
from expedition.train.optimizer import AdamW, clip_scale


def test_equals_torch_adamw_with_decay_on_matrices_only() -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = {"weight": (5, 7), "stack": (2, 3, 4), "norm": (6,)}
    ours = {name: torch.nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    theirs = {name: torch.nn.Parameter(value.detach().clone()) for name, value in ours.items()}
    plan = OptimizerPlan(weight_decay=0.2)
    optimizer = AdamW(ours, plan)
    groups = [
        {"params": [theirs["weight"], theirs["stack"]], "weight_decay": plan.weight_decay},
        {"params": [theirs["norm"]], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, betas=(plan.beta1, plan.beta2), eps=plan.eps)
    for number in range(10):
        rate = 0.01 * (number + 1)
        for group in reference.param_groups:
            group["lr"] = rate
        for name, parameter in ours.items():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            theirs[name].grad = parameter.grad.clone()
        optimizer.step(rate, torch.tensor(1.0), torch.tensor(True))
        reference.step()
    for name, parameter in ours.items():
        # Ten updates of size about the learning rate (≤ 0.1), each rounded to fp32: 10 · 0.1 · 2⁻²³ is 1e-7; ten
        # times that.
        torch.testing.assert_close(parameter, theirs[name], atol=1e-6, rtol=1e-6)


def test_a_large_gradient_is_scaled_to_the_clip_norm_and_a_small_one_is_left() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([3.0, 4.0, 0.0])
    norm = squared_norm([parameter.grad], Ranks(0, 1)).sqrt()
    assert float(norm) == 5.0
    assert float(clip_scale(norm, 1.0) * norm) <= 1.0
    assert float(clip_scale(norm, 10.0)) == 1.0
    assert float(clip_scale(norm, None)) == 1.0
