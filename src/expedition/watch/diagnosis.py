"""What the trainer knew at the bad step, put in order: gradients by part, activations by part, samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from expedition.errors import InputError


@dataclass(frozen=True, slots=True)
class Activation:
    """Statistics of one part's output. None where the number is not finite."""

    part: str
    mean: float | None
    std: float | None
    absmax: float | None
    nonfinite: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Evidence of one step and what stands out in it."""

    gradients: dict[str, float | None]
    """L2 norm of the gradients by part; None = not finite."""
    activations: tuple[Activation, ...]
    samples: tuple[str, ...]
    """Sample ids of the step's global batch."""
    findings: tuple[str, ...]
    """Sentences, most telling first; empty when nothing stands out."""

    def document(self) -> dict[str, Any]:
        """As JSON, with the fields `gradients`, `activations` (by part), `samples`, `findings`."""
        activations = {a.part: {k: v for k, v in asdict(a).items() if k != "part"} for a in self.activations}
        return {
            "gradients": self.gradients,
            "activations": activations,
            "samples": list(self.samples),
            "findings": list(self.findings),
        }


def diagnose(handed: Mapping[str, Any]) -> Diagnosis:
    """Order what the trainer hands over.

    `handed`: `gradients` {part: norm}, `activations` {part: {mean, std, absmax, nonfinite}} or {part: std},
    `samples` [id, ...]; each may be missing. Raises InputError when one of them has another form.
    """
    gradients = {part: _number(value) for part, value in _mapping(handed, "gradients").items()}
    activations = tuple(_activation(part, value) for part, value in _mapping(handed, "activations").items())
    samples = handed.get("samples", ())
    if isinstance(samples, str) or (not isinstance(samples, Sequence) and not hasattr(samples, "tolist")):
        raise InputError(f"samples must be a list of ids, not {type(samples).__name__}", where="diagnosis")
    ids = tuple(str(sample) for sample in samples)
    return Diagnosis(gradients, activations, ids, tuple(_findings(gradients, activations)))


def _findings(gradients: Mapping[str, float | None], activations: Sequence[Activation]) -> list[str]:
    found = [f"gradient of {part} is not finite" for part, norm in gradients.items() if norm is None]
    found += [f"{a.nonfinite} non-finite activations in {a.part}" for a in activations if a.nonfinite]
    finite = {part: norm for part, norm in gradients.items() if norm is not None}
    total = math.sqrt(sum(norm * norm for norm in finite.values()))
    if finite and total > 0 and len(finite) > 1:
        part, norm = max(finite.items(), key=lambda item: item[1])
        found.append(f"{part} holds {norm * norm / (total * total):.0%} of the squared gradient norm")
    widest = max((a for a in activations if a.absmax is not None), key=lambda a: a.absmax or 0.0, default=None)
    if widest is not None and widest.absmax is not None and widest.std and widest.absmax > 20 * widest.std:
        ratio = widest.absmax / widest.std
        found.append(f"{widest.part} has outliers: largest activation {ratio:.0f} standard deviations")
    return found


def _activation(part: str, value: Any) -> Activation:
    if not isinstance(value, Mapping):
        return Activation(part, None, _number(value), None, 0)
    numbers = {name: _number(value.get(name)) for name in ("mean", "std", "absmax")}
    return Activation(part, numbers["mean"], numbers["std"], numbers["absmax"], int(value.get("nonfinite", 0)))


def _mapping(handed: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = handed.get(name) or {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} must map parts to numbers, not {type(value).__name__}", where="diagnosis")
    return value


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None
