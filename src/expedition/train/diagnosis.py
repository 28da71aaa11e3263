"""What an incident of a rule keeps of the step that it saw: gradients and activations by part of the model, samples."""

from __future__ import annotations

from typing import Any

import torch

from expedition.parallel.norm import squared_norm
from expedition.train.callbacks.callback import Done
from expedition.train.compute import activation_statistics
from expedition.train.objective import Parts
from expedition.train.pipelined import pass_batch


def diagnose(parts: Parts, done: Done) -> dict[str, Any]:
    """Gradient norms by part, activations of the step's first micro-batch, ids of its samples. A collective."""
    borrowed = parts.pipeline.borrowed if parts.pipeline is not None else frozenset()
    gradients: dict[str, list[torch.Tensor]] = {}
    for name, parameter in done.state.optimizer.parameters.items():
        if parameter.grad is not None and name not in borrowed:
            gradients.setdefault(part_of(name), []).append(parameter.grad)
    norms = {part: float(squared_norm(found, parts.ranks, of_stage=True).sqrt()) for part, found in gradients.items()}
    activations: dict[str, dict[str, float]] = {}
    if done.batches:
        batch, pipeline = done.batches[0], parts.pipeline
        activations = activation_statistics(
            parts.forward.model,
            lambda: parts.forward(batch) if pipeline is None else pass_batch(pipeline, batch),
        )
    return {
        "gradients": parts.ranks.merge_stages(norms),
        "activations": dict(sorted(parts.ranks.merge_stages(activations).items(), key=lambda part: _place(part[0]))),
        "samples": [str(sample) for sample in done.sample_ids],
    }


def _place(part: str) -> tuple[bool, int]:
    """Encoders, then layers by number: the order in which a batch passes them."""
    number = part.rpartition(".")[2]
    return (True, int(number)) if number.isdigit() else (False, 0)


def part_of(parameter: str) -> str:
    """The part of the model that a parameter belongs to: a decoder layer, an encoder, embeddings, head or norm."""
    pieces = parameter.split(".")
    if pieces[:2] == ["model", "layers"]:
        return ".".join(pieces[:3])
    return pieces[0] if pieces[0] != "model" else ".".join(pieces[:2])
