"""Held-out perplexity by kind: documents that the build kept out of training, else the data's `eval/heldout`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from expedition.data.loading import ScanPlan, scan
from expedition.data.loading.batch import Batch
from expedition.data.loading.expand import IGNORED, ExpandedDocument
from expedition.data.loading.version import unapproved_sources
from expedition.data.records import KINDS
from expedition.evaluate import statistics
from expedition.evaluate.subject import Subject
from expedition.evaluate.tasks.read import media_of, rows_of
from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace, layout

HELDOUT = "heldout"
"""Name of the dataset that a build keeps out of training."""

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Sums:
    """Loss and labels by row, and label counts, of one kind from one place."""

    nats: list[Floats]
    labels: list[Floats]
    counts: npt.NDArray[np.int64]


def heldout_perplexity(subject: Subject, documents: int) -> dict[str, dict[str, Any]]:
    """{kind: {value, tokens, ci_low, ci_high, baseline, source}} over at most `documents` sequences of each kind.

    exp of the mean cross entropy of text labels (media pads are no labels). A kind is measured on the documents that
    the build held out; one that has none there, on the data folder's own. `baseline` is a unigram model's, its counts
    (plus one each) from these held-out documents of all kinds: it is better than one fitted on training data. Sources
    without an approval in force are not read: see `heldout_left_out`.
    """
    version, left_out = heldout_version(subject.plan), heldout_left_out(subject.ws, subject.plan)
    without = f" without {', '.join(left_out)}" if left_out else ""
    sums: dict[tuple[str, str], _Sums] = {}
    for kind, batch in _version_batches(subject, version, tuple(left_out), documents):
        _add(subject, sums, kind, f"held out of {subject.plan.dataset} {version}{without}", batch)
    measured = {kind for kind, _ in sums}
    for kind, batch in _folder_batches(subject, documents, measured):
        _add(subject, sums, kind, "eval/heldout of the data folder", batch)
    if not sums:
        return {}
    counts = sum((entry.counts for entry in sums.values()), np.ones(subject.writer.tokenizer.size, dtype=np.int64))
    log_share = np.log(counts / counts.sum())
    order = sorted(sums, key=lambda place: KINDS.index(place[0]) if place[0] in KINDS else len(KINDS))
    return {kind: _measured(subject, sums[kind, source], source, log_share) for kind, source in order}


def heldout_version(plan: RunPlan) -> str:
    """The version whose held-out documents a run is measured on: its last."""
    return plan.version_at(plan.total_steps - 1)


def heldout_left_out(ws: Workspace, plan: RunPlan) -> dict[str, str]:
    """Sources of the held-out documents that may not be read now (revoked, expired, unknown), with a sentence each."""
    version = heldout_version(plan)
    if not ws.store.exists(layout.manifest(version, HELDOUT)):
        return {}
    return dict(sorted(unapproved_sources(ws, ws.read_json(layout.manifest(version, HELDOUT))).items()))


def _measured(subject: Subject, sums: _Sums, source: str, log_share: Floats) -> dict[str, Any]:
    nats, labels = np.concatenate(sums.nats), np.concatenate(sums.labels)
    plan = subject.programme.evaluation
    tokens = int(labels.sum())
    low, high = statistics.bootstrap_ratio(nats, labels, plan.confidence, plan.seed)
    return {
        "value": _exp(float(nats.sum()) / tokens),
        "tokens": tokens,
        "sequences": len(labels),
        "ci_low": _exp(low),
        "ci_high": _exp(high),
        "baseline": _exp(-float((sums.counts * log_share).sum()) / tokens),
        "source": source,
    }


def _exp(nats: float) -> float | None:
    """None where the perplexity is beyond any number that is worth a line."""
    return math.exp(nats) if math.isfinite(nats) and nats < 300 else None


def _add(subject: Subject, sums: dict[tuple[str, str], _Sums], kind: str, source: str, batch: Batch) -> None:
    size = subject.writer.tokenizer.size
    entry = sums.setdefault((kind, source), _Sums([], [], np.zeros(size, dtype=np.int64)))
    labelled = batch.labels_BS != IGNORED
    has_label = labelled.any(1)
    losses = subject.backend.losses(batch).astype(np.float64)
    entry.nats.append(losses.sum(1)[has_label])
    entry.labels.append(labelled.sum(1).astype(np.float64)[has_label])
    entry.counts += np.bincount(batch.labels_BS[labelled], minlength=size)


def _version_batches(
    subject: Subject, version: str, left_out: tuple[str, ...], documents: int
) -> Iterator[tuple[str, Batch]]:
    if not subject.ws.store.exists(layout.manifest(version, HELDOUT)):
        return
    plan = ScanPlan(HELDOUT, version, subject.plan.sequence_length, rows=16, limit=documents, excluded=left_out)
    yield from scan(subject.ws, subject.programme, plan)


def _folder_batches(subject: Subject, documents: int, measured: set[str]) -> Iterator[tuple[str, Batch]]:
    """Documents of `eval/heldout/<kind>.jsonl`: {"text", "media", "actions"}; one that is too long loses its end."""
    folder = None if subject.data_dir is None else subject.data_dir / "eval" / HELDOUT
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem in measured or path.stem not in KINDS:
            continue
        rows = [row for row, _ in zip(rows_of(path), range(documents), strict=False)]
        made = [
            subject.writer.document(
                str(row.get("text") or ""), media_of(folder, row.get("media"), str(path)), row.get("actions") or ()
            )
            for row in rows
        ]
        for start in range(0, len(made), 16):
            yield (
                path.stem,
                subject.backend.batch(
                    [_cut(document, subject.plan.sequence_length) for document in made[start : start + 16]]
                ),
            )


def _cut(document: ExpandedDocument, tokens: int) -> ExpandedDocument:
    """Text without media may be cut anywhere; a document with media is kept whole."""
    if document.media or len(document.tokens) <= tokens:
        return document
    labels = document.labels[:tokens].copy()
    labels[-1] = IGNORED
    return ExpandedDocument(document.tokens[:tokens], labels, document.positions[:, :tokens])
