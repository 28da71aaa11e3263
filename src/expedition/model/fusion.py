"""Where media meet text: encoder features take the places of the pad tokens that stand for them.

Shapes: B batch, S sequence, T = B·S tokens, H hidden, N features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expedition.errors import InputError
from expedition.kernels.host import is_readable
from expedition.plan.shapes import TokenIds

__all__ = ["add_features", "audio_places", "place_features", "touch", "visual_places"]


def visual_places(tokens_BS: Tensor, ids: TokenIds, features: int) -> Tensor:
    """Flat places of the image and video pad tokens [N], in order; InputError if they are not `features` many."""
    return _places((tokens_BS == ids.image_pad) | (tokens_BS == ids.video_pad), features, "image and video")


def audio_places(tokens_BS: Tensor, ids: TokenIds, features: int) -> Tensor:
    """Flat places of the audio pad tokens [N], in order; raises InputError where they are not `features` many."""
    return _places(tokens_BS == ids.audio_pad, features, "audio")


def _places(mask_BS: Tensor, features: int, kind: str) -> Tensor:
    # The size is known from the grids on the host, so no device waits for a count; it is checked where that is free.
    if is_readable(mask_BS) and (count := int(mask_BS.sum())) != features:
        raise InputError(
            f"{count} {kind} pad tokens stand for {features} {kind} features",
            where="model input",
            fix="expand each media token to as many pad tokens as its grid or its frames give (programme.media)",
        )
    return torch.nonzero_static(mask_BS.flatten(), size=features).squeeze(1)


def place_features(x_BSH: Tensor, index_N: Tensor, features_NH: Tensor) -> Tensor:
    """Features in the place of the embeddings at `index_N`."""
    return x_BSH.flatten(0, 1).index_copy(0, index_N, features_NH.to(x_BSH.dtype)).view_as(x_BSH)


def add_features(x_BSH: Tensor, index_N: Tensor, features_NH: Tensor) -> Tensor:
    """Features added to the hidden states at `index_N` (places are distinct, so the sum has one order)."""
    return x_BSH.flatten(0, 1).index_add(0, index_N, features_NH.to(x_BSH.dtype)).view_as(x_BSH)


def touch(x_BSH: Tensor, unused: list[Tensor]) -> Tensor:
    """x plus zero times each tensor: an encoder without input still takes part in the step.

    Its parameters get a zero gradient on every rank, so that ranks with and without media run the same collectives.
    """
    for tensor in unused:
        x_BSH = x_BSH + 0.0 * tensor.sum().to(x_BSH.dtype)
    return x_BSH
