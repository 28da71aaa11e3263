"""Why a sample is where it is: each decision and each step of arithmetic from a global index to its documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.data.loading.order import Trace
from expedition.data.loading.segments import Segment, segment_of
from expedition.data.loading.version import OpenVersion
from expedition.data.loading.weights import cell_name
from expedition.errors import UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace


def explain_order(
    ws: Workspace, programme: Programme, run: str, *, step: int | None = None, index: int | None = None
) -> dict[str, Any]:
    """Explain global `index`, the first sequence of `step`, or the `index`-th sequence of `step`.

    The ledger is not asked: what was trained on stays explainable after a revocation. Each part of the answer has its
    values, and `words` says the whole in sentences. Raises UsageError for a place that the run does not have.
    """
    loader = Loader(ws, programme, run, LoadingConfig(ask_ledger=False))
    number, of_step = _index(loader, step, index)
    position = number - loader.plan.sequences_before(of_step)
    segment_number = segment_of(loader.segments, number)
    segment = loader.segments[segment_number]
    version, order = loader.open_segment(segment_number)
    place, trace = order.locate(number - segment.first_index), order.trace(number - segment.first_index)
    shard, passes = version.pack.entry(place.kind, trace.shard)
    sequence = version.pack.first(place.kind) + place.sequence
    tokens, patches, mel_frames, _ = version.pack.costs([sequence])[:, 0].tolist()
    mixture = order.mixture
    answer: dict[str, Any] = {
        "run": run,
        "index": number,
        "step": of_step,
        "position_in_batch": position,
        "batch_sequences": loader.plan.batch_sequences_at(of_step),
        "segment": {
            "number": segment_number,
            **asdict(segment),
            "from_step": loader.plan.step_of(segment.first_index),
            "fingerprint": segment.fingerprint,
        },
        "mixture": {
            "kind": place.kind,
            "share": float(mixture.share(place.kind)),
            "slot": (number - segment.first_index) % mixture.period,
            "period": mixture.period,
            "ordinal": place.ordinal,
        },
        "epoch": place.epoch,
        "epoch_sequences": version.pack.count(place.kind),
        "block": {"number": trace.block, "position": trace.block_position, "blocks": trace.blocks},
        "window": {
            "number": trace.window,
            "windows": trace.windows,
            "shards": [version.index.shards[version.pack.entry(place.kind, item)[0]] for item in trace.window_shards],
            "sequences": trace.window_sequences,
            "slot": trace.slot,
            "permuted_slot": trace.permuted_slot,
        },
        "sequence": {
            "number": sequence,
            "shard": version.index.shards[shard],
            "pass": passes,
            "number_in_shard": trace.offset,
            "tokens": tokens,
            "patches": patches,
            "mel_frames": mel_frames,
        },
        "documents": _documents(version, segment, place.kind, sequence),
    }
    return {**answer, "words": _words(answer, segment, trace)}


def _index(loader: Loader, step: int | None, index: int | None) -> tuple[int, int]:
    """(global index, its step). Raises UsageError."""
    if step is None:
        if index is None or index < 0:
            raise UsageError("say which sample", fix="--step N, --step N --index I, or --index I of the whole run")
        return index, loader.plan.step_of(index)
    size = loader.plan.batch_sequences_at(step)
    if not 0 <= (index or 0) < size:
        raise UsageError(f"step {step} has no sequence {index}", fix=f"give --index 0..{size - 1}")
    return loader.plan.sequences_before(step) + (index or 0), step


def _documents(version: OpenVersion, segment: Segment, kind: str, sequence: int) -> list[dict[str, Any]]:
    rows = []
    for piece in version.pack.members(sequence):
        source, language = version.index.source(piece.document), version.index.language(piece.document)
        rows.append(
            {
                "id": version.index.id(piece.document),
                "document": piece.document,
                "source": source,
                "language": language,
                "weight": segment.weights.get(cell_name(kind, source, language), 1.0),
                "start": piece.start,
                "end": piece.end,
                "tokens": piece.tokens,
            }
        )
    return rows


def _words(answer: dict[str, Any], segment: Segment, trace: Trace) -> list[str]:
    mixture, window, sequence = answer["mixture"], answer["window"], answer["sequence"]
    left_out = f", without {', '.join(segment.excluded)}" if segment.excluded else ""
    words = [
        f"index {answer['index']} of run {answer['run']} is sequence {answer['position_in_batch']} of "
        f"{answer['batch_sequences']} in step {answer['step']}",
        f"segment {answer['segment']['number']} holds from index {segment.first_index} (step "
        f"{answer['segment']['from_step']}) on: {segment.dataset} {segment.version}{left_out}, seed {segment.seed}; "
        f"decided by {segment.decided_by or 'nobody on record'}: {segment.reason or 'no reason on record'}",
        f"slot {mixture['slot']} of the mixture's {mixture['period']} is {mixture['kind']} "
        f"({mixture['share']:.4g} of the sequences): its sequence number {mixture['ordinal']} in this segment",
        f"that is in pass {answer['epoch']} (the first is 0) over the {answer['epoch_sequences']} sequences of {mixture['kind']}",
        f"there block {trace.block} of shards comes at place {trace.block_position} of {trace.blocks}, and in it window "
        f"{trace.window} of {trace.windows}: {len(window['shards'])} shards, {trace.window_sequences} sequences mixed",
        f"place {trace.slot} of the window is sent to its sequence {trace.permuted_slot} by the seed: sequence "
        f"{trace.offset} of {sequence['shard']}"
        + (f", copy {sequence['pass'] + 1} of the shard" if sequence["pass"] else ""),
    ]
    documents = [
        f"{row['id']} ({row['source']}, {row['language']}) tokens {row['start']}..{row['end']}"
        + (f", weight {row['weight']:g}" if row["weight"] != 1 else "")
        for row in answer["documents"]
    ]
    return [*words, f"it holds {sequence['tokens']} tokens of {len(documents)} documents: {'; '.join(documents)}"]
