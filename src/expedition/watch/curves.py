"""Loss curves to prove rules on: generated ones with a known onset, and files of real runs with labels.

A generated curve is made at the rule's own scale: a span in hours, steps or tokens is covered by enough observations
for the rule's bins, whatever its length.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from expedition.errors import InputError
from expedition.plan.rules import Span
from expedition.watch.rules.rule import Observation

Array = npt.NDArray[np.float64]

SPANS = 5
ONSET_SPANS = 2.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Rows of one run. `onset_step`: where the trouble begins; None = there is none or it is unknown."""

    name: str
    rows: tuple[Observation, ...]
    onset_step: int | None
    healthy: bool
    origin: str
    """`generated`, or the file's name."""
    outlier_steps: tuple[int, ...] = ()
    """Steps whose jump the label of a healthy run mentions."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How rows of a generated curve advance: `per_span` rows cover the span."""

    per_span: int
    step: int
    tokens: int
    seconds: float

    @classmethod
    def of(cls, span: Span, bins: int) -> Scale:
        """Twenty rows a bin, fewer where the span has not that many steps."""
        per_span = bins * 20
        if span.unit == "steps":
            per_span = min(per_span, int(span.value))
            return cls(per_span, max(1, int(span.value / per_span)), 1000, 1.0)
        if span.unit == "tokens":
            return cls(per_span, 1, max(1, round(span.value / per_span)), 1.0)
        return cls(per_span, 1, 1000, span.value * 3600 / per_span)


