"""The proof of concept: does the loader feed the run, does the router back-propagate, does FP8 converge, is it
repeatable?

Three runs from one plan: `poc` (bf16), `poc-again` (the same) and `poc-fp8` (the plan's FP8 policy). Each is an
ordinary run, so a killed proof of concept goes on where it was. → reports/poc.json
"""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import distributions
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from expedition.plan.models import Programme
from expedition.plan.precision import Fp8Plan
from expedition.plan.rules import SpikeRulePlan
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.progress import Listener
from expedition.train.reports.router_check import check_router
from expedition.train.reports.summary import series
from expedition.train.run import Inputs, dataset_inputs, train_run
from expedition.train.setup import find_run
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json

SCHEMA = "train.poc/1"
DECODER_LINEAR = Fp8Plan(modules=("model.layers.*_proj",))
HEADROOM_STEPS = 8


ROUTER_BATCHES = 8
"""Batches in which an expert may get its first gradient."""


def proof_of_concept(
    ws: Workspace,
    programme: Programme,
    name: str = "poc",
    progress: Listener | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Run the three runs, check router and loader, write and return reports/poc.json. Blocking; safe to repeat.

    `inputs` None reads the run's dataset.
    """
    plan = find_run(programme, name)
    variants = poc_variants(plan, name)
    programme = programme.model_copy(update={"runs": {**programme.runs, **variants}})
    summaries = {variant: train_run(ws, programme, variant, progress, inputs) for variant in variants}
    losses = {variant: series(read_metrics(ws, variant, ["loss"]), "loss") for variant in variants}
    base, fp8 = summaries[name], summaries[f"{name}-fp8"]
    opened = inputs or dataset_inputs(ws, programme, name)
    spike = programme.rules.spike or SpikeRulePlan()
    jump, bound = largest_jump(losses[name], spike.sigmas, spike.floor_nats)
    report = {
        "steps": base["steps"],
        "gpus": base["world_size"] if base["device"] != "cpu" else 0,
        "device": base["device"],
        "loss_first": base["loss_first"],
        "loss_last": base["loss_last"],
        "largest_jump": jump,
        "jump_bound": bound,
        "nonfinite": sum(int(summary["nonfinite_steps"]) for summary in summaries.values()),
        "loader_headroom": loader_headroom(opened, plan, base["step_time_s"]),
        "router": check_router(
            opened.config, plan, [opened.source.rank_batch(step, 0, 1)[0] for step in range(ROUTER_BATCHES)]
        ),
        "fp8": {
            "bf16_final_loss": base["loss_last"],
            "fp8_final_loss": fp8["loss_last"],
            "relative_difference": abs(fp8["loss_last"] - base["loss_last"]) / base["loss_last"],
            "emulated": "emulated fp8" in fp8["conditions"],
            "policy": variants[f"{name}-fp8"].precision.fp8.model_dump(mode="json"),
        },
        "reproducible": {"hash_a": series_hash(losses[name]), "hash_b": series_hash(losses[f"{name}-again"])},
        "dataset": {
            "name": plan.dataset,
            "version": plan.version_at(0),
            "fingerprint": opened.source.fingerprint_at(0),
        },
        "environment_hash": environment_hash(),
        "gpu_utilisation": None,
        "link_bandwidth_bytes_per_s": None,
        "conditions": sorted({*base["conditions"], *fp8["conditions"], "short run"}),
    }
    ws.write_json(layout.report("poc"), report, schema=SCHEMA)
    return report


def poc_variants(plan: RunPlan, name: str) -> dict[str, RunPlan]:
    """The three runs: products in bf16, once more, and with the plan's FP8 policy (none: all of the decoder's
    layers)."""
    fp8 = plan.precision.fp8 if plan.precision.fp8.modules else DECODER_LINEAR
    bf16 = plan.precision.model_copy(update={"compute": "bf16", "fp8": Fp8Plan()})
    base = plan.model_copy(update={"precision": bf16})
    low = plan.model_copy(update={"precision": bf16.model_copy(update={"fp8": fp8})})
    return {name: base, f"{name}-again": base, f"{name}-fp8": low}


def largest_jump(
    losses: npt.NDArray[np.float64], sigmas: float, floor_nats: float
) -> tuple[float | None, float | None]:
    """Largest rise of the median of three steps from one step to the next, and the bound that noise explains.

    The bound is that of the spike rule: `sigmas` robust deviations (1.4826 · MAD) of the step-to-step differences, at
    least `floor_nats`. None for fewer than four steps.
    """
    if losses.size < 4:
        return None, None
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(losses, 3), axis=1)
    steps = np.diff(losses)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps))))
    return float(max(0.0, np.diff(smooth).max())), max(sigmas * noise, floor_nats)


def loader_headroom(inputs: Inputs, plan: RunPlan, step_time_s: dict[str, float | None]) -> float | None:
    """How many times faster batches are made than a step uses them up; None where the run timed no step."""
    total_s, data_s = step_time_s["total"], step_time_s["data"]
    if total_s is None or data_s is None:
        return None
    steps = range(min(HEADROOM_STEPS, plan.total_steps))
    begin = time.perf_counter()
    for step in steps:
        inputs.source.rank_batch(step, 0, plan.parallel.data_ranks)
    batch_s = (time.perf_counter() - begin) / len(steps)
    return (total_s - data_s) / max(batch_s, 1e-9)


def series_hash(losses: npt.NDArray[np.float64]) -> str:
    """Hash of every bit of a loss curve."""
    return sha256_json([float(loss).hex() for loss in losses])


def environment_hash() -> str:
    """Hash of interpreter, processor kind, torch build and the version of every installed package."""
    packages = sorted({f"{item.metadata['Name']}=={item.version}" for item in distributions()})
    return sha256_json([sys.version, platform.machine(), torch.__version__, torch.__config__.show(), packages])
