"""Linear layers and experts that multiply in FP8: the model's own modules, turned into these in place.

Parameters and their names stay; what is FP8's own hangs on the module as `fp8` and is no part of a checkpoint.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from expedition.kernels.fp8_experts import ExpertCopies, expert_layer_fp8, expert_products_fp8
from expedition.kernels.fp8_linear import LinearRecipe, joined_linear_fp8, linear_fp8
from expedition.kernels.fp8_mlp import mlp_fp8
from expedition.kernels.fp8_swiglu import RowRecipe
from expedition.kernels.fp8_weights import WeightCopies
from expedition.kernels.quantize import Quantized, quantization_counts
from expedition.model.attention import DecoderAttention
from expedition.model.dispatch import LocalDispatcher
from expedition.model.moe import DenseMLP, Experts
from expedition.plan.precision import Fp8Plan

__all__ = [
    "Fp8DecoderAttention",
    "Fp8DenseMLP",
    "Fp8Experts",
    "Fp8Linear",
    "Fp8State",
    "forget_copies",
    "fp8_modules",
    "join_layers",
    "turn",
]


class Fp8State:
    """What one module needs beside its parameters."""

    def __init__(self, plan: Fp8Plan, *, experts: bool, emulated: bool, keep: bool) -> None:
        """`keep`: FP8 copies of weights stay while the weights do; not where weights are gathered for each use."""
        power = plan.scales == "power_of_two"
        low = plan.weight_gradient == "fp8"
        self.plan, self.emulated = plan, emulated
        self.active = True
        """False: the module multiplies in the compute type for the rest of the run."""
        self.counts: dict[str, Tensor] | None = None
        """int64 [3] by tensor, on the device; None while nothing is counted."""
        granularity = "rowwise" if experts else plan.recipe
        self.linear = LinearRecipe(plan.recipe, plan.forward, plan.gradient, low, power, emulated)
        self.rows = RowRecipe(plan.forward, plan.gradient, low, power, emulated)
        self.copies = [WeightCopies(plan.forward, granularity, power, keep=keep) for _ in range(2 if experts else 1)]

    def see(self, name: str, rounded: Quantized) -> None:
        """Add a tensor's counts; without waiting for the device."""
        if self.counts is not None:
            found = quantization_counts(rounded)
            self.counts[name] = found if name not in self.counts else self.counts[name] + found


class Fp8Linear(nn.Linear):
    """A linear layer whose products see FP8 values. Same parameters and names as `nn.Linear`."""

    fp8: Fp8State

    def forward(self, input: Tensor) -> Tensor:
        state = self.fp8
        if not state.active:
            return F.linear(input, self.weight, self.bias)
        watch = None if state.counts is None else state.see
        product = linear_fp8(input, self.weight, state.copies[0], state.linear, watch)
        return product if self.bias is None else product + self.bias


class Fp8Experts(Experts):
    """Experts whose products see FP8 values, wherever their tokens come from. Same parameters and names as `Experts`."""

    fp8: Fp8State

    def forward(self, x_TH: Tensor, topk_TK: Tensor, weight_TK: Tensor) -> Tensor:
        state = self.fp8
        if not state.active:
            return super().forward(x_TH, topk_TK, weight_TK)
        watch = None if state.counts is None else state.see
        gate_up, down = self.dispatcher.held(self.gate_up_proj), self.dispatcher.held(self.down_proj)
        copies, recipe = ExpertCopies(*state.copies), state.rows
        if isinstance(self.dispatcher, LocalDispatcher):
            return expert_layer_fp8(x_TH, topk_TK, weight_TK, gate_up, down, copies, recipe, watch)
        sent = self.dispatcher.dispatch(x_TH, topk_TK, weight_TK)
        rows = sent.rows_RH, sent.weight_R, sent.counts_e
        return sent.combine(expert_products_fp8(*rows, gate_up, down, copies, recipe, watch))


