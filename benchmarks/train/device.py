"""What a figure was measured on: device, versions, and the code, as a hash where no repository is at hand."""

from __future__ import annotations

import hashlib
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"
PACKAGES = ("torch", "triton", "transformers", "torchtitan", "torchao", "liger-kernel", "flash-attn", "sonic-moe")


def describe_device() -> dict[str, Any]:
    """Device name, memory, torch, CUDA and driver."""
    import torch

    if not torch.cuda.is_available():
        return {"device": "cpu", "torch": torch.__version__}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "device_gib": round(properties.total_memory / (1 << 30), 1),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def describe_code(source: Path) -> dict[str, Any]:
    """Commit where git knows it, and a hash over the package's sources, which also tells trees with changes apart."""
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*.py")):
        digest.update(path.relative_to(source).as_posix().encode() + b"\0" + path.read_bytes())
    git = subprocess.run(
        ["git", "-C", str(source), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {"commit": git.stdout.strip() or UNKNOWN, "sources_sha256": digest.hexdigest()[:16]}


def versions() -> dict[str, str]:
    """Of everything that takes part and is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def driver() -> str:
    """Driver version and clocks as the tool of the vendor tells them; "unknown" without it."""
    query = "driver_version,clocks.max.sm,power.limit"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return done.stdout.strip().splitlines()[0]
