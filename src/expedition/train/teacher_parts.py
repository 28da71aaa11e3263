"""`teach`: a teacher's largest probabilities over a run's batches, written down part by part before the run begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from expedition.errors import UsageError
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan, TeacherPlan
from expedition.train.accelerator import prepare_accelerator
from expedition.train.batches import BatchSource, TensorBatch, to_tensors
from expedition.train.compute import Forward
from expedition.train.decisions import data_step, decisions
from expedition.train.losses import IGNORED
from expedition.train.precision import compute_dtype
from expedition.train.run import Inputs, dataset_inputs
from expedition.train.saving.agreement import ALONE
from expedition.train.setup import choose_device, find_run, fix_numerics, load_model
from expedition.train.teaching import Taught, chosen_teacher, require_same_tokens
from expedition.train.top_k import (
    SCHEMA,
    Part,
    expected_settings,
    folder_of,
    largest,
    part_key,
    part_sequences,
    require_settings,
)
from expedition.workspace import Workspace

CHUNK_ROWS = 1024
"""Learnt positions whose logits exist at one time while a teacher is written down."""


def teach(
    ws: Workspace,
    programme: Programme,
    name: str,
    progress: Callable[[int, int, str], None] | None = None,
    inputs: Inputs | None = None,
) -> dict[str, Any]:
    """Write down the teacher's k largest probabilities over the batches of run `name`; return the manifest. Blocking.

    Idempotent and resumable: a part that is there is not made again. Under torchrun each process makes a stretch of the
    parts, and whoever finds them all there seals them. Raises UsageError for a run without `teacher.top_k`.
    """
    run = find_run(programme, name)
    plan = run.teacher
    if plan is None or plan.top_k is None:
        raise UsageError(
            f"run {name!r} stores no teacher", where=f"runs.{name}.teacher", fix="set teacher: {run: main, top_k: 64}"
        )
    inputs = inputs or dataset_inputs(ws, programme, name)
    source, config = inputs.source, inputs.config
    manifest = f"{folder_of(name)}/manifest.json"
    settings = expected_settings(plan, run.sequence_length, source.fingerprint_at(run.total_steps))
    each = part_sequences(run.sequence_length, plan)
    parts = -(-_needed(ws, run, name) // each)
    if ws.store.exists(manifest):
        found = ws.read_json(manifest)
        require_settings(found["settings"], settings, name)
        if len(found["parts"]) >= parts:
            return found
    prepare_accelerator(ws, run)
    fix_numerics(run)
    device = choose_device(run)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    info = chosen_teacher(ws, name, plan, ALONE)
    settings["teacher"] = asdict(Taught(info.run, info.name, info.manifest_sha256))
    _begin(ws, name, settings)
    model = load_model(ws, info.run, info.name)
    require_same_tokens(model.config, config, name)
    forward = Forward(model.to(device).eval().requires_grad_(False), compute_dtype(run.precision), sharded=False)
    writer = _Writer(run, plan, source, forward, device, each)
    mine = range(parts * rank // world, parts * (rank + 1) // world)
    for number in mine:
        key = part_key(name, number)
        if not ws.store.exists(key):
            ws.store.write(key, writer.part(number).to_bytes())
        if progress is not None:
            progress(number - mine.start + 1, len(mine), f"part {number} of {parts}")
    return _seal(ws, name, settings, parts)


def _needed(ws: Workspace, run: RunPlan, name: str) -> int:
    """Sequences that the run trains on, those that lie behind skipped ones included."""
    last = data_step(run.total_steps - 1, decisions(ws, name)) if run.total_steps else 0
    return run.sequences_before(last + 1)


def _begin(ws: Workspace, name: str, settings: dict[str, Any]) -> None:
    """Record what all parts are made by, before the first; refuse other settings."""
    key = f"{folder_of(name)}/settings.json"
    if ws.store.exists(key):
        require_settings(ws.read_json(key)["settings"], settings, name)
        return
    ws.write_json(key, {"run": name, "settings": settings}, schema=SCHEMA)


def _seal(ws: Workspace, name: str, settings: dict[str, Any], parts: int) -> dict[str, Any]:
    """The manifest, once every part is there; without it the answer says how many are."""
    keys = [part_key(name, number) for number in range(parts)]
    there = [key for key in keys if ws.store.exists(key)]
    if len(there) < len(keys):
        return {"run": name, "settings": settings, "complete": False, "parts_there": len(there), "parts_needed": parts}
    listed = [{"name": key.rpartition("/")[2], "bytes": ws.store.size(key), "sha256": ws.hash(key)} for key in keys]
    manifest = {"run": name, "settings": settings, "complete": True, "parts": listed}
    ws.write_json(f"{folder_of(name)}/manifest.json", manifest, schema=SCHEMA)
    ws.events("train").append("train.teacher.complete", run=name, parts=parts, teacher=settings["teacher"])
    return ws.read_json(f"{folder_of(name)}/manifest.json")


class _Writer:
    """Makes parts in rising order; rows of a step that belong to the next part are kept for it."""

    def __init__(
        self, run: RunPlan, plan: TeacherPlan, source: BatchSource, forward: Forward, device: torch.device, each: int
    ) -> None:
        self._run, self._plan, self._source = run, plan, source
        self._forward, self._device, self._each = forward, device, each
        self._dtype = compute_dtype(run.precision)
        self._rows: dict[int, _Row] = {}
        self._next_step = 0

    def part(self, number: int) -> Part:
        """The part of sequences number·each … (number + 1)·each - 1."""
        wanted = range(number * self._each, (number + 1) * self._each)
        if wanted.start not in self._rows:
            self._rows.clear()
            self._next_step = self._run.step_of(wanted.start)
        while wanted.stop - 1 not in self._rows:
            for batch in self._source.rank_batch(self._next_step, 0, 1):
                tensors = to_tensors(batch, self._device, self._dtype)
                self._rows.update(self._answers(tensors, [int(sample) for sample in batch.sample_ids]))
            self._next_step += 1
        rows = [self._rows.pop(sample) for sample in wanted]
        self._rows = {sample: row for sample, row in self._rows.items() if sample >= wanted.stop}
        return Part(
            first_N=np.concatenate(([0], np.cumsum([len(row.position) for row in rows]))).astype(np.int64),
            position_P=np.concatenate([row.position for row in rows]),
            ids_PK=np.concatenate([row.ids for row in rows]),
            log_p_PK=np.concatenate([row.log_p for row in rows]),
            log_rest_P=np.concatenate([row.log_rest for row in rows]),
        )

    @torch.no_grad()
    def _answers(self, batch: TensorBatch, samples: list[int]) -> Iterator[tuple[int, _Row]]:
        output, head = self._forward(batch)
        kept = np.float32 if self._plan.stored == "fp32" else np.float16
        for sample, hidden_SH, labels_S in zip(samples, output.hidden_BSH, batch.labels_BS, strict=True):
            if sample < 0:
                continue
            places = (labels_S != IGNORED).nonzero().squeeze(1)
            pieces = [
                largest(head(hidden_SH[chunk]), self._plan.top_k or 1, self._plan.temperature)
                for chunk in torch.split(places, CHUNK_ROWS)
            ]
            ids, log_p, log_rest = (torch.cat(column).cpu().numpy() for column in zip(*pieces, strict=True))
            yield (
                sample,
                _Row(places.cpu().numpy().astype(np.int32), ids.astype(np.int32), log_p.astype(kept), log_rest),
            )


@dataclass(frozen=True, slots=True)
class _Row:
    position: Any
    ids: Any
    log_p: Any
    log_rest: Any
