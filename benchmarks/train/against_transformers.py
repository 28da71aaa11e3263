"""Our training against transformers' class in a loop of its own: python -m benchmarks.train.against_transformers

    [--steps 1000] [--out FILE.json] [--write FILE.md]

Same first weights, batches and learning rates; ours are `train_step` and the model that the package trains, theirs are
`Qwen3OmniMoeThinkerForConditionalGeneration`, which finds its own positions, torch's cross entropy, transformers' own
load-balancing loss, `torch.nn.utils.clip_grad_norm_` and `torch.optim.AdamW`. Nothing of ours computes theirs.

Two float32 trainings drift apart however equal their arithmetic, since a sum in another order is another number and a
router's choice may flip on it. How far is measured: the third curve is theirs again with its first weights changed by one
part in ten million. The check passes where ours is as near to theirs as that, window by window (see `verdict`).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.data.__main__ import commit, put_between_marks
from benchmarks.train.taught_steps import IDS, RULE, VOCABULARY, TaughtSteps, floor_nats
from expedition.data.loading.batch import Batch
from expedition.model.config import OmniConfig
from expedition.model.export_config import config_json
from expedition.model.omni import OmniModel
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import AudioShape, ModelShape, VisionShape
from expedition.train.batches import to_tensors
from expedition.train.schedule import learning_rate
from expedition.train.setup import build, fix_numerics
from expedition.train.step import train_step
from expedition.train.stopwatch import Stopwatch

OUT = Path(__file__).with_suffix(".json")
MARKS = ("<!-- against-transformers: written by `python -m benchmarks.train.against_transformers --write` -->",
         "<!-- /against-transformers -->")  # fmt: skip
CPU = torch.device("cpu")
ROWS = 8
NUDGE = 1e-7
WINDOW = 50
SHAPE = ModelShape(
    hidden=64, layers=3, heads=4, kv_heads=2, head_dim=16, experts=8, top_k=2, expert_inner=32, dense_layers=(0,),
    dense_inner=96, mrope_section=(4, 2, 2), init="fan_in", position_std=0.3,
    vision=VisionShape(hidden=32, layers=2, heads=2, inner=64, patch=8, position_grid=8, deepstack_layers=(0,)),
    audio=AudioShape(hidden=32, layers=2, heads=2, inner=64, conv_channels=8),
)  # fmt: skip
"""Dense and MoE layers, grouped queries, deepstack, both encoders; width 64."""


def plan(steps: int) -> RunPlan:
    """What both follow."""
    return RunPlan.model_validate(
        {
            "model": "tiny",
            "length": f"{steps} steps",
            "sequence_length": 64,
            "batch_sequences": ROWS,
            "threads": 1,
            "device": "cpu",
            "rules": (),
            "learning_rate": {"peak": 2e-3, "floor": 2e-4, "warmup": f"{min(50, max(1, steps // 4))} steps"},
        }
    )


def config() -> OmniConfig:
    """The model of both."""
    return OmniConfig.from_plan(SHAPE, RULE, IDS, VOCABULARY)


def our_curve(run: RunPlan, steps: int) -> Iterator[float]:
    """Cross entropy of each step, by the package's own step."""
    fix_numerics(run)
    built = build(config(), run, Ranks(0, 1), CPU)
    source, watch = TaughtSteps(ROWS), Stopwatch(CPU)
    for step in range(steps):
        batch = to_tensors(source.batch(step), CPU, torch.float32)
        yield float(train_step(built.parts, built.state, [batch], (), watch).loss)


