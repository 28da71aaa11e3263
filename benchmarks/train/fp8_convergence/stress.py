"""SwiGLU outliers forced into a trained model, and whether giving modules back to bf16 saves it.

One channel of every expert has equal gate and up weights from the start, as training for hundreds of billions of tokens
aligns them (arXiv:2409.12517, section 4). After a first run in bf16 its up weights are doubled again and again, and the
down weights that read it are halved: in exact arithmetic, and in bf16 bit for bit, the same function, so all arms should go
on alike. In FP8 everything that shares a scale with the channel loses its bits, then becomes zero. The experts are held
still meanwhile (an Adam step on weights that small would be a leap in any precision); the rest of the model learns on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.train.device import describe_code, describe_device
from benchmarks.train.fp8_convergence.arms import ARMS as PRECISIONS
from benchmarks.train.fp8_convergence.arms import BOUND, ENCODERS, config_of, counting, run_of
from benchmarks.train.fp8_convergence.graphed import aside, train_graphed
from benchmarks.train.fp8_convergence.loop import train_counted
from benchmarks.train.fp8_convergence.text import Corpus
from expedition.model.omni import OmniModel
from expedition.parallel.experts import expert_modules
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import ModelShape
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.setup import build, choose_device, fix_numerics

ROOT = Path(__file__).resolve().parents[3]
SEED = 1
SHAPE = ModelShape(
    hidden=256, layers=4, heads=4, kv_heads=2, head_dim=64, experts=16, top_k=2, expert_inner=128,
    tied_embeddings=True, mrope_section=(16, 8, 8), init="fan_in", **ENCODERS,
)  # fmt: skip
CHANNEL = 0
DEGRADED = 0.02
"""Share of bf16's end loss that FP8 must lose, or the stress is none."""
EXACT_TOP = 2.0**20


@dataclass(frozen=True, slots=True)
class Stress:
    """How long and how far."""

    before: int = 400
    """Steps of the first run."""
    steps: int = 120
    """Steps of each arm."""
    double_every: int = 3
    """Steps between doublings, until `EXACT_TOP`."""
    count_every: int = 4
    last: int = 30
    """Steps whose mean loss is an arm's end loss."""


FP8: dict[str, Any] = PRECISIONS["e4m3"]["fp8"]
FALLBACK = {"zeros_share": 0.1, "saturated_share": 0.1, "counts": 2}
ARMS: dict[str, dict[str, Any]] = {
    "bf16": {"title": "bf16, outliers grow", "grow": True, "fp8": None},
    "plain": {"title": "FP8, no outliers", "grow": False, "fp8": FP8},
    "fp8": {"title": "FP8, outliers grow", "grow": True, "fp8": FP8},
    "saved": {"title": "FP8 with fall-back, outliers grow", "grow": True, "fp8": {**FP8, "fallback": FALLBACK}},
}


@torch.no_grad()
def align(model: OmniModel) -> None:
    """Give the channel of every expert the gate's weights as its up weights."""
    for experts in expert_modules(model):
        inner = experts.down_proj.shape[2]
        experts.gate_up_proj[:, inner + CHANNEL] = experts.gate_up_proj[:, CHANNEL]


@torch.no_grad()
def alignment(model: OmniModel) -> float:
    """Mean cosine between the gate and up weights of the channel."""
    cosines = []
    for experts in expert_modules(model):
        gate, up = (experts.gate_up_proj[:, place].float() for place in (CHANNEL, experts.down_proj.shape[2] + CHANNEL))
        cosines.append(torch.nn.functional.cosine_similarity(gate, up, dim=1))
    return float(torch.cat(cosines).mean())


