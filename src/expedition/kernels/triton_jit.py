"""Triton where it is installed; without it the kernels' files still import and the references run.

Triton comes with CUDA builds of torch. `TRITON_INTERPRET=1` runs kernels on the CPU, one program after the other: slow, the
same arithmetic, so tests of small shapes need no GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU build of torch
    triton = tl = None

__all__ = ["INTERPRETED", "jit", "jit_varying", "launches", "next_power_of_2", "tl", "triton"]

INTERPRETED = triton is not None and os.environ.get("TRITON_INTERPRET") == "1"


def _scalars_as_bounds() -> None:
    """Let the interpreter take scalars as bounds of loops: NumPy ≥ 2.4 refuses its own conversion of one-element arrays."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patched


if INTERPRETED:
    _scalars_as_bounds()


def jit(function: Callable[..., Any], varying: Sequence[str] = ()) -> Any:
    """`triton.jit`; without Triton the function as it is, which nothing may call.

    `varying`: integers that differ from batch to batch, for which the kernel is not compiled again.
    """
    return function if triton is None else triton.jit(function, do_not_specialize=list(varying))


def jit_varying(*names: str) -> Callable[[Callable[..., Any]], Any]:
    """`jit` as a decorator with `varying` integers."""
    return partial(jit, varying=names)


def launches(tensor: Tensor) -> bool:
    """Whether Triton kernels can work on this tensor: on a CUDA device, or anywhere under the interpreter."""
    if triton is None:
        return False
    return tensor.is_cuda or (INTERPRETED and tensor.device.type == "cpu")


def next_power_of_2(size: int) -> int:
    """Smallest power of two that is not below `size`: the length of a block that holds a row."""
    return 1 << max(0, size - 1).bit_length()