def generate(kind: str, scale: Scale, seed: int, fall_per_span: float = 0.05, noise: float = 0.02) -> Curve:
    """A generated curve of `SPANS` spans whose trouble, if its kind has one, begins after `ONSET_SPANS`.

    Kinds: healthy, hard batches, mix change (healthy all three), nan, spike, jump (sudden divergence), rising, flat.
    Raises InputError for another kind. `fall_per_span` and `noise` in nats.
    """
    if kind not in SHAPES:
        raise InputError(f"no generated curve {kind!r}", fix=f"one of: {', '.join(SHAPES)}")
    rows = SPANS * scale.per_span
    onset = int(ONSET_SPANS * scale.per_span)
    at = np.arange(rows, dtype=np.float64) / scale.per_span
    random = np.random.Generator(np.random.PCG64([seed, len(kind), rows]))
    healthy = 3.0 - fall_per_span * at + 4.0 * np.exp(-at * 3)
    loss = SHAPES[kind](healthy, at, onset) + random.normal(0, noise, rows)
    if kind == "hard batches":
        loss[random.choice(rows, max(3, rows // 200), replace=False)] += 1.5
    calm = kind in ("healthy", "hard batches", "mix change")
    observed = tuple(_row(index, scale, {"loss": float(value)}) for index, value in enumerate(loss))
    return Curve(kind, observed, None if calm else observed[onset].step, calm, "generated")


def generate_shares(kind: str, rows: int, until_tokens: int, healthy_share: float, bad_share: float) -> Curve:
    """Curves of `top10_expert_share`: balanced, imbalanced (from one fifth of `until_tokens`), late (only after it)."""
    onset = {"balanced": math.inf, "imbalanced": 0.2, "late": 1.05}[kind]
    observed = []
    for index in range(rows):
        position = 1.5 * index / rows
        share = healthy_share if position < onset else bad_share
        observed.append(Observation(index, int(position * until_tokens), float(index), {"top10_expert_share": share}))
    bad = [row.step for row in observed if row.tokens >= onset * until_tokens]
    return Curve(kind, tuple(observed), bad[0] if kind == "imbalanced" else None, kind != "imbalanced", "generated")


def _row(index: int, scale: Scale, values: dict[str, float]) -> Observation:
    return Observation(index * scale.step, index * scale.tokens, index * scale.seconds, values)


def _nan(healthy: Array, at: Array, onset: int) -> Array:
    return np.where(np.arange(len(at)) >= onset, np.nan, healthy)


def _spike(healthy: Array, at: Array, onset: int) -> Array:
    since = np.arange(len(at)) - onset
    return healthy + np.where(since >= 0, 4.0 * np.exp(-np.maximum(since, 0) / 8), 0)


def _jump(healthy: Array, at: Array, onset: int) -> Array:
    return np.where(np.arange(len(at)) >= onset, healthy[onset] + 4.0, healthy)


def _rising(healthy: Array, at: Array, onset: int) -> Array:
    return np.where(np.arange(len(at)) >= onset, healthy[onset] + 0.15 * (at - at[onset]), healthy)


def _flat(healthy: Array, at: Array, onset: int) -> Array:
    return np.where(np.arange(len(at)) >= onset, healthy[onset], healthy)


def _mix_change(healthy: Array, at: Array, onset: int) -> Array:
    return healthy + np.where(np.arange(len(at)) >= onset, 0.2, 0)


def _healthy(healthy: Array, at: Array, onset: int) -> Array:
    return healthy


SHAPES: dict[str, Callable[[Array, Array, int], Array]] = {
    "healthy": _healthy,
    "hard batches": _healthy,
    "mix change": _mix_change,
    "nan": _nan,
    "spike": _spike,
    "jump": _jump,
    "rising": _rising,
    "flat": _flat,
}
"""Kinds of generated curves and their noiseless shape."""


def read_curves(folder: Path) -> list[Curve]:
    """Curves of real runs: every `*.csv` with `step` and `loss`, labelled by `index.json` where there is one, and
    every `loss_*.txt` with lines `s:STEP trl:LOSS` or `step:STEP/ALL train_loss:LOSS`.

    Raises InputError when the folder holds none.
    """
    labels = {}
    if (folder / "index.json").is_file():
        labels = {entry["file"]: entry for entry in json.loads((folder / "index.json").read_text())}
    curves = [_read_csv(path, labels.get(path.name, {})) for path in sorted(folder.glob("*.csv"))]
    curves += [_read_log(path) for path in sorted(folder.glob("loss_*.txt"))]
    found = [curve for curve in curves if curve is not None]
    if not found:
        raise InputError("no curves: neither *.csv with step and loss nor loss_*.txt", where=str(folder))
    return found


def _read_csv(path: Path, label: dict[str, object]) -> Curve | None:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or not {"step", "loss"} <= set(reader.fieldnames):
            return None
        rows = [_csv_row(record, number) for number, record in enumerate(reader)]
    events = label.get("events") or []
    onset = int(events[0]["step"]) if isinstance(events, list) and events else None
    outliers = label.get("outliers") or []
    steps = tuple(int(entry[0]) for entry in outliers) if isinstance(outliers, list) else ()
    return Curve(path.stem, tuple(rows), onset, bool(label.get("healthy", True)), path.name, steps)


def _csv_row(record: dict[str, str], number: int) -> Observation:
    values = {"loss": float(record["loss"] or "nan")}
    if record.get("grad_norm"):
        values["gradient_norm"] = float(record["grad_norm"])
    if values.get("gradient_norm") is not None and math.isnan(values["gradient_norm"]):
        del values["gradient_norm"]
    seconds = float(record.get("wall_s") or record.get("train_time_s") or number)
    return Observation(int(float(record["step"])), int(float(record.get("tokens") or 0)), seconds, values)


def _read_log(path: Path) -> Curve | None:
    pattern = re.compile(r"^s(?:tep)?:(\d+)(?:/\d+)? (?:trl|train_loss):([-\d.]+|nan|inf)")
    matches = (pattern.match(line) for line in path.read_text(errors="replace").splitlines())
    rows = [Observation(int(m[1]), 0, float(m[1]), {"loss": float(m[2])}) for m in matches if m]
    return Curve(path.stem, tuple(rows), None, True, path.name) if rows else None
