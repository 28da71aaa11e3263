"""Which module multiplies in what, and who multiplies: decided once, before the first step, from plan, sizes and machine."""

from __future__ import annotations

import fnmatch
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import torch
from torch import nn

from expedition.errors import MissingExtra, ProgrammeError
from expedition.kernels.quantize import BLOCK
from expedition.kernels.scaled_products import ALIGNMENT
from expedition.model.moe import Experts
from expedition.plan.precision import Fp8Plan

__all__ = ["Backend", "Machine", "ModulePolicy", "able_modules", "backend_of", "chosen_names", "is_emulated", "policy"]

Backend = Literal["torch", "torchao", "transformer_engine", "emulated"]
HOPPER = (9, 0)
HEAD = "lm_head"
_LIBRARIES = {"torchao": "torchao", "transformer_engine": "transformer_engine"}
_INSTALL = {"torchao": "'expedition-programme[torchao]'", "transformer_engine": "'transformer-engine[pytorch]'"}
_RECIPES = {
    "torchao": ("tensorwise", "rowwise"),
    "transformer_engine": ("tensorwise", "blockwise"),
}
"""Recipes of each library's linear layer."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a policy is for."""

    kind: str
    """cpu, cuda; meta where only sizes are known: then hardware is taken for granted."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability."""

    @classmethod
    def of(cls, device: torch.device) -> Machine:
        if device.type != "cuda":
            return cls(device.type)
        return cls("cuda", torch.cuda.get_device_capability(device))

    @property
    def has_fp8(self) -> bool:
        return self.kind == "meta" or (self.kind == "cuda" and (self.capability or (0, 0)) >= HOPPER)

    def __str__(self) -> str:
        return (
            "a CPU" if self.capability is None else f"a GPU of compute capability {'.'.join(map(str, self.capability))}"
        )


@dataclass(frozen=True, slots=True)
class ModulePolicy:
    """How one module with parameters multiplies."""

    name: str
    kind: str
    """The module's class."""
    parameters: int
    format: str
    """fp8 e4m3/e5m2 (forward / gradient), or the compute type."""
    recipe: str | None = None
    weight_gradient: str | None = None
    backend: str | None = None
    """Who multiplies; triton: our own kernels of grouped products."""
    version: str | None = None
    why: str = ""
    """Why it is not FP8; or why not as the plan says."""


def able_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that could multiply in FP8, by name."""
    return {name: module for name, module in model.named_modules() if type(module) in (nn.Linear, Experts)}


def chosen_names(names: list[str], plan: Fp8Plan) -> list[str]:
    """Which of the linear and expert layers `names` the plan turns to FP8, in order.

    Raises ProgrammeError for a pattern that matches none of them.
    """
    for pattern in plan.modules:
        if not fnmatch.filter(names, pattern):
            raise ProgrammeError(
                f"no linear layer or expert layer of the model is named like {pattern!r}",
                where="precision.fp8.modules",
                fix=f"names are for example {', '.join(sorted(names)[:3])}",
            )
    included = {name for pattern in plan.modules for name in fnmatch.filter(names, pattern)}
    excluded = {name for pattern in plan.exclude for name in fnmatch.filter(names, pattern)}
    return [name for name in names if name in included - excluded]


def is_ours(name: str, module: nn.Module) -> bool:
    """Whether only our own kernels have the module's products: experts, and the head, whose are inside the loss."""
    return isinstance(module, Experts) or name == HEAD


def backend_of(plan: Fp8Plan, machine: Machine, name: str, module: nn.Module) -> Backend:
    """Who multiplies for a module. Raises ProgrammeError or MissingExtra for a plan that cannot run there."""
    wanted = plan.backend
    if (
        plan.recipe == "blockwise"
        and machine.has_fp8
        and machine.capability not in (None, HOPPER)
        and not is_ours(name, module)
    ):
        raise ProgrammeError(
            f"products of 128 × 128 blocks are cuBLAS's on compute capability 9.0 alone, and this is {machine}",
            where="precision.fp8.recipe",
            fix="set it to rowwise",
        )
    if wanted == "auto":
        return "torch" if machine.has_fp8 else "emulated"
    if wanted == "emulated":
        return "emulated"
    if not machine.has_fp8:
        if wanted == "torchao" and machine.kind == "cpu":
            if is_ours(name, module):
                return "emulated"
            _require_library(wanted, plan)
            return "torchao"  # its own emulation
        raise ProgrammeError(
            f"backend {wanted} multiplies FP8 on GPUs of compute capability 9.0 or more (H100, H200, B200), and this is {machine}",
            where="precision.fp8.backend",
            fix="set it to auto: FP8 is emulated where there is no hardware for it; or leave modules empty",
        )
    if wanted == "torch" or is_ours(name, module):
        return "torch"
    _require_library(wanted, plan)
    return wanted


