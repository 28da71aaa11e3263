"""The trace that a workspace keeps: compressed, and no larger than a limit."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TRACE_BYTES: Final = 64 << 20
"""Most that the compressed trace takes."""
_FIRST_TO_GO: Final = (("ac2g", "fwdbwd"), ("cuda_runtime", "cuda_driver"), ("cpu_op",))
"""Categories that a trace which is too large loses, one after the other."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A compressed trace."""

    body: bytes
    left_out: tuple[str, ...]
    """Categories of events that it lost to be small enough."""


def bounded_trace(path: Path, limit_bytes: int) -> Kept:
    """The file as gzip, without some categories of events where it would be larger than `limit_bytes`."""
    body = gzip.compress(path.read_bytes(), compresslevel=5, mtime=0)
    left_out: list[str] = []
    for categories in _FIRST_TO_GO:
        if len(body) <= limit_bytes:
            break
        left_out += categories
        document = json.loads(path.read_bytes())
        document["traceEvents"] = [e for e in document["traceEvents"] if e.get("cat") not in left_out]
        body = gzip.compress(json.dumps(document).encode(), compresslevel=5, mtime=0)
    return Kept(body, tuple(left_out))
