"""A checkpoint as the folder that transformers' class loads: what a release begins with, and what `export` gives alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from expedition.errors import InputError, UsageError
from expedition.evaluate.subject import find_checkpoint
from expedition.model import OmniConfig, to_transformers
from expedition.model.export_config import ARCHITECTURE
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train import verify
from expedition.train.checkpoint import MODEL, CheckpointInfo, load_state, load_tensors
from expedition.train.setup import find_run
from expedition.workspace import Workspace, layout

__all__ = ["export_checkpoint", "write_weights"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def export_checkpoint(
    ws: Workspace,
    programme: Programme,
    run: str,
    checkpoint: str | None,
    out: Path,
    *,
    dtype: str = "float32",
    shard_bytes: int | None = None,
) -> dict[str, Any]:
    """Write a checkpoint (the newest intact one for None) to `out`, unsigned and without kit or card; returns facts.

    Blocking; the same command gives the same bytes. Each tensor is read once and at most a shard is held, whatever
    number of ranks wrote the checkpoint. Raises UsageError for an unknown run, checkpoint or dtype, or a folder that
    holds something else; InputError for damaged files.
    """
    if dtype not in DTYPES:
        raise UsageError(f"no dtype {dtype!r}", where="--dtype", fix=f"one of: {', '.join(DTYPES)}")
    plan, info = find_run(programme, run), find_checkpoint(ws, run, checkpoint)
    if (problem := verify(ws, info)) is not None:
        raise InputError(problem, where=info.folder, fix="name another checkpoint")
    _require_free(out)
    config = OmniConfig.from_json(load_state(ws, info)["model"])
    files = write_weights(ws, programme, plan, info, config, out, DTYPES[dtype], shard_bytes)
    return {
        "run": run,
        "checkpoint": info.name,
        "step": info.step,
        "tokens": info.tokens,
        "folder": str(out),
        "class": ARCHITECTURE,
        "dtype": dtype,
        "files": [file.name for file in files],
        "bytes": sum(file.stat().st_size for file in files),
    }


def write_weights(
    ws: Workspace,
    programme: Programme,
    plan: RunPlan,
    info: CheckpointInfo,
    config: OmniConfig,
    out: Path,
    dtype: torch.dtype = torch.float32,
    shard_bytes: int | None = None,
) -> list[Path]:
    """Weights, config, tokenizer and processor files of a verified checkpoint; every file written."""
    tokenizer = f"{layout.dataset(plan.version_at(0), plan.dataset)}/tokenizer"
    files = [ws.store.local(name) for name in ws.store.list(tokenizer)]
    if not files:
        raise InputError(f"dataset {plan.version_at(0)} has no tokenizer", where=tokenizer)
    return to_transformers(
        load_tensors(ws, info, MODEL),
        config,
        files[0].parent,
        out,
        programme.media,
        dtype=dtype,
        shard_bytes=programme.release.shard_bytes if shard_bytes is None else shard_bytes,
    )


def _require_free(out: Path) -> None:
    """Raise UsageError unless `out` is empty, new, or an earlier export."""
    if out.exists() and not out.is_dir():
        raise UsageError("this is no folder", where=str(out), fix="name a new folder")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        earlier = json.loads((out / "config.json").read_text("utf-8")).get("architectures") == [ARCHITECTURE]
    except (OSError, ValueError, AttributeError):
        earlier = any(out.glob(".aside-*"))
    if not earlier:
        raise UsageError("the folder holds something that is no export", where=str(out), fix="name a new folder")
