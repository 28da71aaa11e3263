"""Whether Hopper's kernels can be used: by device, dtype and sizes, and once a device by a check of their results.

Gluon is `triton.experimental`: a version of Triton may compile it otherwise than the one these kernels were measured with.
So a small layer is computed and compared before the first use; where it differs, or does not compile, a warning says so
and the other way is taken. The check waits for the device, once; after that nothing does.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.utils._python_dispatch import _disable_current_modes

from expedition.kernels.gluon_jit import GLUON
from expedition.kernels.hopper_rows import hidden_and_act, plan_tiles, product
from expedition.kernels.hopper_weights import weight_gradient

__all__ = ["fits", "largest_error"]

_TOLERANCE = 0.012
"""Of the largest entry: bf16 results of float32 sums, two roundings of 2⁻⁹ and one of an input."""


def fits(x: Tensor, gate_up_E2FH: Tensor, down_EHF: Tensor) -> bool:
    """Whether the kernels can work on these: sm_90, bf16, contiguous weights, sizes that are multiples of 64."""
    if not GLUON or not x.is_cuda or is_fake(x):
        return False
    hidden, inner = down_EHF.shape[1:]
    bf16 = x.dtype == gate_up_E2FH.dtype == down_EHF.dtype == torch.bfloat16
    plain = gate_up_E2FH.is_contiguous() and down_EHF.is_contiguous()
    return bf16 and plain and not hidden % 64 and not inner % 64 and works(x.device.index)


@functools.cache
def works(device: int) -> bool:
    """Whether this device is Hopper's and the kernels' results are right on it."""
    if torch.cuda.get_device_capability(device)[0] != 9:
        return False
    try:
        with _aside():
            error = largest_error(torch.device("cuda", device))
        problem = None if error <= _TOLERANCE else f"they are off by {error:.3f} of the largest entry"
    except Exception as refused:
        problem = f"{type(refused).__name__}: {(str(refused).splitlines() or [''])[0]}"
    if problem is not None:
        warnings.warn(f"the experts' kernels for Hopper are not used: {problem}", RuntimeWarning, stacklevel=2)
    return problem is None


@contextmanager
def _aside() -> Iterator[None]:
    """No part of what is going on: no gradient, no cast, no mode that records operations or forbids to wait."""
    forbidden = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(0)
    try:
        with torch.no_grad(), torch.autocast("cuda", enabled=False), _disable_current_modes():
            yield
    finally:
        torch.cuda.set_sync_debug_mode(forbidden)


def largest_error(
    device: torch.device, hidden: int = 320, inner: int = 192, tokens: int = 201, top_k: int = 2
) -> float:
    """Largest difference between any kernel and float32 products expert by expert, as a share of the largest entry.

    Three experts, the second without a row; neither sizes nor rows are multiples of a tile.
    """
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, generator=generator).mul_(shape[-1] ** -0.25).bfloat16()

    x, gate_up, down = normal(tokens, hidden), normal(3, 2 * inner, hidden), normal(3, hidden, inner)
    order = torch.randperm(tokens * top_k, device=device, generator=generator).to(torch.int32)
    rows, weight, cut = x[order.long() // top_k], normal(tokens * top_k, 1).squeeze(1), tokens * top_k * 2 // 3
    ends = torch.tensor([cut, cut, tokens * top_k], dtype=torch.int32, device=device)
    tiles = plan_tiles(ends, order.numel())
    parts = ((0, slice(0, cut)), (2, slice(cut, None)))

    def each(left: Tensor, stack: Tensor) -> Tensor:
        return torch.cat([left[part].float() @ stack[expert].float() for expert, part in parts])

    hidden_rows = each(rows, gate_up.transpose(1, 2)).bfloat16()
    gate, up = hidden_rows.float().chunk(2, dim=1)
    act = (torch.nn.functional.silu(gate) * up * weight.float().unsqueeze(1)).bfloat16()
    gradient = torch.zeros(3, 2 * inner, hidden, device=device)
    for expert, part in parts:
        gradient[expert] = hidden_rows[part].float().t() @ rows[part].float()
    compared = [
        *zip(hidden_and_act(x, order, top_k, weight, ends, tiles, gate_up), (hidden_rows, act), strict=True),
        *zip(hidden_and_act(rows, None, 1, weight, ends, tiles, gate_up), (hidden_rows, act), strict=True),
        (product(act, ends, tiles, down, transposed=True), each(act, down.transpose(1, 2))),
        (product(hidden_rows, ends, tiles, gate_up, transposed=False), each(hidden_rows, gate_up)),
        (weight_gradient(hidden_rows, rows, ends, tiles.heavy_E), gradient),
    ]
    errors = [(got.float() - want.float()).abs().max() / want.float().abs().max() for got, want in compared]
    return float(torch.stack(errors).nan_to_num(nan=torch.inf).max())
