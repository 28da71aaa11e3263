"""Does the router learn: which experts get a gradient, and is the router's gradient the slope of the loss?

Shapes: E experts, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from expedition.model.config import OmniConfig
from expedition.model.moe import MoE
from expedition.parallel.mesh import Ranks
from expedition.plan.precision import PrecisionPlan
from expedition.plan.runs import RunPlan
from expedition.train.batches import to_tensors
from expedition.train.objective import forward_backward
from expedition.train.setup import build

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch

STEP = 3e-3
"""Length of the step along the gradient, relative to the router's norm."""
BOUND = 0.02
"""Largest relative error. Measured: the curvature's share falls with the square of the step and is below 0.1 % here,
fp32 rounding of the loss is below 0.5 %. A gradient that misses a factor or a path is wrong by tens of per cent."""


def check_router(config: OmniConfig, run: RunPlan, batches: Sequence[Batch]) -> dict[str, Any]:
    """experts, experts_with_gradient (fewest over layers), finite_difference_error (largest over layers), bound.

    Initial weights, fp32, cross entropy alone: the balance loss would give every router a gradient. An expert counts
    if one of the batches gives it a gradient: a small batch may route no token to it. The slope is the first batch's.
    """
    plain = run.model_copy(
        update={"precision": PrecisionPlan(), "loss": run.loss.model_copy(update={"balance": 0.0, "z_loss": 0.0})}
    )
    device = torch.device("cpu")
    built = build(config, plain, Ranks(0, 1), device)
    tensors = [to_tensors(batch, device, torch.float32) for batch in batches]

    def loss(number: int = 0) -> float:
        built.state.optimizer.zero_grad()
        return float(forward_backward(built.parts, [tensors[number]]).loss)

    choice = HeldChoice()
    with choice:
        loss()
    layers = [module for module in built.model.modules() if isinstance(module, MoE)]
    learning = [_with_gradient(layer) for layer in layers]
    gradients = [layer.gate.weight.grad.clone() for layer in layers if layer.gate.weight.grad is not None]

    def held_loss() -> float:
        with choice.again():
            return loss()

    errors = [
        _slope_error(layer.gate.weight, gradient, held_loss) for layer, gradient in zip(layers, gradients, strict=True)
    ]
    for number in range(1, len(tensors)):
        loss(number)
        learning = [seen_E | _with_gradient(layer) for seen_E, layer in zip(learning, layers, strict=True)]
    return {
        "experts": config.shape.experts,
        "experts_with_gradient": min(int(seen_E.sum()) for seen_E in learning),
        "finite_difference_error": max(errors),
        "bound": BOUND,
    }


class HeldChoice(TorchFunctionMode):
    """Keeps the experts that each token chose in a first pass: the loss jumps where a choice changes, and a slope is
    only defined between jumps. Everything else of the router is the model's own code."""

    def __init__(self) -> None:
        super().__init__()
        self._chosen: list[Tensor] = []
        self._next: int | None = None

    def again(self) -> HeldChoice:
        """Before each further pass."""
        self._next = 0
        return self

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not torch.topk:
            return func(*args, **(kwargs or {}))
        if self._next is None:
            found = func(*args, **(kwargs or {}))
            self._chosen.append(found[1])
            return found
        chosen = self._chosen[self._next]
        self._next += 1
        return args[0].gather(-1, chosen), chosen


def _with_gradient(layer: MoE) -> Tensor:
    """Which experts' own weights and router row both have a gradient: bool [E]."""
    router_EH, down_EHF = layer.gate.weight.grad, layer.experts.down_proj.grad
    if router_EH is None or down_EHF is None:
        return torch.zeros(layer.gate.weight.shape[0], dtype=torch.bool)
    return (router_EH.abs().amax(1) > 0) & (down_EHF.abs().amax((1, 2)) > 0)


@torch.no_grad()
def _slope_error(weight_EH: Tensor, gradient_EH: Tensor, loss: Callable[[], float]) -> float:
    """|central difference along the gradient ÷ gradient norm − 1|."""
    norm = gradient_EH.norm()
    if norm == 0:
        return 1.0
    kept = weight_EH.clone()
    step = STEP * kept.norm()
    values = []
    for sign in (1.0, -1.0):
        weight_EH.copy_(kept + sign * step * gradient_EH / norm)
        with torch.enable_grad():
            values.append(loss())
    weight_EH.copy_(kept)
    return abs((values[0] - values[1]) / float(2 * step * norm) - 1.0)
