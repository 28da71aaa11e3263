"""RMS norm and rotary turn: the two small operations around every product of the decoder.

Shapes: B batch, S sequence, N heads, D head size; `…` any leading sizes.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rms_norm", "rotary_table", "rotate"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`weight * x / sqrt(mean(x²) + eps)` over the last size, in x's dtype.

    The mean square is float32, and the weight multiplies after the cast back, as in the exported class.
    """
    x32 = x.float()
    return weight * (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def rotary_table(angle_BSd: Tensor) -> tuple[Tensor, Tensor]:
    """Angles of D/2 pairs [B, S, D/2] → cosine and sine [B, S, 1, D], each half twice (rotate-half layout)."""
    cos, sin = angle_BSd.cos(), angle_BSd.sin()
    return torch.cat((cos, cos), dim=-1).unsqueeze(-2), torch.cat((sin, sin), dim=-1).unsqueeze(-2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn heads `x` [..., N, D] by `rotary_table` values broadcast over N: `x·cos + rotate_half(x)·sin`."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
