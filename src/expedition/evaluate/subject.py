"""What is evaluated, opened once: a checkpoint's model, its tokenizer, and the folder of questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from expedition.data.tokenizer import Tokenizer
from expedition.errors import InputError, UsageError
from expedition.evaluate.backends.native import Native
from expedition.evaluate.questions import Writer
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.train import load_model
from expedition.train.checkpoint import CheckpointInfo, checkpoints, newest_intact, read_info
from expedition.train.setup import choose_device, find_run
from expedition.workspace import Workspace, layout

SOURCES = "data/sources.json"
"""Where a voyage records the folder of raw files (field `data_dir`)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkpoint that is ready to be asked."""

    ws: Workspace
    programme: Programme
    plan: RunPlan
    checkpoint: CheckpointInfo
    backend: Native
    writer: Writer
    data_dir: Path | None
    conditions: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the evaluation: run and checkpoint."""
        return f"{self.checkpoint.run}-{self.checkpoint.name}"

    @property
    def folder(self) -> str:
        """Workspace key of the evaluation."""
        return layout.evaluation(self.name)


def open_subject(
    ws: Workspace, programme: Programme, run: str, checkpoint: str | None = None, data_dir: Path | str | None = None
) -> Subject:
    """Load a checkpoint (the newest intact one for None) with its hashes checked.

    Raises UsageError for an unknown run or one without checkpoints, InputError for damage or a missing folder.
    """
    plan = find_run(programme, run)
    info = find_checkpoint(ws, run, checkpoint)
    folder = data_folder(ws, data_dir)
    torch.set_num_threads(plan.threads)
    device = choose_device(plan)
    model = load_model(ws, run, info.name).to(device).eval()
    tokenizer = run_tokenizer(ws, plan)
    backend = Native(model, programme.media, programme.evaluation.batch_items)
    conditions = () if device.type == "cuda" else ("cpu",)
    return Subject(ws, programme, plan, info, backend, Writer(tokenizer, programme.media), folder, conditions)


def find_checkpoint(ws: Workspace, run: str, name: str | None) -> CheckpointInfo:
    """A complete checkpoint by name, or the newest intact one. Raises UsageError with the names that there are."""
    if name is None:
        info, _ = newest_intact(ws, run)
        if info is None:
            raise UsageError(f"run {run!r} has no complete checkpoint", fix=f"expedition train run --run {run}")
        return info
    known = [info.name for info in checkpoints(ws, run)]
    if name not in known:
        raise UsageError(f"run {run!r} has no checkpoint {name!r}", fix=f"known: {', '.join(known) or 'none'}")
    return read_info(ws, run, name)


def run_tokenizer(ws: Workspace, plan: RunPlan) -> Tokenizer:
    """The tokenizer of the run's first data."""
    folder = f"{layout.dataset(plan.version_at(0), plan.dataset)}/tokenizer"
    files = [ws.store.local(key) for key in ws.store.list(folder)]
    if not files:
        raise InputError(
            f"dataset {plan.version_at(0)} has no tokenizer",
            where=folder,
            fix=f"expedition data build --version {plan.version_at(0)}",
        )
    return Tokenizer.load(files[0].parent)


def data_folder(ws: Workspace, data_dir: Path | str | None) -> Path | None:
    """The folder with `eval/`: the one given, else the one that the voyage recorded, else None."""
    if data_dir is None:
        recorded = ws.read_json(SOURCES).get("data_dir") if ws.store.exists(SOURCES) else None
        return Path(recorded) if isinstance(recorded, str) and Path(recorded).is_dir() else None
    folder = Path(data_dir)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), fix="give --data the folder that holds eval/")
    return folder
