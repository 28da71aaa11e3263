"""Linear layers of other libraries in the place of the model's: same parameters, same names, their FP8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from expedition.kernels.quantize import FORMATS
from expedition.plan.precision import Fp8Plan

__all__ = ["torchao_linear", "transformer_engine_linear"]


def torchao_linear(module: nn.Linear, plan: Fp8Plan, *, emulated: bool) -> nn.Module:
    """torchao's `Float8Linear` around the module's own parameters, by the plan's recipe, formats and scales."""
    from torchao.float8 import CastConfig, Float8LinearConfig
    from torchao.float8.config import ScalingGranularity, ScalingType
    from torchao.float8.float8_linear import Float8Linear

    rows = plan.recipe == "rowwise"
    granularity = ScalingGranularity.AXISWISE if rows else ScalingGranularity.TENSORWISE

    def cast(format_name: str, on: bool = True) -> Any:
        if not on:
            return CastConfig(scaling_type=ScalingType.DISABLED, target_dtype=FORMATS[format_name])
        return CastConfig(scaling_granularity=granularity, target_dtype=FORMATS[format_name])

    low = plan.weight_gradient == "fp8"
    config = Float8LinearConfig(
        cast_config_input=cast(plan.forward),
        cast_config_weight=cast(plan.forward),
        cast_config_grad_output=cast(plan.gradient),
        cast_config_input_for_grad_weight=cast(plan.forward, low),
        cast_config_grad_output_for_grad_weight=cast(plan.gradient, low),
        round_scales_to_power_of_2=plan.scales == "power_of_two",
        emulate=emulated,
    )
    made: nn.Module = Float8Linear.from_float(module, config)
    return made


def transformer_engine_linear(module: nn.Linear, plan: Fp8Plan) -> nn.Module:
    """TransformerEngine's `Linear` around the module's own parameters, in an FP8 context of its own."""
    import transformer_engine.pytorch as te
    from transformer_engine.common import recipe as recipes

    forward = recipes.Format.E4M3 if plan.gradient == "e4m3" else recipes.Format.HYBRID
    chosen = recipes.Float8CurrentScaling if plan.recipe == "tensorwise" else recipes.Float8BlockScaling
    recipe = chosen(fp8_format=forward)

    class InContext(te.Linear):  # type: ignore[misc]
        def forward(self, input: Tensor) -> Tensor:
            with te.fp8_autocast(enabled=True, fp8_recipe=recipe):
                out: Tensor = super().forward(input)
                return out

    made = InContext(
        module.in_features, module.out_features, bias=module.bias is not None, params_dtype=module.weight.dtype,
        device=torch.device("meta"),
    )  # fmt: skip
    made.weight = module.weight
    if module.bias is not None:
        made.bias = module.bias
    return made
