"""Rotary turn of queries and keys, alone or after an RMS norm of each head: plain torch, and one Triton kernel each way.

Shapes: B batch, S sequence, T = B·S tokens, N query heads, K key heads, D head size, d = D/2 pairs, P partial sums; `…` any
leading sizes.

The kernels round after the norm and after its weight, as the reference does, and once after the turn, where the reference
rounds its two products too: at most one step of the dtype (relative to the larger of a pair) lies between them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

from expedition.kernels.rms_norm import rms_norm_reference
from expedition.kernels.triton_jit import jit, jit_varying, launches, next_power_of_2, tl

__all__ = ["qk_norm_rope", "qk_norm_rope_reference", "qk_rope", "rotary_table", "rotate"]

PARTIALS, WARPS = 1024, 4
"""Most programs of a backward pass; warps of every program."""


def rotary_table(angle_BSd: Tensor) -> tuple[Tensor, Tensor]:
    """Angles of D/2 pairs [B, S, D/2] → cosine and sine [B, S, 1, D], each half twice (rotate-half layout)."""
    cos, sin = angle_BSd.cos(), angle_BSd.sin()
    return torch.cat((cos, cos), dim=-1).unsqueeze(-2), torch.cat((sin, sin), dim=-1).unsqueeze(-2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn heads `x` [..., N, D] by `rotary_table` values broadcast over N: `x·cos + rotate_half(x)·sin`."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def qk_norm_rope_reference(
    q_BSND: Tensor, k_BSKD: Tensor, q_weight: Tensor, k_weight: Tensor, rotary: tuple[Tensor, Tensor], eps: float
) -> tuple[Tensor, Tensor]:
    """The definition: each head RMS-normed with its weight [D], then turned."""
    q_BSND = rotate(rms_norm_reference(q_BSND, q_weight, eps), *rotary)
    return q_BSND, rotate(rms_norm_reference(k_BSKD, k_weight, eps), *rotary)


def qk_norm_rope(
    q_BSND: Tensor, k_BSKD: Tensor, q_weight: Tensor, k_weight: Tensor, rotary: tuple[Tensor, Tensor], eps: float
) -> tuple[Tensor, Tensor]:
    """Queries and keys normed by head and turned by `rotary_table` values [B, S, 1, D]."""
    cos, sin = rotary
    one_type = len({x.dtype for x in (q_BSND, k_BSKD, q_weight, k_weight, cos, sin)}) == 1
    if not (one_type and _fits(q_BSND, k_BSKD, cos)):
        return qk_norm_rope_reference(q_BSND, k_BSKD, q_weight, k_weight, rotary, eps)
    q_BSND, k_BSKD = _NormTurn.apply(q_BSND, k_BSKD, q_weight, k_weight, cos, sin, eps)  # type: ignore[no-untyped-call]
    return q_BSND, k_BSKD


def qk_rope(q_BSND: Tensor, k_BSKD: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Queries and keys turned in float32 by float32 `rotary_table` values [B, S, 1, D], in their own dtype."""
    if not _fits(q_BSND, k_BSKD, rotary[0]):
        return rotate(q_BSND.float(), *rotary).to(q_BSND.dtype), rotate(k_BSKD.float(), *rotary).to(k_BSKD.dtype)
    q_BSND, k_BSKD = _Turn.apply(q_BSND, k_BSKD, *rotary)  # type: ignore[no-untyped-call]
    return q_BSND, k_BSKD


def _fits(q_BSND: Tensor, k_BSKD: Tensor, cos: Tensor) -> bool:
    """Where the kernels run: a table row for each token."""
    whole = cos.shape[:2] == q_BSND.shape[:2] == k_BSKD.shape[:2]
    return launches(q_BSND) and not is_fake(q_BSND) and whole and q_BSND.numel() > 0


