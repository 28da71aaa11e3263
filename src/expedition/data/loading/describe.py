"""What a step trains on and what a run's segments are, as plain values for people and scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expedition.data.loading.assign import assign
from expedition.data.loading.loader import Loader
from expedition.data.loading.segments import read_segments, run_plan, segments_key
from expedition.errors import InputError
from expedition.plan.models import Programme
from expedition.workspace import Workspace


def describe_step(ws: Workspace, programme: Programme, run: str, step: int, ranks: int = 1) -> dict[str, Any]:
    """The sequences of a step in order, with the rank of `ranks` that works on each; nothing is decoded."""
    loader = Loader(ws, programme, run)
    samples = [loader.sample(int(index)) for index in loader.global_batch_ids(step)]
    parts = assign(loader.costs(step), ranks, loader.plan.micro_batches)
    rank_of = {position: rank for rank, micro in enumerate(parts) for part in micro for position in part}
    rows = [
        {
            "index": sample.index,
            "kind": sample.kind,
            "version": sample.version,
            "segment": sample.segment,
            "epoch": sample.epoch,
            "sequence": sample.sequence,
            "documents": len(sample.document_ids),
            "document_ids": list(sample.document_ids),
            "tokens": sample.tokens,
            "patches": sample.patches,
            "mel_frames": sample.mel_frames,
            "rank": rank_of[position],
        }
        for position, sample in enumerate(samples)
    ]
    return {
        "run": run,
        "step": step,
        "fingerprint": loader.fingerprint_at(step),
        "tokens": sum(sample.tokens for sample in samples),
        "epochs": loader.epochs(step),
        "samples": rows,
    }


def describe_segments(ws: Workspace, programme: Programme, run: str) -> dict[str, Any]:
    """The segments on record, with their steps. Raises InputError for a run that has none."""
    plan, segments = run_plan(programme, run), read_segments(ws, run)
    if not segments:
        raise InputError(f"run {run!r} has no segments yet", where=segments_key(run), fix="training begins them")
    rows = [
        {**asdict(segment), "from_step": plan.step_of(segment.first_index), "fingerprint": segment.fingerprint}
        for segment in segments
    ]
    return {"run": run, "segments": rows}
