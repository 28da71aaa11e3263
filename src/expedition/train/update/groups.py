"""Which rule, decay and learning rate a parameter has: a function of its name, its shape and the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor

from expedition.errors import ProgrammeError
from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.plan.runs import OptimizerPlan, ParameterGroup

Rule = Literal["adamw", "muon"]

_FUSED = (("*.attn.qkv.weight", 3), ("*.experts.gate_up_proj", 2))
"""Matrices side by side in one parameter, as equal blocks of output rows. Muon makes each orthogonal by itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are updated alike."""

    name: str
    rule: Rule
    learning_rate_factor: float
    weight_decay: float
    parameters: dict[str, Tensor] = field(default_factory=dict)


def group_parameters(parameters: Mapping[str, Tensor], plan: OptimizerPlan) -> list[Group]:
    """All parameters, each in one group, in the order of their first member."""
    found: dict[str, Group] = {}
    for name, parameter in parameters.items():
        own = _own_group(name, plan)
        rule: Rule = "muon" if plan.is_muons(name, parameter.dim()) else "adamw"
        decay = plan.weight_decay if parameter.dim() >= 2 else 0.0
        if own is not None and own.weight_decay is not None:
            decay = own.weight_decay
        factor = own.learning_rate_factor if own is not None else 1.0
        label = _label(None if own is None else own.name, rule, decay > 0)
        group = found.setdefault(label, Group(label, rule, factor, decay))
        group.parameters[name] = parameter
    return list(found.values())


def _own_group(name: str, plan: OptimizerPlan) -> ParameterGroup | None:
    return next((group for group in plan.groups if _matches(name, group.patterns)), None)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def blocks_of(name: str) -> int:
    """How many matrices lie in a parameter (or in each expert's part of it) as blocks of rows."""
    return next((blocks for pattern, blocks in _FUSED if fnmatchcase(name, pattern)), 1)


def require_groups_match(parameters: Iterable[str], plan: OptimizerPlan) -> None:
    """Raise ProgrammeError for a pattern of `optimizer.groups` that names no parameter of the model."""
    names = list(parameters)
    for group in plan.groups:
        for pattern in group.patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ProgrammeError(
                    f"pattern {pattern!r} of group {group.name!r} names no parameter",
                    where="runs.*.optimizer.groups",
                    fix=f"parameters are named like {', '.join(names[:: max(1, len(names) // 4)][:4])}",
                )


def describe_groups(parameters: Mapping[str, Tensor], plan: OptimizerPlan) -> list[dict[str, Any]]:
    """One record a group, for people and JSON: name, rule, tensors, parameters, weight_decay, learning_rate_factor,
    state_bytes (weights, gradients and moments), examples (first three names). Tensors may be on the meta device.

    Raises ProgrammeError for a pattern that names no parameter.
    """
    require_groups_match(parameters, plan)
    return [_describe(group, plan) for group in group_parameters(parameters, plan)]


def _describe(group: Group, plan: OptimizerPlan) -> dict[str, Any]:
    count = sum(parameter.numel() for parameter in group.parameters.values())
    return {
        "name": group.name,
        "rule": group.rule,
        "tensors": len(group.parameters),
        "parameters": count,
        "weight_decay": group.weight_decay,
        "learning_rate_factor": group.learning_rate_factor,
        "state_bytes": sum(
            value.numel() * plan.state_bytes(name, value.dim()) for name, value in group.parameters.items()
        ),
        "examples": list(group.parameters)[:3],
    }


def gradient_norms(groups: Iterable[Group], plan: OptimizerPlan, ranks: Ranks) -> dict[str, Tensor]:
    """L2 norm of each group's gradients before clipping, on the device; 0 for groups that have none.

    A collective: stages of a pipeline have other groups, so each is asked for all that there can be.
    """
    found = {group.name: group for group in groups}
    device = next(iter(next(iter(found.values())).parameters.values())).device
    norms: dict[str, Tensor] = {}
    for label in _labels(plan):
        members = found[label].parameters.values() if label in found else ()
        gradients = [parameter.grad for parameter in members if parameter.grad is not None]
        norms[label] = squared_norm(gradients or [torch.zeros((), device=device)], ranks).sqrt()
    return norms


def _labels(plan: OptimizerPlan) -> list[str]:
    """Names of all groups that a plan can make."""
    rules: list[Rule] = ["adamw", "muon"]
    return [_label(name, rule, decay) for name in _names(plan) for rule in rules for decay in (True, False)]


def _names(plan: OptimizerPlan) -> list[str | None]:
    return [None, *(group.name for group in plan.groups)]


def _label(name: str | None, rule: Rule, decays: bool) -> str:
    return f"{'' if name is None else f'{name}: '}{rule}{'' if decays else ', no decay'}"