@jit
def _pairs(at, heads, lanes, head, lane):  # type: ignore[no-untyped-def]
    """First and second half of the heads [heads, 2 · lanes] at `at`, float32, zeros outside."""
    here = (head < heads)[:, None] & (lane < lanes)[None, :]
    place = at + head[:, None] * (2 * lanes) + lane[None, :]
    first = tl.load(place, mask=here, other=0.0).to(tl.float32)
    return first, tl.load(place + lanes, mask=here, other=0.0).to(tl.float32)


@jit
def _put_pairs(at, heads, lanes, head, lane, first, second):  # type: ignore[no-untyped-def]
    here = (head < heads)[:, None] & (lane < lanes)[None, :]
    place = at + head[:, None] * (2 * lanes) + lane[None, :]
    tl.store(place, first.to(at.dtype.element_ty), mask=here)
    tl.store(place + lanes, second.to(at.dtype.element_ty), mask=here)


@jit
def _turned(x_at, out_at, weight_at, cos_d, sin_d, eps, heads, lanes, head, lane, NORM: tl.constexpr):  # type: ignore[no-untyped-def]
    """One token's heads, normed where NORM says so, and turned."""
    dtype = x_at.dtype.element_ty
    first, second = _pairs(x_at, heads, lanes, head, lane)
    if NORM:
        scale = 1.0 / tl.sqrt((tl.sum(first * first, 1) + tl.sum(second * second, 1)) / (2 * lanes) + eps)
        weight_1 = tl.load(weight_at + lane, mask=lane < lanes, other=0.0).to(tl.float32)
        weight_2 = tl.load(weight_at + lanes + lane, mask=lane < lanes, other=0.0).to(tl.float32)
        first = ((first * scale[:, None]).to(dtype).to(tl.float32) * weight_1[None, :]).to(dtype).to(tl.float32)
        second = ((second * scale[:, None]).to(dtype).to(tl.float32) * weight_2[None, :]).to(dtype).to(tl.float32)
    turned_1 = first * cos_d[None, :] - second * sin_d[None, :]
    turned_2 = second * cos_d[None, :] + first * sin_d[None, :]
    _put_pairs(out_at, heads, lanes, head, lane, turned_1, turned_2)


@jit
def _qk_norm_rope_forward(  # type: ignore[no-untyped-def]
    q_at, k_at, q_out_at, k_out_at, q_weight_at, k_weight_at, cos_at, sin_at, sign, eps, q_row, k_row,
    N: tl.constexpr, K: tl.constexpr, d: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_d: tl.constexpr,
    NORM: tl.constexpr,
):  # fmt: skip
    """One token; `sign` -1.0 turns back."""
    token = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK_d)
    cos_d = tl.load(cos_at + token * (2 * d) + lane, mask=lane < d, other=0.0).to(tl.float32)
    sin_d = tl.load(sin_at + token * (2 * d) + lane, mask=lane < d, other=0.0).to(tl.float32) * sign
    n, k = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    _turned(q_at + token * q_row, q_out_at + token * (N * 2 * d), q_weight_at, cos_d, sin_d, eps, N, d, n, lane, NORM)
    _turned(k_at + token * k_row, k_out_at + token * (K * 2 * d), k_weight_at, cos_d, sin_d, eps, K, d, k, lane, NORM)


