"""Planned against achieved shares of a version, and the mix scaled to what is there.

Scaling has two levels. Between kinds: each gets its planned share of the run's tokens unless that would read it more
often than its caps allow; what it cannot take goes to the others in proportion to their shares. Inside a kind: a cell
(source, language) is read e = min(cap, lambda * u) times, where u = source weight * n_l^(1/T) / n_l lifts small
languages by temperature T, and lambda makes the kind's tokens come out. A cell's weight is e over the smallest e of its
kind: copies within one pass over the kind (`data.loading.weights`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expedition.plan.data import DataMix, DataPlan

MAX_WEIGHT = 64.0
"""Largest weight of a cell. Where cells differ by more, the least read ones are thinned below 1 instead."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Documents of one kind, source and language: how many expanded tokens there are."""

    kind: str
    source: str
    language: str
    tokens: int

    @property
    def name(self) -> str:
        """Its name in a segment's weights."""
        return f"{self.kind}/{self.source}/{self.language}"


@dataclass(frozen=True, slots=True)
class ScaledCell:
    """A cell with what the scaled mix does with it over the run."""

    cell: Cell
    planned_tokens: float
    """What share, weight and temperature ask for, caps apart."""
    tokens: float
    """What is read of it, repeats counted."""
    cap: float | None
    """Most epochs that are allowed; None: any number."""
    weight: float

    @property
    def epochs(self) -> float:
        """Passes over its documents."""
        return self.tokens / self.cell.tokens


@dataclass(frozen=True, slots=True)
class ScaledMix:
    """`shares` of kinds (sum 1) and `weights` of cells (those that are not 1) for a run of `budget_tokens`."""

    budget_tokens: int
    shares: dict[str, float]
    weights: dict[str, float]
    cells: tuple[ScaledCell, ...]
    impossible: tuple[str, ...]
    """What the data and the caps do not allow, each with its number."""
    short_tokens: float
    """Tokens of the budget that can be read only by breaking caps."""


