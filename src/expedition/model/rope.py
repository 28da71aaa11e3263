"""Where a token stands: interleaved three-axis rotary positions of the decoder, row and column ones of the encoder.

Shapes: B batch, S sequence, D head size, d = D/2 frequency pairs, P patches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from expedition.kernels.qk_norm_rope import rotary_table
from expedition.plan.positions import RopeScaling

__all__ = ["attention_factor", "decoder_rotary", "inverse_frequencies", "scaled_frequencies", "vision_rotary"]


def inverse_frequencies(size: int, theta: float, device: torch.device) -> Tensor:
    """`theta^(-2i/size)` for i in 0..size/2, float32."""
    return 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.float32, device=device) / size))


def scaled_frequencies(size: int, theta: float, scaling: RopeScaling | None, device: torch.device) -> Tensor:
    """Frequencies [size/2] of the decoder's pairs, float32, stretched by `scaling`.

    linear (Chen et al. 2023, arXiv:2306.15595): all ÷ factor. yarn (Peng et al. 2023, arXiv:2309.00071, section 3.2):
    a pair that turns more than `beta_fast` times within the original length keeps its frequency, one that turns less
    than `beta_slow` times has it ÷ factor, and between them a linear ramp over the pairs' numbers.
    """
    plain_d = inverse_frequencies(size, theta, device)
    if scaling is None:
        return plain_d
    if scaling.kind == "linear":
        return plain_d / scaling.factor
    low, high = (_pair_that_turns(times, size, theta, scaling) for times in (scaling.beta_fast, scaling.beta_slow))
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    pairs_d = torch.arange(size // 2, dtype=torch.float32, device=device)
    stretched_d = ((pairs_d - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return plain_d / scaling.factor * stretched_d + plain_d * (1 - stretched_d)


def _pair_that_turns(times: float, size: int, theta: float, scaling: RopeScaling) -> float:
    """Number (not whole) of the pair that turns so often within the original length."""
    return size * math.log(scaling.original_max_positions / (times * 2 * math.pi)) / (2 * math.log(theta))


def attention_factor(scaling: RopeScaling | None) -> float:
    """What cosine and sine are multiplied by, so that logits grow by its square: 1 but for yarn."""
    if scaling is None or scaling.kind != "yarn":
        return 1.0
    return 0.1 * math.log(scaling.factor) + 1.0 if scaling.attention_factor is None else scaling.attention_factor


def decoder_rotary(
    positions_3BS: Tensor,
    head_dim: int,
    theta: float,
    section: tuple[int, int, int],
    dtype: torch.dtype,
    scaling: RopeScaling | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, S, 1, D]: pair i turns with time, row or column as i mod 3 says, within the sections.

    Pairs 1, 4, 7 … (section[1] of them) turn with the row, 2, 5, 8 … (section[2]) with the column, the rest with time:
    "interleaved MRoPE". Angles are float32 whatever the dtype of positions, the result has `dtype`.
    """
    axis_d = torch.zeros(head_dim // 2, dtype=torch.long, device=positions_3BS.device)
    axis_d[1 : 3 * section[1] : 3] = 1
    axis_d[2 : 3 * section[2] : 3] = 2
    frequency_d = scaled_frequencies(head_dim, theta, scaling, positions_3BS.device)
    angle_BSd = positions_3BS.float().index_select(0, axis_d).permute(1, 2, 0) * frequency_d
    cos, sin = rotary_table(angle_BSd)
    factor = attention_factor(scaling)
    if factor != 1.0:
        cos, sin = cos * factor, sin * factor
    return cos.to(dtype), sin.to(dtype)


def vision_rotary(row_column_2P: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [P, 1, D] float32: the first half of the pairs turns with the row, the second with the column."""
    frequency = inverse_frequencies(head_dim // 2, 10000.0, row_column_2P.device)
    angle_2Pq = row_column_2P.float().unsqueeze(-1) * frequency
    return rotary_table(torch.cat((angle_2Pq[0], angle_2Pq[1]), dim=-1))
