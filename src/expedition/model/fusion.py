"""Where media meet text: encoder features take the places of the pad tokens that stand for them.

Shapes: B batch, S sequence (s of it here), T = B·S tokens, H hidden, N features, F = N + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expedition.errors import InputError
from expedition.kernels.host import is_readable
from expedition.model.spread import Spread
from expedition.plan.shapes import TokenIds

__all__ = [
    "add_features",
    "audio_places",
    "features_here",
    "place_features",
    "require_no_pads",
    "touch",
    "visual_places",
]


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


def require_no_pads(tokens_BS: Tensor, ids: TokenIds, *, patches: int, mel_frames: int) -> None:
    """Raise InputError where pad tokens stand for pictures, clips or sounds and a batch has none of these."""
    if not patches:
        visual_places(tokens_BS, ids, 0)
    if not mel_frames:
        audio_places(tokens_BS, ids, 0)


def place_features(x_BSH: Tensor, index_N: Tensor, features_NH: Tensor) -> Tensor:
    """Features in the place of the embeddings at `index_N`."""
    return x_BSH.flatten(0, 1).index_copy(0, index_N, features_NH.to(x_BSH.dtype)).view_as(x_BSH)


def add_features(x_BSH: Tensor, index_N: Tensor | None, features: Tensor) -> Tensor:
    """Features [N, H] added to the hidden states at `index_N` (places are distinct, so the sum has one order); with no
    index [B, S, H] to all of them."""
    if index_N is None:
        return x_BSH + features.to(x_BSH.dtype)
    return x_BSH.flatten(0, 1).index_add(0, index_N, features.to(x_BSH.dtype)).view_as(x_BSH)


def features_here(index_N: Tensor, features_NH: Tensor, rows: tuple[int, int], spread: Spread) -> Tensor:
    """Features [B, s, H] at this process's positions of `rows` (B, S), zero where no feature has its place."""
    count, hidden = features_NH.shape
    numbers_N = torch.arange(count, device=index_N.device)
    number_T = index_N.new_full((rows[0] * rows[1],), count).index_copy(0, index_N, numbers_N)
    number_Bs = spread.tokens(number_T.view(rows), 1)
    padded_FH = torch.cat((features_NH, features_NH.new_zeros(1, hidden)))
    return padded_FH.index_select(0, number_Bs.flatten()).view(*number_Bs.shape, hidden)


def touch(x_BSH: Tensor, unused: list[Tensor]) -> Tensor:
    """x plus zero times each tensor: an encoder without input still takes part in the step.

    Its parameters get a zero gradient on every rank, so that ranks with and without media run the same collectives.
    """
    for tensor in unused:
        x_BSH = x_BSH + 0.0 * tensor.sum().to(x_BSH.dtype)
    return x_BSH
