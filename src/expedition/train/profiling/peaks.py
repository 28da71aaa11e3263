"""What this device reaches on the two things that bound a step: matrix products and memory traffic; measured here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

CUDA_SIZES = ((8192, 8192, 8192), (4096, 2048, 65536))
CPU_SIZES = ((768, 768, 768),)
"""(rows, inner, columns) of the products; the best rate of them counts. On the CPU large enough for its best rate, small
enough for a fraction of a second."""
CUDA_COPY_BYTES, CPU_COPY_BYTES = 1 << 30, 1 << 27
"""Of the copied tensor: far more than any cache."""
REPEATS = 10
LIMIT_S = 2.0
"""Longest for one figure; at least three repeats are timed."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Measured on `device` with the threads of the run. Products in FLOP/s by type, for the types that run here."""

    device: str
    products: dict[str, float]
    copy_bytes_per_s: float
    """Bytes read and bytes written, both counted."""

    def product_of(self, dtype: torch.dtype) -> float:
        """FLOP/s of products of this type; fp32's where the type has no figure."""
        return self.products.get(SHORT.get(dtype, ""), self.products["fp32"])

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "device": self.device,
            "product_flops_per_s": self.products,
            "copy_bytes_per_s": self.copy_bytes_per_s,
        }


SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float8_e4m3fn: "fp8"}


def measure_peaks(device: torch.device) -> Peaks:
    """The best of some repeats of each; a second or two."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else f"cpu, {torch.get_num_threads()} threads"
    kinds: dict[str, Callable[..., Callable[[], Tensor]]] = {
        "fp32": partial(_product, torch.float32),
        "bf16": partial(_product, torch.bfloat16),
    }
    if cuda and torch.cuda.get_device_capability(device) >= (8, 9):
        kinds["fp8"] = _fp8_product
    products = {kind: max(_rate(made, size, device) for size in _sizes(device)) for kind, made in kinds.items()}
    count = (CUDA_COPY_BYTES if cuda else CPU_COPY_BYTES) // 4
    source, target = torch.zeros(count, device=device), torch.empty(count, device=device)
    copy_s = _seconds(lambda: target.copy_(source), device)
    return Peaks(name, products, 2.0 * 4 * count / copy_s)


Size = tuple[int, int, int]


def _sizes(device: torch.device) -> tuple[Size, ...]:
    return CUDA_SIZES if device.type == "cuda" else CPU_SIZES


def _rate(made: Callable[[Size, torch.device], Callable[[], Tensor]], size: Size, device: torch.device) -> float:
    rows, inner, columns = size
    return 2.0 * rows * inner * columns / _seconds(made(size, device), device)


def _product(dtype: torch.dtype, size: Size, device: torch.device) -> Callable[[], Tensor]:
    rows, inner, columns = size
    a, b = (torch.randn(shape, device=device).to(dtype) for shape in ((rows, inner), (inner, columns)))
    return lambda: a @ b


def _fp8_product(size: Size, device: torch.device) -> Callable[[], Tensor]:
    rows, inner, columns = size
    a, b = (torch.randn(shape, device=device).to(torch.float8_e4m3fn) for shape in ((rows, inner), (columns, inner)))
    scale = torch.ones((), device=device)
    return lambda: torch._scaled_mm(a, b.t(), scale, scale, out_dtype=torch.bfloat16)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest call, after two that are not counted: what else runs on the machine makes none faster."""
    for _ in range(2):
        work()
    if device.type == "cuda":
        return _cuda_seconds(work)
    took: list[float] = []
    begin = time.perf_counter()
    while len(took) < 3 or (len(took) < REPEATS and time.perf_counter() - begin < LIMIT_S):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def _cuda_seconds(work: Callable[[], object]) -> float:
    marks = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(REPEATS + 1)
    ]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return min(float(a.elapsed_time(b)) for a, b in pairwise(marks)) / 1e3