class Outliers:
    """A callback: doubles the channel between steps."""

    def __init__(self, model: OmniModel, every: int) -> None:
        self._model, self._every = model, every
        self.factor = 1.0

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run."""
        if (done.result.step + 1) % self._every == 0 and self.factor < EXACT_TOP:
            self._double()
        return None

    @torch.no_grad()
    def _double(self) -> None:
        self.factor *= 2
        for experts in expert_modules(self._model):
            experts.gate_up_proj[:, experts.down_proj.shape[2] + CHANNEL] *= 2.0
            experts.down_proj[:, :, CHANNEL] *= 0.5

    def at_end(self, ending: Ending) -> None:
        """The weights stay as they are."""


def run_stress(corpus: Corpus, shape: ModelShape = SHAPE, plan: Stress | None = None, **changes: Any) -> dict[str, Any]:
    """All arms from one trained model, and the verdict."""
    plan = plan or Stress()
    config = config_of(shape, corpus.vocabulary)
    first = run_of({"compute": "bf16"}, plan.before, SEED, **changes)
    fix_numerics(first)
    device = choose_device(first)
    with aside(device):
        trained = build(config, first, Ranks(0, 1), device)
        align(trained.model)
        before = train_graphed(trained, first, corpus)
    weights = {name: value.detach().clone() for name, value in trained.state.optimizer.parameters.items()}
    cosine = alignment(trained.model)
    del trained
    arms = {name: _arm(name, weights, corpus, config.shape, plan, changes) for name in ARMS}
    ends = {name: statistics.fmean(arm["losses"][-plan.last :]) for name, arm in arms.items()}
    return {
        **describe_device(),
        **describe_code(ROOT / "src"),
        "about": _about(shape, first),
        "loss_before": statistics.fmean(before["losses"][-plan.last :]),
        "alignment": cosine,
        "largest_factor": EXACT_TOP,
        "double_every": plan.double_every,
        "arms": arms,
        "ends": ends,
        "degraded": ends["fp8"] / ends["bf16"] - 1,
        "saved": ends["saved"] / ends["bf16"] - 1,
        "ok": ends["fp8"] > (1 + DEGRADED) * ends["bf16"] and abs(ends["saved"] / ends["bf16"] - 1) <= BOUND,
    }


def _about(shape: ModelShape, run: RunPlan) -> str:
    experts = f"{shape.experts} experts of {shape.expert_inner}, top {shape.top_k}"
    return f"hidden {shape.hidden}, {shape.layers} layers, {experts}; {run.batch_tokens_at(0):,} tokens a step"


def _arm(
    name: str,
    weights: Mapping[str, torch.Tensor],
    corpus: Corpus,
    shape: ModelShape,
    plan: Stress,
    changes: Mapping[str, Any],
) -> dict[str, Any]:
    arm = ARMS[name]
    precision = {"compute": "bf16", **({} if arm["fp8"] is None else {"fp8": arm["fp8"]})}
    settings = {
        "optimizer": {"groups": [{"name": "experts", "patterns": ["*.experts.*"], "learning_rate_factor": 0.0}]},
        "clip_norm": None,
        "learning_rate": {"kind": "cosine", "peak": 2e-4, "floor": 1e-4, "warmup": "10 steps"},
    }
    run = run_of(counting(precision, plan.count_every), plan.steps, SEED, **{**settings, **changes})
    built = build(config_of(shape, corpus.vocabulary), run, Ranks(0, 1), choose_device(run))
    with torch.no_grad():
        for parameter, value in ((built.state.optimizer.parameters[key], value) for key, value in weights.items()):
            parameter.copy_(value)
    callbacks: list[Callback] = [Outliers(built.model, plan.double_every)] if arm["grow"] else []
    found = train_counted(built, run, corpus, callbacks, first=plan.before)
    return {"title": arm["title"], **found, "counted": [_worst(fields) for fields in found["counted"]]}


def _worst(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The module and operand that lost most to zero."""
    share, module, operand = max(
        (lost[0], module, operand)
        for module, operands in fields["modules"].items()
        for operand, lost in operands.items()
    )
    return {"step": fields["step"], "worst": share, "module": module, "operand": operand}