@jit
def _turned_back(  # type: ignore[no-untyped-def]
    x_at, dout_at, dx_at, weight_1, weight_2, cos_d, sin_d, eps, heads, lanes, head, lane
):
    """Gradient of one token's heads → its part of the weight's, first and second half."""
    dtype = x_at.dtype.element_ty
    dout_1, dout_2 = _pairs(dout_at, heads, lanes, head, lane)
    dnormed_1 = dout_1 * cos_d[None, :] + dout_2 * sin_d[None, :]
    dnormed_2 = dout_2 * cos_d[None, :] - dout_1 * sin_d[None, :]
    first, second = _pairs(x_at, heads, lanes, head, lane)
    size = 2 * lanes
    scale = 1.0 / tl.sqrt((tl.sum(first * first, 1) + tl.sum(second * second, 1)) / size + eps)
    first, second = first * scale[:, None], second * scale[:, None]
    dweight_1 = tl.sum(dnormed_1 * first.to(dtype).to(tl.float32), 0)
    dweight_2 = tl.sum(dnormed_2 * second.to(dtype).to(tl.float32), 0)
    dnormed_1, dnormed_2 = dnormed_1 * weight_1[None, :], dnormed_2 * weight_2[None, :]
    along = (tl.sum(dnormed_1 * first, 1) + tl.sum(dnormed_2 * second, 1)) / size
    dx_1 = (dnormed_1 - first * along[:, None]) * scale[:, None]
    dx_2 = (dnormed_2 - second * along[:, None]) * scale[:, None]
    _put_pairs(dx_at, heads, lanes, head, lane, dx_1, dx_2)
    return dweight_1, dweight_2


@jit_varying("tokens")
def _qk_norm_rope_backward(  # type: ignore[no-untyped-def]
    q_at, k_at, dq_out_at, dk_out_at, dq_at, dk_at, q_weight_at, k_weight_at, dweight_at, cos_at, sin_at, eps, tokens,
    q_row, k_row,
    N: tl.constexpr, K: tl.constexpr, d: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_d: tl.constexpr,
):  # fmt: skip
    """Gradients of tokens p, p + P, … and this program's part of both weights': [q first, q second, k first, k second]."""
    lane = tl.arange(0, BLOCK_d)
    here = lane < d
    n, k = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_K)
    q_weight_1 = tl.load(q_weight_at + lane, mask=here, other=0.0).to(tl.float32)
    q_weight_2 = tl.load(q_weight_at + d + lane, mask=here, other=0.0).to(tl.float32)
    k_weight_1 = tl.load(k_weight_at + lane, mask=here, other=0.0).to(tl.float32)
    k_weight_2 = tl.load(k_weight_at + d + lane, mask=here, other=0.0).to(tl.float32)
    dq_weight_1, dq_weight_2 = tl.zeros((BLOCK_d,), tl.float32), tl.zeros((BLOCK_d,), tl.float32)
    dk_weight_1, dk_weight_2 = tl.zeros((BLOCK_d,), tl.float32), tl.zeros((BLOCK_d,), tl.float32)
    for number in range(tl.program_id(0), tokens, tl.num_programs(0)):
        token = tl.cast(number, tl.int64)
        cos_d = tl.load(cos_at + token * (2 * d) + lane, mask=here, other=0.0).to(tl.float32)
        sin_d = tl.load(sin_at + token * (2 * d) + lane, mask=here, other=0.0).to(tl.float32)
        q_out, k_out = token * (N * 2 * d), token * (K * 2 * d)
        part_1, part_2 = _turned_back(
            q_at + token * q_row,
            dq_out_at + q_out,
            dq_at + q_out,
            q_weight_1,
            q_weight_2,
            cos_d,
            sin_d,
            eps,
            N,
            d,
            n,
            lane,
        )
        dq_weight_1 += part_1
        dq_weight_2 += part_2
        part_1, part_2 = _turned_back(
            k_at + token * k_row,
            dk_out_at + k_out,
            dk_at + k_out,
            k_weight_1,
            k_weight_2,
            cos_d,
            sin_d,
            eps,
            K,
            d,
            k,
            lane,
        )
        dk_weight_1 += part_1
        dk_weight_2 += part_2
    dweight_at += tl.program_id(0) * (4 * d) + lane
    tl.store(dweight_at, dq_weight_1, mask=here)
    tl.store(dweight_at + d, dq_weight_2, mask=here)
    tl.store(dweight_at + 2 * d, dk_weight_1, mask=here)
    tl.store(dweight_at + 3 * d, dk_weight_2, mask=here)


