"""Activation recomputation: a layer keeps its input and runs again in the backward pass; same bits, less memory.

What a step counts (router choices) comes from the outputs of the first pass alone: the second is thrown away but for
its saved tensors, so nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from expedition.model.audio import AudioLayer
from expedition.model.decoder import DecoderLayer
from expedition.model.vision import VisionBlock

__all__ = ["Recompute", "recompute_layers"]

Recompute = Literal["none", "layers", "selective"]
"""none keeps everything; layers keeps each layer's input; selective also keeps what is dear to make again."""

_KEPT = {
    "aten": (
        "mm",
        "addmm",
        "bmm",
        "_grouped_mm",
        "_scaled_mm",
        "_scaled_grouped_mm",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    ),
    "_c10d_functional": ("all_to_all_single", "reduce_scatter_tensor"),
    "expedition": ("span_attention",),
}
"""Operations whose results "selective" keeps: matrix products, attention, what came over the network."""


def recompute_layers(model: nn.Module, how: Recompute) -> None:
    """Make every layer of decoder and encoders run again in the backward pass, in place. Before FSDP2 is applied.

    The layer's `forward` is replaced, so names and modules stay what they are, and the hooks of FSDP2, which gathers a
    layer once for its second pass and its gradient, stay outside of what runs twice.
    """
    if how == "none":
        return
    for module in model.modules():
        if isinstance(module, DecoderLayer | VisionBlock | AudioLayer):
            module.forward = partial(  # type: ignore[method-assign]
                checkpoint,
                module.forward,
                use_reentrant=False,
                preserve_rng_state=False,  # nothing in a layer is random
                context_fn=partial(_contexts, module, how),
            )


def _contexts(layer: nn.Module, how: Recompute) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first and of the second pass; called when the first begins."""
    again = _parameters_as_now(layer)
    if how == "layers":
        return nullcontext(), again
    first, second = create_selective_checkpoint_contexts(_kept_operations())  # type: ignore[no-untyped-call]
    return first, _both(again, second)


def _kept_operations() -> list[torch._ops.OpOverload]:
    """Those of `_KEPT` that this torch has."""
    found = []
    for library, names in _KEPT.items():
        namespace = getattr(torch.ops, library)
        found += [getattr(namespace, name).default for name in names if hasattr(namespace, name)]
    return found


@contextmanager
def _both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(first)
        stack.enter_context(second)
        yield


def _parameters_as_now(layer: nn.Module) -> AbstractContextManager[None]:
    """A context in which `layer` has the weights that it has now.

    `torch.func.functional_call` (the cast to the compute type where nothing is sharded) puts tensors in the place of
    parameters for the first pass only; the second must differentiate the same tensors.
    """
    places: list[tuple[nn.Module, str, Any]] = [
        (module, name, weight)
        for module in layer.modules()
        for name, weight in module._parameters.items()
        if weight is not None and not isinstance(weight, nn.Parameter)
    ]
    return _in_place_of(places) if places else nullcontext()


@contextmanager
def _in_place_of(places: list[tuple[nn.Module, str, Any]]) -> Iterator[None]:
    originals = [module._parameters[name] for module, name, _ in places]
    try:
        for module, name, weight in places:
            module._parameters[name] = weight
        yield
    finally:
        for (module, name, _), original in zip(places, originals, strict=True):
            module._parameters[name] = original
