"""The mix of a run on a version: what is planned, what caps make of it, and what the order really gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from expedition.data.loading.packs import PackPlan, PackRule, open_pack
from expedition.data.loading.segments import (
    manifest_hash,
    mix_of,
    planned_mix,
    run_plan,
    scaled_to,
    version_cells,
)
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from expedition.workspace import Workspace, layout

if TYPE_CHECKING:
    from expedition.data.versions.mixture import ScaledCell, ScaledMix

MODALITIES = ("text", "image", "video", "audio")


def describe_mix(ws: Workspace, programme: Programme, version: str, run: str) -> dict[str, Any]:
    """Planned and achieved shares of `run` on a version, by kind, source, modality, language, as plain values.

    Shares are of expanded tokens over the whole run. `achieved` is what the pack plan and the order give (made here if
    it is missing). `problems` are what the mix cannot be: no tokens, caps, unknown sources, licences; empty is good.
    Raises InputError for a missing version, ProgrammeError for a mix that has nothing in common with it.
    """
    from expedition.data.versions.mixture import unknown_sources

    plan = run_plan(programme, run)
    content_hash = manifest_hash(ws, plan.dataset, version)
    scaled = scaled_to(ws, programme, plan, version, planned_mix(programme, plan))
    mix, weights = mix_of(ws, programme, plan, version)
    rule = PackRule(plan.sequence_length, programme.media, (), weights)
    pack = open_pack(ws, version, plan.dataset, content_hash, rule)
    achieved = achieved_tokens(pack, mix, scaled.budget_tokens)
    rows = [_cell_row(row, scaled, achieved) for row in scaled.cells]
    unknown = [
        f"data.sources.{name}: {version} has no such source"
        for name in unknown_sources(programme.data, version_cells(ws, plan.dataset, version))
    ]
    licences = _licence_problems(ws, programme, plan, version)
    return {
        "run": run,
        "version": version,
        "budget_tokens": scaled.budget_tokens,
        "mix": mix,
        "weights": weights,
        "temperature": programme.data.mix.temperature,
        "fill": {kind: counts.fill(pack.sequence_tokens) for kind, counts in pack.counts.items()},
        "cells": rows,
        "by_kind": _by(rows, lambda row: row["kind"]),
        "by_source": _by(rows, lambda row: row["source"]),
        "by_language": _by(rows, lambda row: row["language"]),
        "by_modality": _by_modality(ws, plan.dataset, version, rows),
        "notes": list(scaled.impossible),
        "problems": [*([scaled.impossible[-1]] if scaled.short_tokens else []), *unknown, *licences],
    }


def achieved_tokens(pack: PackPlan, mix: Mapping[str, float], budget_tokens: int) -> dict[str, float]:
    """Tokens of each cell that a run of `budget_tokens` positions reads by a pack plan and a mix of sequences.

    Counted without padding, then brought to the budget, so that it is comparable with the plan.
    """
    there = {kind: mix[kind] for kind in pack.kinds() if mix.get(kind, 0) > 0}
    packed = {kind: pack.counts[kind].packed_tokens for kind in there}
    rate = {kind: share / pack.count(kind) for kind, share in there.items()}
    every = sum(rate[kind] * packed[kind] for kind in there)
    return {
        name: rate[kind] * cell["packed_tokens"] / every * budget_tokens
        for name, cell in pack.cells.items()
        if (kind := name.split("/", 1)[0]) in there
    }


def _cell_row(row: ScaledCell, scaled: ScaledMix, achieved: Mapping[str, float]) -> dict[str, Any]:
    tokens = achieved.get(row.cell.name, 0.0)
    return {
        "kind": row.cell.kind,
        "source": row.cell.source,
        "language": row.cell.language,
        "tokens": row.cell.tokens,
        "planned": row.planned_tokens / scaled.budget_tokens,
        "scaled": row.tokens / scaled.budget_tokens,
        "achieved": tokens / scaled.budget_tokens,
        "epochs": tokens / row.cell.tokens,
        "max_epochs": row.cap,
        "weight": row.weight,
    }


def _by(rows: Iterable[Mapping[str, Any]], key: Callable[[Mapping[str, Any]], str]) -> list[dict[str, Any]]:
    """Sums of rows by a name: tokens there, shares, and epochs."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        for name in ("tokens", "planned", "scaled", "achieved"):
            sums[key(row)][name] += row[name]
        sums[key(row)]["read"] += row["epochs"] * row["tokens"]
    return [
        {"name": name, **cell, "tokens": int(cell["tokens"]), "epochs": cell["read"] / cell["tokens"]}
        for name, cell in sorted(sums.items())
    ]


def _by_modality(ws: Workspace, dataset: str, version: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each cell's tokens dealt to its modalities as the version's statistics have them."""
    import pyarrow.parquet as pq

    found: dict[tuple[str, str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(MODALITIES, 0))
    statistics = pq.read_table(ws.store.local(f"{layout.dataset(version, dataset)}/statistics.parquet"))
    for item in statistics.to_pylist():
        for name in MODALITIES:
            found[item["kind"], item["source"], item["language"] or "und"][name] += item[f"{name}_tokens"]
    dealt = []
    for row in rows:
        parts = found[row["kind"], row["source"], row["language"]]
        for name, tokens in parts.items():
            share = tokens / row["tokens"]
            if share:
                sizes = {key: row[key] * share for key in ("planned", "scaled", "achieved")}
                dealt.append({"modality": name, "tokens": tokens, "epochs": row["epochs"], **sizes})
    return _by(dealt, lambda row: row["modality"])


def _licence_problems(ws: Workspace, programme: Programme, plan: RunPlan, version: str) -> list[str]:
    """Documents whose licence is of a class that their source or kind may not have, from the version's lineage."""
    import pyarrow.parquet as pq

    from expedition.data.stages.code.licence import class_of
    from expedition.data.versions.mixture import allowed_licences

    limits = [share.licences for share in programme.data.mix.shares]
    limits += [policy.licences for policy in programme.data.sources.values()]
    if all(limit is None for limit in limits):
        return []
    key = f"{layout.dataset(version, plan.dataset)}/lineage.parquet"
    columns = ["kind", "source", "licence", "token_first", "token_end"]
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    with pq.ParquetFile(ws.store.local(key)) as file:
        for batch in file.iter_batches(columns=columns):
            for kind, source, licence, first, end in zip(*(column.to_pylist() for column in batch), strict=True):
                cell = counts[kind, source, licence or ""]
                cell[0], cell[1] = cell[0] + 1, cell[1] + end - first
    problems = []
    for (kind, source, licence), (documents, tokens) in sorted(counts.items()):
        allowed = allowed_licences(programme.data, kind, source)
        stated = licence or (policy.licence if (policy := programme.data.sources.get(source)) else None) or ""
        found = class_of(stated) if stated else "unknown"
        if allowed is not None and found not in allowed:
            problems.append(
                f"{source} ({kind}): {documents} documents, {tokens} tokens under {stated or 'no known licence'} "
                f"({found}); allowed: {', '.join(allowed)}"
            )
    return problems
