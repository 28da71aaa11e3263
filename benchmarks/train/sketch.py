"""A developer's sketch of a step, as one more side of the table: how it is started for a row, and what its last line says."""

from __future__ import annotations

import re
from typing import Any

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "10b-8": ("--layers", "8", "--experts", "64"),
    "10b-8-x8": ("--layers", "8", "--experts", "64", "--accum", "8", "--balanced", "0"),
    "10b-8-x8-fp8": ("--layers", "8", "--experts", "64", "--accum", "8", "--balanced", "0", "--fp8", "1"),
    "10b-rank": ("--layers", "32", "--experts", "8", "--recompute", "--accum", "4"),
    "10b-rank-fp8": ("--layers", "32", "--experts", "8", "--recompute", "--accum", "4", "--fp8", "1"),
}
"""By row; its states are bf16, whole."""
_LINE = re.compile(
    r"step (?P<ms>[\d.]+) ms\s+(?P<tokens>[\d,]+) tok/s\s+(?P<tflops>[\d,]+) TF\s+MFU (?P<mfu>[\d.]+)%\s+mem (?P<gib>[\d.]+)"
)


def figures_of(output: str) -> dict[str, Any]:
    """Step time, tokens a second, MFU and memory of its last line. Raises ValueError without one."""
    found = list(_LINE.finditer(output))
    if not found:
        raise ValueError(f"no figures in: {output.strip()[-300:]}")
    last = found[-1]
    return {
        "step_s": float(last["ms"]) / 1e3,
        "tokens_per_s": float(last["tokens"].replace(",", "")),
        "tflops": float(last["tflops"].replace(",", "")),
        "mfu": float(last["mfu"]) / 100,
        "peak_gib": float(last["gib"]),
    }