def shares(mix: DataMix, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a kind, planned or found: {kind, planned, achieved, tokens, epochs_at_plan}.

    Shares are of expanded tokens. `epochs_at_plan` is how often the kind would be read for its planned share of one
    pass over the whole version; None where nothing of it is there.
    """
    planned = mix.weights()
    found = {kind: cell["expanded_tokens"] for kind, cell in manifest["kinds"].items()}
    total = sum(found.values())
    rows = []
    for kind in sorted(planned.keys() | found.keys()):
        tokens, plan = found.get(kind, 0), planned.get(kind, 0.0)
        rows.append(
            {
                "kind": kind,
                "planned": plan,
                "achieved": tokens / total if total else 0.0,
                "tokens": tokens,
                "epochs_at_plan": plan * total / tokens if tokens else None,
            }
        )
    return rows


def scales(plan: DataPlan) -> bool:
    """Whether the plan asks for more than its shares: caps, weights of sources, or a temperature."""
    capped = plan.mix.max_epochs is not None or any(share.max_epochs is not None for share in plan.mix.shares)
    weighted = any(policy.weight != 1 or policy.max_epochs is not None for policy in plan.sources.values())
    return capped or weighted or plan.mix.temperature != 1 or plan.mix.max_synthetic_share is not None


def cells_of(rows: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Cells of a version from the rows of its statistics table; those without tokens are left out."""
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in rows:
        tokens = sum(value for name, value in row.items() if name.endswith("_tokens"))
        sums[row["kind"], row["source"], row["language"] or "und"] += tokens
    return [Cell(*key, tokens) for key, tokens in sorted(sums.items()) if tokens > 0]


def scaled(plan: DataPlan, planned: Mapping[str, float], cells: Sequence[Cell], budget_tokens: int) -> ScaledMix:
    """Scale `planned` shares of kinds to the `cells` that are there, for a run of `budget_tokens`. Pure.

    Raises ValueError if no kind of the mix has a token, or every source of it has the weight 0.
    """
    impossible: list[str] = []
    by_kind: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if planned.get(cell.kind, 0) > 0 and _weight(plan, cell) > 0:
            by_kind[cell.kind].append(cell)
    total = sum(planned[kind] for kind in by_kind)
    if not by_kind or budget_tokens < 1:
        raise ValueError("no kind of the mix has a token in this version")
    for kind in sorted(kind for kind, share in planned.items() if share > 0 and kind not in by_kind):
        impossible.append(f"{kind}: planned {planned[kind]:.4g} of the tokens, the version has none of it")
    demand = {kind: planned[kind] / total * budget_tokens for kind in sorted(by_kind)}
    limit = {kind: sum(_cap(plan, cell) * cell.tokens for cell in by_kind[kind]) for kind in demand}
    if plan.mix.max_synthetic_share is not None and "synthetic" in limit:
        # Kinds that are missing or capped leave their tokens to the others: never beyond this.
        limit["synthetic"] = min(limit["synthetic"], plan.mix.max_synthetic_share * budget_tokens)
    given = filled(demand, limit, budget_tokens)
    for kind, tokens in given.items():
        if demand[kind] > limit[kind] * (1 + 1e-9):
            impossible.append(
                f"{kind}: planned {demand[kind]:.4g} tokens ({demand[kind] / budget_tokens:.4g} of the run), "
                f"its caps allow {limit[kind]:.4g} ({tokens / budget_tokens:.4g})"
            )
    read = sum(given.values())
    short = budget_tokens - read if read < budget_tokens * (1 - 1e-6) else 0.0
    if short:
        impossible.append(
            f"the run reads {budget_tokens:.4g} tokens, all caps together allow {read:.4g}: {short:.4g} are too many"
        )
    rows = [row for kind in given for row in _scaled_kind(plan, by_kind[kind], demand[kind], given[kind])]
    return ScaledMix(
        budget_tokens=budget_tokens,
        shares={kind: tokens / read for kind, tokens in given.items()},
        weights={row.cell.name: row.weight for row in rows if row.weight != 1}
        | {cell.name: 0.0 for cell in cells if cell.kind in by_kind and _weight(plan, cell) == 0},
        cells=tuple(rows),
        impossible=tuple(impossible),
        short_tokens=short,
    )


def filled(demand: Mapping[str, float], limit: Mapping[str, float], total: float) -> dict[str, float]:
    """`total` dealt in proportion to `demand`, none above its `limit`; less than `total` if the limits sum to less.

    min(limit, rate * demand) with one rate for all, as water fills vessels. Pure.
    """
    rate = 0.0
    left, open_demand = total, sum(demand.values())
    for name in sorted(demand, key=lambda name: (limit[name] / demand[name], name)):
        rate = left / open_demand
        if limit[name] >= rate * demand[name]:
            break
        left, open_demand = left - limit[name], open_demand - demand[name]
    else:
        return dict(limit)
    return {name: min(limit[name], rate * demand[name]) for name in demand}


def unknown_sources(plan: DataPlan, cells: Sequence[Cell]) -> list[str]:
    """Sources that the programme weighs or caps and the version does not have."""
    there = {cell.source for cell in cells}
    return sorted(
        name
        for name, policy in plan.sources.items()
        if name not in there and (policy.weight != 1 or policy.max_epochs is not None or policy.licences is not None)
    )


def allowed_licences(plan: DataPlan, kind: str, source: str) -> tuple[str, ...] | None:
    """Classes of licence that documents of a source may have; None: any."""
    policy = plan.sources.get(source)
    if policy is not None and policy.licences is not None:
        return policy.licences
    return next((share.licences for share in plan.mix.shares if share.kind == kind), None)


def _weight(plan: DataPlan, cell: Cell) -> float:
    policy = plan.sources.get(cell.source)
    return policy.weight if policy is not None else 1.0


def _cap(plan: DataPlan, cell: Cell) -> float:
    """Most epochs of a cell: its source's, else its kind's, else the mix's; the smallest of those that are given."""
    policy = plan.sources.get(cell.source)
    of_kind = next((share.max_epochs for share in plan.mix.shares if share.kind == cell.kind), None)
    given = (policy.max_epochs if policy is not None else None, of_kind, plan.mix.max_epochs)
    return min((cap for cap in given if cap is not None), default=math.inf)


def _scaled_kind(plan: DataPlan, cells: Sequence[Cell], planned: float, given: float) -> list[ScaledCell]:
    by_language: dict[str, int] = defaultdict(int)
    for cell in cells:
        by_language[cell.language] += cell.tokens
    lift = {name: tokens ** (1 / plan.mix.temperature - 1) for name, tokens in by_language.items()}
    wanted = {cell.name: cell.tokens * _weight(plan, cell) * lift[cell.language] for cell in cells}
    limit = {cell.name: _cap(plan, cell) * cell.tokens for cell in cells}
    tokens = filled(wanted, limit, given)
    every = sum(wanted.values())
    epochs = {cell.name: tokens[cell.name] / cell.tokens for cell in cells}
    base = max(min(epochs.values()), max(epochs.values()) / MAX_WEIGHT)
    return [
        ScaledCell(
            cell=cell,
            planned_tokens=wanted[cell.name] / every * planned,
            tokens=tokens[cell.name],
            cap=None if math.isinf(_cap(plan, cell)) else _cap(plan, cell),
            # Rounded, so that cells that are alike are exactly alike and a weight is short to read.
            weight=float(f"{epochs[cell.name] / base:.6g}"),
        )
        for cell in cells
    ]
