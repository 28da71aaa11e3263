"""Where a token stands: interleaved three-axis rotary positions of the decoder, row and column ones of the encoder.

Shapes: B batch, S sequence, D head size, d = D/2 frequency pairs, P patches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expedition.kernels.norm_rope import rotary_table

__all__ = ["decoder_rotary", "inverse_frequencies", "vision_rotary"]


def inverse_frequencies(size: int, theta: float, device: torch.device) -> Tensor:
    """`theta^(-2i/size)` for i in 0..size/2, float32."""
    return 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.float32, device=device) / size))


def decoder_rotary(
    positions_3BS: Tensor, head_dim: int, theta: float, section: tuple[int, int, int], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, S, 1, D]: pair i turns with time, row or column as i mod 3 says, within the sections.

    Pairs 1, 4, 7 … (section[1] of them) turn with the row, 2, 5, 8 … (section[2]) with the column, the rest with time:
    "interleaved MRoPE". Angles are float32 whatever the dtype of positions, the result has `dtype`.
    """
    axis_d = torch.zeros(head_dim // 2, dtype=torch.long, device=positions_3BS.device)
    axis_d[1 : 3 * section[1] : 3] = 1
    axis_d[2 : 3 * section[2] : 3] = 2
    frequency_d = inverse_frequencies(head_dim, theta, positions_3BS.device)
    angle_BSd = positions_3BS.float().index_select(0, axis_d).permute(1, 2, 0) * frequency_d
    cos, sin = rotary_table(angle_BSd)
    return cos.to(dtype), sin.to(dtype)


def vision_rotary(row_column_2P: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [P, 1, D] float32: the first half of the pairs turns with the row, the second with the column."""
    frequency = inverse_frequencies(head_dim // 2, 10000.0, row_column_2P.device)
    angle_2Pq = row_column_2P.float().unsqueeze(-1) * frequency
    return rotary_table(torch.cat((angle_2Pq[0], angle_2Pq[1]), dim=-1))
