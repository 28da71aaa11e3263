"""The way back to the compute type, module by module, when FP8 loses too much for too long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from expedition.plan.precision import Fp8FallbackPlan
from expedition.train.fp8.layers import fp8_modules

__all__ = ["FallbackRule", "Shares", "switch_off", "switched_off"]

Shares = Mapping[str, Mapping[str, tuple[float, float]]]
"""By module and tensor: share of zeros, share of saturated values."""


class FallbackRule:
    """Counts how often each tensor of a module was above the plan's shares, one time after the other."""

    def __init__(self, plan: Fp8FallbackPlan) -> None:
        self.plan = plan
        self._high: dict[tuple[str, str], int] = {}

    def observe(self, shares: Shares) -> dict[str, str]:
        """One count's shares → modules that fall back now, with the reason."""
        fallen: dict[str, str] = {}
        for module, tensors in shares.items():
            for tensor, (zeros, saturated) in tensors.items():
                key = (module, tensor)
                why = self._why(tensor, zeros, saturated)
                self._high[key] = 0 if why is None else self._high.get(key, 0) + 1
                if why is not None and self._high[key] >= self.plan.counts:
                    fallen.setdefault(module, f"{why} in {self._high[key]} counts")
        return fallen

    def _why(self, tensor: str, zeros: float, saturated: float) -> str | None:
        if not zeros <= self.plan.zeros_share:
            return f"{zeros:.1%} of {tensor} came out as zero (at most {self.plan.zeros_share:.1%})"
        if not saturated <= self.plan.saturated_share:
            return f"{saturated:.1%} of {tensor} is at the format's largest (at most {self.plan.saturated_share:.1%})"
        return None


def switch_off(model: nn.Module, names: Iterable[str]) -> list[str]:
    """These modules multiply in the compute type from now on; those that did not already, in order."""
    known = fp8_modules(model)
    changed = [name for name in names if name in known and known[name].fp8.active]
    for name in changed:
        known[name].fp8.active = False
        known[name].fp8.counts = None
    return changed


def switched_off(model: nn.Module) -> list[str]:
    """Modules that were switched off."""
    return [name for name, module in fp8_modules(model).items() if not module.fp8.active]
