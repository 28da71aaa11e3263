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
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import is_fake
from torch.utils._python_dispatch import _disable_current_modes

from expedition.kernels.gluon_jit import GLUON
from expedition.kernels.hopper_layer import HopperLayer
from expedition.kernels.hopper_rows import hidden_and_act, plan_tiles, product
from expedition.kernels.hopper_weights import weight_gradient
from expedition.kernels.routing import route

__all__ = ["fits", "largest_error", "layer_error", "layer_of_one_expert"]

_TOLERANCE = 0.012
"""Of the largest entry: bf16 results of float32 sums, two roundings of 2⁻⁹ and one of an input."""
_LAYER_TOLERANCE = 0.03
"""The same for the whole layer, which rounds several times on the way."""
_REPEATS = 16
"""A race shows as other bits in some of so many runs."""


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
            whole = layer_error(torch.device("cuda", device))
        problem = None if error <= _TOLERANCE else f"they are off by {error:.3f} of the largest entry"
        if problem is None and not whole <= _LAYER_TOLERANCE:
            problem = f"a layer with all tokens at one expert differs from itself or is off by {whole:.3f}"
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


class _Saved:
    """What autograd would keep, without it: the check may run inside a checkpointed pass, whose hooks it must not meet."""

    needs_input_grad = (True, True, False, False, False, True, True)
    saved_tensors: tuple[Tensor, ...] = ()
    once: Any = None

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors


def layer_error(
    device: torch.device, tokens: int = 128, hidden: int = 256, inner: int = 256, experts: int = 4
) -> float:
    """As `largest_error`, of the layer's value and every gradient where all tokens choose one expert.

    Infinite where one of several runs has other bits, or an expert without a row has a gradient.
    """
    generator = torch.Generator(device=device).manual_seed(0)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, device=device, generator=generator).mul_(scale).bfloat16()

    x, weight, grad = normal(tokens, hidden), normal(tokens, 1).abs(), normal(tokens, hidden)
    gate_up, down = (
        normal(experts, 2 * inner, hidden, scale=hidden**-0.5),
        normal(experts, hidden, inner, scale=inner**-0.5),
    )
    routing = route(torch.zeros(tokens, 1, dtype=torch.int64, device=device), experts)
    runs = []
    for _ in range(_REPEATS):
        saved = _Saved()
        y = HopperLayer.forward(saved, x, weight, *routing, gate_up, down)
        grad_x, grad_weight, _, _, _, *grad_experts = HopperLayer.backward(saved, grad)
        runs.append([part for part in (y, grad_x, grad_weight, *grad_experts) if part is not None])
    first = runs[0]
    if not all(torch.equal(part, again) for run in runs[1:] for part, again in zip(first, run, strict=True)):
        return float("inf")
    *rest, grad_gate_up, grad_down = first
    if bool(grad_gate_up[1:].any() | grad_down[1:].any()):
        return float("inf")
    expected = layer_of_one_expert(*(t.float() for t in (x, weight, gate_up[0], down[0], grad)))
    pairs = zip([*rest, grad_gate_up[0], grad_down[0]], expected, strict=True)
    errors = [(got.float() - want).abs().max() / want.abs().max() for got, want in pairs]
    return float(torch.stack(errors).nan_to_num(nan=torch.inf).max())


def layer_of_one_expert(
    x_TH: Tensor, weight_T1: Tensor, gate_up_2FH: Tensor, down_HF: Tensor, grad_TH: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Value of one expert's rows and the gradients of x, weight, gate and up, down; plain torch."""
    gate, up = (x_TH @ gate_up_2FH.t()).chunk(2, dim=1)
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    grad_act = grad_TH @ down_HF
    grad_weight_T1 = (grad_act * silu * up).sum(1, keepdim=True)
    grad_plain = grad_act * weight_T1
    slope = sigmoid + silu * (1 - sigmoid)
    grad_hidden = torch.cat((grad_plain * up * slope, grad_plain * silu), dim=1)
    act = silu * up * weight_T1
    return act @ down_HF.t(), grad_hidden @ gate_up_2FH, grad_weight_T1, grad_hidden.t() @ x_TH, grad_TH.t() @ act
