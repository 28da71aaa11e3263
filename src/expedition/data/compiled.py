"""Kernels over bytes and flat arrays: compiled by numba where it is there, run as plain Python with equal results where not."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

KERNEL_FILES: Final = (
    "compiled.py",
    "extract/tags.py",
    "extract/hints.py",
    "extract/layout.py",
    "extract/attributes.py",
    "extract/scan.py",
    "extract/weigh.py",
    "extract/region.py",
    "stages/text/characters.py",
    "stages/text/scan.py",
    "stages/dedup/line_scan.py",
    "stages/pii/scan.py",
)
"""Files that hold kernels, or constants that kernels use: what is kept on disk is of use as long as all are as they were."""
PLAIN_ENVIRONMENT: Final = "EXPEDITION_PLAIN_KERNELS"
"""Set to 1, kernels are not compiled (for tests and for machines on which numba does not run)."""


def _compiler() -> Callable[..., Any] | None:
    if os.environ.get(PLAIN_ENVIRONMENT) == "1":
        return None
    try:
        from numba import njit
    except ImportError:
        return None
    return njit


_njit = _compiler()
COMPILED: Final = _njit is not None


def compiled(kernel: Kernel) -> Kernel:
    """The kernel compiled at its first call, with the machine code kept on disk; itself where there is no compiler.

    A kernel takes and returns integers and arrays of integers only, and no intermediate value passes 2**62: then both
    ways give the same result.
    """
    if _njit is None:
        return kernel
    made = _njit(cache=True, boundscheck=False, error_model="numpy")(kernel)
    # numba asks only whether the kernel's own file changed; constants and kernels of the other files are compiled in too.
    kept = getattr(getattr(made, "_cache", None), "_cache_file", None)
    if kept is not None:
        kept._source_stamp = (kept._source_stamp, _SOURCES)
    return made  # type: ignore[no-any-return]


def _sources() -> int:
    """Checksum of the files whose kernels and constants are compiled."""
    total = 0
    for name in KERNEL_FILES:
        total = zlib.crc32((Path(__file__).parent / name).read_bytes(), total)
    return total


_SOURCES: Final = _sources()