class Fp8DenseMLP(DenseMLP):
    """A dense SwiGLU whose three layers are `Fp8Linear` with scales of rows: multiplied together (`kernels.fp8_mlp`)
    while all of them are FP8. Counts are its layers'."""

    def forward(self, x_BSH: Tensor) -> tuple[Tensor, None]:
        layers = self.gate_proj, self.up_proj, self.down_proj
        states = [layer.fp8 for layer in layers if isinstance(layer, Fp8Linear) and layer.fp8.active]
        if len(states) < len(layers):
            return super().forward(x_BSH)
        gate, _, down = states
        weights = self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
        watch = None if down.counts is None else self._see
        out = mlp_fp8(x_BSH, *weights, (gate.copies[0], down.copies[0]), gate.rows, watch)
        return out, None

    def _see(self, name: str, rounded: Quantized) -> None:
        whose, tensor = _OF_MLP[name]
        for layer in whose:
            getattr(self, layer).fp8.see(tensor, rounded)


_OF_MLP = {
    "input": (("gate_proj", "up_proj"), "input"),
    "gate_up": (("gate_proj", "up_proj"), "weight"),
    "gate_up_gradient": (("gate_proj", "up_proj"), "gradient"),
    "hidden": (("down_proj",), "input"),
    "down": (("down_proj",), "weight"),
    "gradient": (("down_proj",), "gradient"),
}
"""Which layer's tensor the product of all of them calls so; gate's and up's are seen together."""


class Fp8DecoderAttention(DecoderAttention):
    """Attention whose three projections of one input are `Fp8Linear` with scales of rows: one product while all of them
    are FP8. Counts are its layers'."""

    def project(self, x_BSH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        layers = self.q_proj, self.k_proj, self.v_proj
        states = [layer.fp8 for layer in layers if isinstance(layer, Fp8Linear) and layer.fp8.active]
        if len(states) < len(layers):
            return super().project(x_BSH)
        weights = self.q_proj.weight, self.k_proj.weight, self.v_proj.weight
        watch = None if states[0].counts is None else self._see
        return joined_linear_fp8(x_BSH, weights, states[0].copies[0], states[0].linear, watch)

    def _see(self, name: str, rounded: Quantized) -> None:
        for layer in ("q_proj", "k_proj", "v_proj"):
            getattr(self, layer).fp8.see(name, rounded)


def join_layers(model: nn.Module) -> None:
    """Let projections of one input, and dense SwiGLUs, whose layers are all FP8 with scales of rows multiply as one, in
    place. They share scales then, which powers of two alone do without rounding values differently."""
    for module in model.modules():
        if type(module) is DecoderAttention and all(
            _has_rows(p) for p in (module.q_proj, module.k_proj, module.v_proj)
        ):
            module.__class__ = Fp8DecoderAttention
        if type(module) is DenseMLP and all(
            _has_rows(layer) for layer in (module.gate_proj, module.up_proj, module.down_proj)
        ):
            module.__class__ = Fp8DenseMLP


def _has_rows(layer: nn.Module) -> bool:
    if not isinstance(layer, Fp8Linear) or layer.bias is not None:
        return False
    return layer.fp8.plan.recipe == "rowwise" and layer.fp8.plan.scales == "power_of_two"


def turn(module: nn.Module, plan: Fp8Plan, *, emulated: bool, keep: bool) -> None:
    """Make a linear layer or experts multiply in FP8, in place."""
    experts = isinstance(module, Experts)
    module.__class__ = Fp8Experts if experts else Fp8Linear
    module.fp8 = Fp8State(plan, experts=experts, emulated=emulated, keep=keep)  # type: ignore[assignment]


def forget_copies(model: nn.Module) -> None:
    """The weights are others now: FP8 copies that were kept of them are made again."""
    for module in fp8_modules(model).values():
        for copies in module.fp8.copies:
            copies.forget()


def fp8_modules(model: nn.Module) -> dict[str, Fp8Linear | Fp8Experts]:
    """Modules that multiply in FP8, or did until they were switched off, by name."""
    return {name: m for name, m in model.named_modules() if isinstance(m, Fp8Linear | Fp8Experts)}
