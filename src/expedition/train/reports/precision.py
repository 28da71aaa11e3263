"""A run's numerics module by module: what `expedition model precision` prints."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import torch

from expedition.errors import UsageError
from expedition.model.config import OmniConfig
from expedition.model.describe import rows_of
from expedition.model.omni import OmniModel
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import TokenIds
from expedition.train.fp8.policy import Machine, ModulePolicy, policy

__all__ = ["describe_precision", "machine_of", "precision_lines"]

_NUMBER = re.compile(r"\.\d+(?=\.|$)")


def describe_precision(
    programme: Programme, model: str, run: str | None, machine: Machine | None = None
) -> dict[str, Any]:
    """Format, recipe, backend and version of every module of `model` in a run that trains it (the first of the programme
    where `run` is None), on this machine or another. No weights are made.

    Raises UsageError for a name that is not there, ProgrammeError or MissingExtra for a policy that cannot run there.
    """
    name, plan = _run_of(programme, model, run)
    here = Machine.of(torch.device("cuda" if torch.cuda.is_available() and plan.device != "cpu" else "cpu"))
    rows, _ = rows_of(programme, model)
    ids = TokenIds(*range(len(TokenIds.__dataclass_fields__)))
    with torch.device("meta"):
        built = OmniModel(OmniConfig(programme.models[model], rows, ids))
    fp8 = plan.precision.fp8
    modules = policy(built, fp8, plan.precision.compute, machine or here)
    return {
        "model": model,
        "run": name,
        "machine": str(machine or here),
        "compute": plan.precision.compute,
        "masters": plan.optimizer.weights,
        "fp8": fp8.model_dump(mode="json"),
        "parameters_in_fp8": sum(row.parameters for row in modules if row.backend is not None),
        "parameters": sum(row.parameters for row in modules),
        "modules": [asdict(row) for row in modules],
    }


def machine_of(capability: str) -> Machine:
    """A GPU of a compute capability written "9.0". Raises UsageError."""
    match = re.fullmatch(r"(\d+)\.(\d)", capability)
    if match is None:
        raise UsageError(f"{capability!r} is no compute capability", where="--capability", fix="an H100's is 9.0")
    return Machine("cuda", (int(match[1]), int(match[2])))


def _run_of(programme: Programme, model: str, run: str | None) -> tuple[str, RunPlan]:
    if model not in programme.models:
        raise UsageError(
            f"the programme has no model {model!r}", where="models", fix=f"one of: {', '.join(programme.models)}"
        )
    training = {name: plan for name, plan in programme.runs.items() if plan.model == model}
    if run is None:
        if not training:
            raise UsageError(
                f"no run of the programme trains {model!r}", where="runs", fix="add one, or name another model"
            )
        return next(iter(training.items()))
    if run not in programme.runs:
        raise UsageError(f"no run {run!r} in the programme", fix=f"known runs: {', '.join(sorted(programme.runs))}")
    if run not in training:
        raise UsageError(
            f"run {run!r} trains {programme.runs[run].model!r}, not {model!r}",
            fix=f"runs of it: {', '.join(training) or 'none'}",
        )
    return run, programme.runs[run]


def precision_lines(found: dict[str, Any]) -> list[str]:
    """The same for a person: modules that differ in their number alone are one line."""
    fp8 = found["fp8"]
    share = found["parameters_in_fp8"] / max(1, found["parameters"])
    lines = [
        f"{found['model']} in run {found['run']} on {found['machine']}",
        f"  compute {found['compute']}, master weights {found['masters']}; {share:.1%} of parameters multiply in FP8",
        f"  recipe {fp8['recipe']}, scales {fp8['scales']}, weight gradients {fp8['weight_gradient']}, counts every "
        f"{fp8['counters_every'] or '–'} steps, fall-back {'by counts' if fp8['fallback'] else 'off'}",
        "",
    ]
    rows = [ModulePolicy(**row) for row in found["modules"]]
    together: dict[tuple[Any, ...], list[ModulePolicy]] = {}
    for row in rows:
        key = (_NUMBER.sub(".*", row.name), row.kind, row.format, row.recipe, row.backend, row.version, row.why)
        together.setdefault(key, []).append(row)
    table = [("module", "", "kind", "parameters", "type", "recipe", "by", "why")]
    for (pattern, kind, form, recipe, backend, version, why), same in together.items():
        by = (
            "–"
            if backend is None
            else f"{backend} {version}"
            if backend != "emulated"
            else f"emulated (torch {version})"
        )
        count = sum(row.parameters for row in same)
        times = f"× {len(same)}" if len(same) > 1 else ""
        table.append((pattern, times, kind, f"{count:,}", form, recipe or "–", by, why))
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return lines
