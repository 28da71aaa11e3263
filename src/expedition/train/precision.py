"""Numerics of the forward and backward pass: the compute type, and modules turned to FP8 by the plan's policy.

Weights stay the optimiser's masters. Scheme: Micikevicius et al. 2022 (arXiv:2209.05433): E4M3 for activations and weights,
E5M2 or E4M3 for output gradients; scale = largest value of the format ÷ amax.
"""

from __future__ import annotations

import torch
from torch import nn

from expedition.plan.precision import Fp8Plan, PrecisionPlan
from expedition.train.fp8.layers import join_layers, turn
from expedition.train.fp8.libraries import torchao_linear, transformer_engine_linear
from expedition.train.fp8.policy import Machine, able_modules, chosen_names, require_fit


def compute_dtype(plan: PrecisionPlan) -> torch.dtype:
    """The type that parameters and inputs are cast to for the forward pass; gradients come back to fp32."""
    return torch.bfloat16 if plan.compute == "bf16" else torch.float32


def apply_fp8(model: nn.Module, plan: Fp8Plan, *, keep: bool = True) -> list[str]:
    """Turn the linear layers and experts that the policy names into their FP8 kinds, in place; the names in order.

    `keep`: hold FP8 copies of weights while they stay as they are; not for weights that are gathered for each use.
    Raises ProgrammeError for a pattern that matches none of them, and for modules whose sizes, hardware or library cannot
    do it (the model's device says which); MissingExtra without the library.
    """
    able = able_modules(model)
    chosen = chosen_names(list(able), plan)
    machine = Machine.of(next(model.parameters()).device)
    backends = require_fit({name: able[name] for name in chosen}, plan, machine)
    for name in chosen:
        module, backend = able[name], backends[name]
        if backend in ("torch", "emulated"):
            turn(module, plan, emulated=backend == "emulated", keep=keep)
            continue
        assert isinstance(module, nn.Linear)
        parent, _, last = name.rpartition(".")
        if backend == "torchao":
            made = torchao_linear(module, plan, emulated=not machine.has_fp8)
        else:
            made = transformer_engine_linear(module, plan)
        setattr(model.get_submodule(parent), last, made)
    join_layers(model)
    return chosen
