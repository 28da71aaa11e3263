"""What is trained: one MoE shape, three arms that differ in precision alone, and the plan of a run."""

from __future__ import annotations

from typing import Any

from expedition.model.config import OmniConfig
from expedition.plan.runs import RunPlan
from expedition.plan.shapes import AudioShape, ModelShape, TokenIds, VisionShape

SEEDS = (1, 2, 3)
STEPS = 2000
ROWS, LENGTH = 4, 512
LAST = 100
"""Steps whose mean loss is a run's end loss."""
BOUND = 0.005
"""How far an FP8 arm's end loss may be from bf16's, as a share of it."""
ENCODERS: dict[str, Any] = {
    "vision": VisionShape(hidden=32, layers=1, heads=2, inner=64, patch=8, position_grid=4, deepstack_layers=()),
    "audio": AudioShape(hidden=32, layers=1, heads=2, inner=64, conv_channels=8),
}
SHAPE = ModelShape(
    hidden=512, layers=4, heads=8, kv_heads=2, head_dim=64, experts=64, top_k=8, expert_inner=256,
    tied_embeddings=True, mrope_section=(16, 8, 8), init="fan_in", **ENCODERS,
)  # fmt: skip
"""112M parameters, 24M of them active; experts and choices of the `10b` preset, sizes that are multiples of 128."""
FP8_MODULES = ("model.layers.*_proj", "model.layers.*.experts")
FP8: dict[str, Any] = {
    "modules": FP8_MODULES,
    "recipe": "rowwise",
    "scales": "power_of_two",
    "weight_gradient": "fp8",
}
"""What the fast plans use: scales of rows, all three products of a layer in FP8."""
ARMS: dict[str, dict[str, Any]] = {
    "bf16": {"compute": "bf16"},
    "e4m3": {"compute": "bf16", "fp8": {**FP8, "forward": "e4m3", "gradient": "e4m3"}},
    "e5m2": {"compute": "bf16", "fp8": {**FP8, "forward": "e4m3", "gradient": "e5m2"}},
}
TITLES = {
    "bf16": "bf16",
    "e4m3": "FP8, E4M3 forward and gradients",
    "e5m2": "FP8, E4M3 forward, E5M2 gradients",
}


def counting(precision: dict[str, Any], every: int) -> dict[str, Any]:
    """The same with counts of what FP8 loses, where there is FP8."""
    if "fp8" not in precision:
        return precision
    return {**precision, "fp8": {**precision["fp8"], "counters_every": every}}


def config_of(shape: ModelShape, vocabulary: int) -> OmniConfig:
    """The shape with a vocabulary whose last rows stand for the specials that text never uses."""
    fields = len(TokenIds.__dataclass_fields__)
    return OmniConfig(shape, vocabulary, TokenIds(*range(vocabulary - fields, vocabulary)))


def run_of(precision: dict[str, Any], steps: int, seed: int, **changes: Any) -> RunPlan:
    """A run of the usual settings: AdamW, warm-up and a cosine, clipping, both router losses."""
    settings: dict[str, Any] = {
        "model": "tiny",
        "length": f"{steps} steps",
        "sequence_length": LENGTH,
        "batch_sequences": ROWS,
        "rules": (),
        "seed": seed,
        "learning_rate": {"kind": "cosine", "peak": 1e-3, "floor": 1e-4, "warmup": f"{max(1, steps // 20)} steps"},
        "precision": precision,
        "metrics_every": 50,
    }
    return RunPlan.model_validate({**settings, **changes})
