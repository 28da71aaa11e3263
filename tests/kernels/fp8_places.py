"""The plain torch that defines the FP8 kernels, and FP8 rounding under Triton's interpreter as the hardware does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from expedition.kernels import fp8_experts, fp8_swiglu, quantize
from expedition.kernels.triton_jit import INTERPRETED


@contextmanager
def plain() -> Iterator[None]:
    """Definitions in place of kernels, on the same device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "_fast", lambda _tensor: False)
        patch.setattr(fp8_experts, "fits_kernels", lambda _tensor: False)
        patch.setattr(fp8_swiglu, "fits_kernels", lambda _tensor: False)
        yield


@contextmanager
def right_rounding() -> Iterator[None]:
    """Triton 3.6's interpreter loses the carry into the exponent when it rounds to 8 bits; torch rounds right."""
    if not INTERPRETED:
        yield
        return
    import triton.language as tl
    from triton.runtime import interpreter

    formats = {"fp8e4nv": torch.float8_e4m3fn, "fp8e5": torch.float8_e5m2}
    builder = interpreter.InterpreterBuilder
    before = builder.create_fp_to_fp

    def create_fp_to_fp(self: Any, source: Any, target: Any, mode: Any) -> Any:
        if str(target.scalar) not in formats or source.dtype.scalar != tl.float32:
            return before(self, source, target, mode)
        dtype = formats[str(target.scalar)]
        value = torch.from_numpy(np.ascontiguousarray(source.data))
        largest = torch.finfo(dtype).max  # the hardware's conversion saturates, and keeps NaN
        value = torch.where(value.isnan(), value, value.clamp(-largest, largest))
        return interpreter.TensorHandle(value.to(dtype).view(torch.uint8).numpy(), target.scalar)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "create_fp_to_fp", create_fp_to_fp)
        yield