def _rows(x: Tensor) -> Tensor:
    """Tokens [T, heads, D] whose heads lie side by side; rows may be apart (a part of a joint projection)."""
    x_TND = x.flatten(0, 1)
    return x_TND if x_TND.stride()[1:] == (x.shape[-1], 1) else x_TND.contiguous()


def _sizes(q_TND: Tensor, k_TKD: Tensor) -> dict[str, int]:
    heads, kv_heads, pairs = q_TND.shape[1], k_TKD.shape[1], q_TND.shape[2] // 2
    blocks = [next_power_of_2(size) for size in (heads, kv_heads, pairs)]
    return dict(zip(("N", "K", "d", "BLOCK_N", "BLOCK_K", "BLOCK_d"), (heads, kv_heads, pairs, *blocks), strict=True))


def _turn(
    q_BSND: Tensor,
    k_BSKD: Tensor,
    weights: tuple[Tensor, Tensor] | None,
    cos: Tensor,
    sin: Tensor,
    sign: float,
    eps: float,
) -> tuple[Tensor, Tensor]:
    q_TND, k_TKD = _rows(q_BSND), _rows(k_BSKD)
    q_out = torch.empty(q_BSND.shape, dtype=q_BSND.dtype, device=q_BSND.device)
    k_out = torch.empty(k_BSKD.shape, dtype=k_BSKD.dtype, device=k_BSKD.device)
    _qk_norm_rope_forward[(q_TND.shape[0],)](
        q_TND, k_TKD, q_out, k_out, *(weights or (q_TND, k_TKD)), cos, sin, sign, eps, q_TND.stride(0), k_TKD.stride(0),
        **_sizes(q_TND, k_TKD), NORM=weights is not None, num_warps=WARPS,
    )  # fmt: skip
    return q_out, k_out


class _Turn(torch.autograd.Function):
    """The gradient is the turn the other way."""

    @staticmethod
    def forward(ctx: Any, q_BSND: Tensor, k_BSKD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.save_for_backward(cos, sin)
        return _turn(q_BSND, k_BSKD, None, cos, sin, 1.0, 0.0)

    @staticmethod
    def backward(ctx: Any, dq_out: Tensor, dk_out: Tensor) -> tuple[Tensor, Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return *_turn(dq_out, dk_out, None, cos, sin, -1.0, 0.0), None, None


class _NormTurn(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q_BSND: Tensor,
        k_BSKD: Tensor,
        q_weight: Tensor,
        k_weight: Tensor,
        cos: Tensor,
        sin: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.save_for_backward(_rows(q_BSND), _rows(k_BSKD), q_weight, k_weight, cos, sin)
        ctx.eps = eps
        return _turn(q_BSND, k_BSKD, (q_weight, k_weight), cos, sin, 1.0, eps)

    @staticmethod
    def backward(ctx: Any, dq_out: Tensor, dk_out: Tensor) -> tuple[Tensor | None, ...]:
        q_TND, k_TKD, q_weight, k_weight, cos, sin = ctx.saved_tensors
        dq_out, dk_out = dq_out.contiguous(), dk_out.contiguous()
        dq, dk = torch.empty_like(dq_out), torch.empty_like(dk_out)
        tokens, sizes = q_TND.shape[0], _sizes(q_TND, k_TKD)
        programs = min(tokens, PARTIALS)
        dweight_P4d = torch.empty(programs, 4 * sizes["d"], dtype=torch.float32, device=q_TND.device)
        _qk_norm_rope_backward[(programs,)](
            q_TND, k_TKD, dq_out, dk_out, dq, dk, q_weight, k_weight, dweight_P4d, cos, sin, ctx.eps, tokens,
            q_TND.stride(0), k_TKD.stride(0), **sizes, num_warps=WARPS,
        )  # fmt: skip
        dq_weight, dk_weight = dweight_P4d.sum(0).to(q_weight.dtype).chunk(2)
        return dq, dk, dq_weight, dk_weight, None, None, None
