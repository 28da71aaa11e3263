"""What an incident of a rule keeps of the step that it saw: gradients and activations by part of the model, samples."""

from __future__ import annotations

from typing import Any

import torch

from expedition.parallel.norm import squared_norm
from expedition.train.callbacks.callback import Done
from expedition.train.compute import activation_statistics
from expedition.train.objective import Parts


def diagnose(parts: Parts, done: Done) -> dict[str, Any]:
    """Gradient norms by part, activations of the step's batch, ids of its samples. A collective.

    Activations stay unknown (empty) where the model is cut into stages: one batch does not pass a stage alone.
    """
    borrowed = parts.pipeline.borrowed if parts.pipeline is not None else frozenset()
    gradients: dict[str, list[torch.Tensor]] = {}
    for name, parameter in done.state.optimizer.parameters.items():
        if parameter.grad is not None and name not in borrowed:
            gradients.setdefault(part_of(name), []).append(parameter.grad)
    norms = {part: float(squared_norm(found, parts.ranks, of_stage=True).sqrt()) for part, found in gradients.items()}
    activations: dict[str, dict[str, float]] = {}
    if done.batches and parts.pipeline is None:
        batch = done.batches[0]
        activations = activation_statistics(parts.forward.model, lambda: parts.forward(batch))
    return {
        "gradients": parts.ranks.merge_stages(norms),
        "activations": activations,
        "samples": [str(sample) for sample in done.sample_ids],
    }


def part_of(parameter: str) -> str:
    """The part of the model that a parameter belongs to: a decoder layer, an encoder, embeddings, head or norm."""
    pieces = parameter.split(".")
    if pieces[:2] == ["model", "layers"]:
        return ".".join(pieces[:3])
    return pieces[0] if pieces[0] != "model" else ".".join(pieces[:2])