def their_curve(run: RunPlan, steps: int, nudge: float = 0.0) -> Iterator[float]:
    """The same by transformers and torch; `nudge` changes each first weight by that part of itself."""
    fix_numerics(run)
    thinker = _thinker(OmniModel(config(), seed=run.seed))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in thinker.parameters() if nudge else ():
            parameter.mul_(1 + nudge * torch.randn(parameter.shape, generator=generator))
    plan = run.optimizer
    matrices = [p for p in thinker.parameters() if p.dim() >= 2]
    rest = [p for p in thinker.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=0.0, betas=(plan.beta1, plan.beta2), eps=plan.eps,
    )  # fmt: skip
    source = TaughtSteps(ROWS)
    for step in range(steps):
        batch = source.batch(step)
        loss, extra = their_losses(thinker, batch, run)
        optimizer.zero_grad()
        (loss + extra).backward()  # type: ignore[no-untyped-call]
        for parameter in thinker.parameters():  # an encoder without input has no gradient there, a zero one here
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if run.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(thinker.parameters(), run.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(run, step)
        optimizer.step()
        yield float(loss.detach())


def their_losses(thinker: Any, batch: Batch, run: RunPlan) -> tuple[Tensor, Tensor]:
    """Mean cross entropy, and the weighted balance and z losses."""
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import load_balancing_loss_func

    inputs = their_inputs(batch)
    routers: list[Tensor] = []
    gates = [layer.mlp.gate for layer in thinker.model.layers if hasattr(layer.mlp, "gate")]
    hooks = [gate.register_forward_hook(lambda _module, _given, made: routers.append(made[0])) for gate in gates]
    out = thinker(**inputs)
    for hook in hooks:
        hook.remove()
    labels = torch.from_numpy(batch.labels_BS)
    loss = F.cross_entropy(out.logits.flatten(0, 1), labels.flatten())
    mask = inputs["attention_mask"]
    real = mask.flatten().bool()
    # Theirs counts each of the k choices of a token and pools layers; ours is a mean over layers that is 1 when balanced.
    balance = [load_balancing_loss_func((logits,), SHAPE.experts, SHAPE.top_k, mask) for logits in routers]
    z = [logits[real].logsumexp(-1).square().mean() for logits in routers]
    extra = run.loss.balance * torch.stack(balance).mean() / SHAPE.top_k + run.loss.z_loss * torch.stack(z).mean()
    return loss, extra


def their_inputs(batch: Batch) -> dict[str, Any]:
    """A batch as transformers' class takes it; positions are left to it."""
    inputs: dict[str, Any] = {
        "input_ids": torch.from_numpy(batch.tokens_BS),
        "attention_mask": torch.from_numpy(batch.document_BS > 0).long(),
    }
    patches, grids = torch.from_numpy(batch.patches_PC), torch.from_numpy(batch.grid_G3)
    moving = torch.from_numpy(batch.is_video_G)
    owner = moving.repeat_interleave(grids.prod(dim=1))
    if bool((~moving).any()):
        inputs |= {"pixel_values": patches[~owner], "image_grid_thw": grids[~moving]}
    if bool(moving.any()):
        seconds = RULE.second_per_grid(RULE.video_time_step(4.0))
        inputs |= {"pixel_values_videos": patches[owner], "video_grid_thw": grids[moving]}
        inputs |= {"video_second_per_grid": torch.full((int(moving.sum()),), seconds)}
    if len(batch.mel_lengths_A):
        lengths = torch.from_numpy(batch.mel_lengths_A)
        parts = torch.split(torch.from_numpy(batch.mel_MF), lengths.tolist(), dim=1)
        inputs["input_features"] = torch.stack([F.pad(part, (0, int(lengths.max()) - part.shape[1])) for part in parts])
        inputs["feature_attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return inputs


def _thinker(model: OmniModel) -> Any:
    from transformers import Qwen3OmniMoeConfig
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeThinkerForConditionalGeneration

    thinker = Qwen3OmniMoeThinkerForConditionalGeneration(
        Qwen3OmniMoeConfig(**config_json(model.config)).thinker_config
    )
    thinker.load_state_dict(model.state_dict(), strict=True)
    return thinker.train()


def windows(curve: Sequence[float]) -> list[float]:
    """Means of consecutive `WINDOW` steps."""
    return [statistics.fmean(curve[at : at + WINDOW]) for at in range(0, len(curve) - WINDOW + 1, WINDOW)]


def verdict(ours: Sequence[float], theirs: Sequence[float], nudged: Sequence[float]) -> dict[str, Any]:
    """How far ours and the nudged run lie from theirs: largest difference of a window's mean, and of the last steps.

    `same` where ours is no farther than three times the nudged run at its farthest: the largest of some twenty
    differences of one spread seldom exceeds three times the largest of twenty others.
    """
    pairs = {"ours": ours, "nudged": nudged}
    far = {
        name: max(abs(a - b) for a, b in zip(windows(curve), windows(theirs), strict=True))
        for name, curve in pairs.items()
    }
    last = {name: statistics.fmean(curve[-2 * WINDOW :]) for name, curve in {"theirs": theirs, **pairs}.items()}
    return {
        "window_steps": WINDOW,
        "largest_window_difference": far,
        "mean_of_last_steps": last,
        "floor_nats": floor_nats(),
        "largest_difference_of_first_20_steps": max(abs(a - b) for a, b in zip(ours[:20], theirs[:20], strict=True)),
        "same": far["ours"] <= 3 * far["nudged"],
    }


def as_markdown(found: dict[str, Any]) -> str:
    """The table and a plot of characters."""
    lines = [
        "| steps | ours | transformers | transformers, first weights × (1 ± 1e-7) | ours − theirs |",
        "|---|---|---|---|---|",
    ]
    curves = [windows(found["curves"][name]) for name in ("ours", "theirs", "nudged")]
    for number, (ours, theirs, nudged) in enumerate(zip(*curves, strict=True)):
        if number % 2 == 0 or number == len(curves[0]) - 1:
            steps = f"{number * WINDOW}–{(number + 1) * WINDOW - 1}"
            lines.append(f"| {steps} | {ours:.4f} | {theirs:.4f} | {nudged:.4f} | {ours - theirs:+.4f} |")
    said = found["verdict"]
    far = said["largest_window_difference"]
    lines += [
        "",
        f"Largest difference of a {WINDOW}-step mean: ours {far['ours']:.4f}, the nudged run {far['nudged']:.4f} nats; in the"
        f" first 20 steps ours differs by at most {said['largest_difference_of_first_20_steps']:.1e}. Floor of the data:"
        f" {said['floor_nats']:.4f} nats for the symbols whose step is known. {found['conditions']}.",
    ]  # fmt: skip
    return "\n".join(lines)


def measure(steps: int) -> dict[str, Any]:
    """The three curves and what they say."""
    run, began = plan(steps), time.perf_counter()
    kinds = {"ours": our_curve(run, steps), "theirs": their_curve(run, steps), "nudged": their_curve(run, steps, NUDGE)}
    curves: dict[str, list[float]] = {}
    for name, curve in kinds.items():
        curves[name] = []
        for step, loss in enumerate(curve):
            curves[name].append(loss)
            if step % 100 == 99:
                sys.stderr.write(f"{name}: step {step + 1}, loss {loss:.4f}\n")
    machine = f"{steps} steps, torch {torch.__version__}, float32, one thread, {platform.machine()}, commit {commit()}"
    return {
        "steps": steps,
        "verdict": verdict(curves["ours"], curves["theirs"], curves["nudged"]),
        "conditions": machine,
        "wall_s": round(time.perf_counter() - began, 1),
        "curves": {name: [round(value, 6) for value in curve] for name, curve in curves.items()},
    }


def main() -> int:
    """1 if the curves are not the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--write", type=Path, help="page that gets the table between its marks")
    options = parser.parse_args()
    if options.steps < 2 * WINDOW:
        parser.error(f"--steps must be at least {2 * WINDOW}")
    found = measure(options.steps)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    table = as_markdown(found)
    sys.stdout.write(table + "\n")
    if options.write is not None:
        put_between_marks(options.write, table, MARKS)
    return int(not found["verdict"]["same"])


if __name__ == "__main__":
    sys.exit(main())
