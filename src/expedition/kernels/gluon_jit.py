"""Gluon where it is installed: Triton's language for kernels with explicit layouts, barriers and warp groups.

It lies in `triton.experimental`, so a version of Triton may lack it or have it otherwise; then `GLUON` is False, the kernels'
files still import, and other ways are taken. There is no interpreter for it: these kernels run on Hopper alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from triton.experimental import gluon
    from triton.experimental.gluon import language as gl
    from triton.experimental.gluon.language.nvidia.hopper import (
        async_copy,
        fence_async_shared,
        mbarrier,
        tma,
        warpgroup_mma,
        warpgroup_mma_wait,
    )
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor
    from triton.tools.ragged_tma import create_ragged_descriptor
except ImportError:
    gluon = gl = async_copy = fence_async_shared = mbarrier = tma = warpgroup_mma = warpgroup_mma_wait = None
    TensorDescriptor = create_ragged_descriptor = None

__all__ = [
    "GLUON",
    "TensorDescriptor",
    "async_copy",
    "create_ragged_descriptor",
    "fence_async_shared",
    "gl",
    "gluon_jit",
    "gluon_kernel",
    "mbarrier",
    "tma",
    "warpgroup_mma",
    "warpgroup_mma_wait",
]

GLUON = gluon is not None


def gluon_jit(function: Callable[..., Any]) -> Any:
    """`gluon.jit`; without Gluon the function as it is, which nothing may call."""
    return gluon.jit(function) if GLUON else function


def gluon_kernel(*unspecialized: str) -> Callable[[Callable[..., Any]], Any]:
    """`gluon_jit` where the named integers are compiled for no value in particular: one compilation serves all."""

    def decorate(function: Callable[..., Any]) -> Any:
        return gluon.jit(function, do_not_specialize=list(unspecialized)) if GLUON else function

    return decorate
