"""What the card reaches at best in this environment: python -m benchmarks.train.peaks

Products by the libraries that everyone uses (cuBLAS through torch), over a few large shapes; copies over 2 GiB. The best
shape counts: a kernel's share of the peak is then a share of what was seen, not of a data sheet.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks.train.device import describe_device, driver

SHAPES = ((8192, 8192, 8192), (16_384, 4096, 8192), (16_384, 8192, 2048), (16_384, 6144, 2048))
"""Rows, columns and inner size of products; the last two are those of a 2,048 wide model."""
RUNS = 12
COPY_BYTES = 1 << 31


def seconds_of(call: Callable[[], Any], runs: int = RUNS) -> float:
    """Median over `runs` of one call on the device, after three to warm up."""
    for _ in range(3):
        call()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(runs + 1)]  # type: ignore[no-untyped-call]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return float(statistics.median(a.elapsed_time(b) for a, b in pairwise(marks))) / 1e3


def products(kind: str) -> dict[str, float]:
    """TFLOP/s by shape, bf16 or row-wise scaled E4M3."""
    found = {}
    for rows, columns, inner in SHAPES:
        a = torch.randn(rows, inner, device="cuda", dtype=torch.bfloat16)
        b = torch.randn(columns, inner, device="cuda", dtype=torch.bfloat16)
        out = torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
        if kind == "bf16":
            seconds = seconds_of(lambda a=a, b=b, out=out: torch.mm(a, b.t(), out=out))  # type: ignore[misc]
        else:
            a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
            scale_a, scale_b = torch.ones(rows, 1, device="cuda"), torch.ones(1, columns, device="cuda")
            seconds = seconds_of(
                lambda a8=a8, b8=b8, s=scale_a, t=scale_b: torch._scaled_mm(  # type: ignore[misc]
                    a8, b8.t(), scale_a=s, scale_b=t, out_dtype=torch.bfloat16, use_fast_accum=True
                )
            )
        found[f"{rows}x{columns}x{inner}"] = round(2 * rows * columns * inner / seconds / 1e12, 1)
    return found


def copy_bytes_per_s() -> float:
    """Bytes read and written a second by a copy on the device."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / seconds_of(lambda: target.copy_(source))


def measure_peaks() -> dict[str, Any]:
    """All of it, with the device."""
    bf16, fp8 = products("bf16"), products("fp8")
    return {
        **describe_device(),
        "driver_clock_power": driver(),
        "bf16_tflops": bf16,
        "fp8_rowwise_tflops": fp8,
        "best_bf16_tflops": max(bf16.values()),
        "best_fp8_tflops": max(fp8.values()),
        "copy_tb_per_s": round(copy_bytes_per_s() / 1e12, 3),
    }


def main() -> int:
    """2 without a CUDA device."""
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device here\n")
        return 2
    sys.stdout.write(json.dumps(measure_peaks()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
