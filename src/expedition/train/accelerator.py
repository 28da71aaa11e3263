"""What a process sets before its first work on an accelerator. What its user has set already stays."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace

CACHES = {"TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
"""Where compiled kernels are kept: variable → folder. A second start compiles nothing."""
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""The allocator's settings: the name of now, and the one of before."""


def prepare_accelerator(ws: Workspace, run: RunPlan) -> None:
    """Keep compiled kernels in the workspace, and let the allocator grow its blocks in place, since packed batches are of
    many sizes. Nothing where the run uses no CUDA device. Before any tensor is on it."""
    if run.device == "cpu" or not torch.cuda.is_available():
        return
    compiled: Path = ws.scratch("compiled")
    for variable, folder in CACHES.items():
        os.environ.setdefault(variable, str(compiled / folder))
    if not any(name in os.environ for name in ALLOCATOR):
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"