def _require_library(wanted: str, plan: Fp8Plan) -> None:
    if plan.recipe not in _RECIPES[wanted]:
        raise ProgrammeError(
            f"{wanted} has no recipe {plan.recipe} for linear layers",
            where="precision.fp8.recipe",
            fix=f"one of {', '.join(_RECIPES[wanted])}, or backend: torch",
        )
    if importlib.util.find_spec(_LIBRARIES[wanted]) is None:
        raise MissingExtra(
            f"backend {wanted} needs its package, which is not installed",
            where="precision.fp8.backend",
            fix=f"pip install {_INSTALL[wanted]}, or set backend: torch",
        )


def is_emulated(plan: Fp8Plan, machine: Machine) -> bool:
    """Whether a run with this plan has FP8's numbers without its products."""
    return bool(plan.modules) and (plan.backend == "emulated" or not machine.has_fp8)


def misfit(name: str, module: nn.Module, plan: Fp8Plan, backend: Backend) -> str | None:
    """Why sizes of a module do not fit the backend; None where they do."""
    sizes = _sizes(module)
    blocks = plan.recipe == "blockwise" and not is_ours(name, module)
    step = BLOCK if blocks else ALIGNMENT if backend == "torch" else 1
    wrong = [size for size in sizes if size % step]
    return f"size {wrong[0]} is no multiple of {step}" if wrong else None


def require_fit(modules: Mapping[str, nn.Module], plan: Fp8Plan, machine: Machine) -> dict[str, Backend]:
    """The backend of each module. Raises ProgrammeError or MissingExtra, naming the module, for one that cannot run."""
    found: dict[str, Backend] = {}
    for name, module in modules.items():
        found[name] = backend = backend_of(plan, machine, name, module)
        if (why := misfit(name, module, plan, backend)) is not None:
            raise ProgrammeError(
                f"{name} cannot multiply in FP8 by {backend}: {why}",
                where="precision.fp8.modules",
                fix=f"add {name!r}, or a pattern for it, to precision.fp8.exclude",
            )
    return found


def _sizes(module: nn.Module) -> tuple[int, ...]:
    if isinstance(module, Experts):
        return tuple(module.gate_up_proj.shape[1:]) + tuple(module.down_proj.shape[1:])
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def policy(model: nn.Module, plan: Fp8Plan, compute: str, machine: Machine) -> list[ModulePolicy]:
    """Every module that has parameters of its own, in order. Raises like `require_fit`."""
    able = able_modules(model)
    chosen = set(chosen_names(list(able), plan))
    backends = require_fit({name: able[name] for name in able if name in chosen}, plan, machine)
    rows = []
    for name, module in model.named_modules():
        count = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if not count:
            continue
        kind = type(module).__name__
        if name in chosen:
            rows.append(_fp8_row(name, module, count, plan, backends[name]))
        else:
            rows.append(ModulePolicy(name, kind, count, compute, why=_why_not(name, name in able, plan)))
    return rows


def _fp8_row(name: str, module: nn.Module, count: int, plan: Fp8Plan, backend: Backend) -> ModulePolicy:
    recipe = "rowwise" if is_ours(name, module) else plan.recipe
    reasons = [
        "always has scales of rows" if recipe != plan.recipe else "",
        "no hardware for FP8 here" if backend == "emulated" and plan.backend == "auto" else "",
    ]
    grouped = isinstance(module, Experts) and backend == "torch"
    package = "triton" if grouped else backend if backend in _LIBRARIES else "torch"
    return ModulePolicy(
        name=name,
        kind=type(module).__name__,
        parameters=count,
        format=f"fp8 {plan.forward}/{plan.gradient}",
        recipe=recipe,
        weight_gradient=plan.weight_gradient,
        backend="triton" if grouped else backend,
        version=_version(package),
        why="; ".join(filter(None, reasons)),
    )


def _why_not(name: str, able: bool, plan: Fp8Plan) -> str:
    if not able:
        return "no product of a weight that FP8 has a kernel for"
    named = [pattern for pattern in plan.modules if fnmatch.fnmatch(name, pattern)]
    excluded = [pattern for pattern in plan.exclude if fnmatch.fnmatch(name, pattern)]
    if named and excluded:
        return f"excluded by {excluded[0]!r}"
    return "not named by precision.fp8.modules" if plan.modules else "the run has no FP8"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
