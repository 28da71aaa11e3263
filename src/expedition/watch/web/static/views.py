"""What the run views show (global, hardware, network, MoE), and of each: is it there, how old, of how many ranks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from expedition.watch.catalogue import CATALOGUE, EXPERT_TOKENS
from expedition.watch.probes import sample_host
from expedition.watch.segments import Attempt, Columns, attempts, ranks, read_metrics, read_vectors, runs
from expedition.workspace import NotFound, layout

if TYPE_CHECKING:
    from expedition.workspace import Workspace

POINTS = 600
"""Most points of a drawn series; longer ones are thinned, with the extremes of every stretch kept."""
HISTOGRAM_ROWS = 50
"""Newest rows whose expert counts are added up."""
HARDWARE = tuple(metric.name for metric in CATALOGUE if metric.view == "hardware")


@dataclass(frozen=True, slots=True)
class View:
    """One view: its data and its health."""

    data: Any
    present: bool
    fresh_s: float | None
    """Age of the newest figure, seconds; None = unknown."""
    ranks: int


def global_view(ws: Workspace, now: float) -> View:
    """Loss, learning rate, gradient norm, tokens and speed of every run."""
    data: dict[str, Any] = {}
    for run in runs(ws):
        columns = read_metrics(ws, run)
        if columns["step"].size:
            names = [n for n in columns if _view_of(n) == "global"]
            data[run] = {
                "series": thin(columns, names),
                "attempts": [_attempt(ws, run, attempt) for attempt in attempts(ws, run)],
                "summary": _json(ws, layout.run_summary(run)),
            }
    counts = [len(ranks(ws, run)) for run in data]
    return View(data, bool(data), _age(ws, (layout.metrics(run) for run in data), now), max(counts, default=0))


def _attempt(ws: Workspace, run: str, attempt: Attempt) -> dict[str, Any]:
    """One process's part, with the loss of the rows that a later one has done again."""
    found: dict[str, Any] = asdict(attempt)
    if attempt.kept_rows < attempt.rows:
        again = read_metrics(ws, run, ["loss"], attempt=attempt.number)
        found["superseded"] = thin({name: column[attempt.kept_rows :] for name, column in again.items()}, ["loss"])
    return found


def hardware_view(ws: Workspace, now: float) -> View:
    """Newest hardware figures of every rank, and this machine as it is now. Unknown figures are None."""
    rows = []
    known = runs(ws)
    for run in known:
        for rank in ranks(ws, run):
            columns = read_metrics(ws, run, list(HARDWARE), rank)
            newest = {name: _newest(columns[name]) for name in HARDWARE}
            if any(value is not None for value in newest.values()):
                rows.append({"run": run, "rank": rank, **newest})
    host = asdict(sample_host())
    age = _age(ws, (layout.metrics(run) for run in known), now) if rows else 0.0
    return View({"ranks": rows, "host": host, "metrics": list(HARDWARE)}, True, age, len(rows) or 1)


def network_view(ws: Workspace, now: float) -> View:
    """The measured bandwidth matrix, with the conditions that it was measured under."""
    links = _json(ws, "cluster/links.json")
    if links is None:
        return View(None, False, None, 0)
    written = datetime.fromisoformat(links["written"]).timestamp()
    return View(links, True, max(0.0, now - written), int(links["ranks"]))


def moe_view(ws: Workspace, now: float) -> View:
    """Load CV and busiest experts' share by layer, router z-loss, and how much every expert was used lately."""
    data: dict[str, Any] = {}
    for run in runs(ws):
        columns = read_metrics(ws, run)
        names = [name for name in columns if _view_of(name) == "moe"]
        steps, counts_NLE = read_vectors(ws, run, EXPERT_TOKENS)
        if not names and not steps.size:
            continue
        lately_LE = counts_NLE[-HISTOGRAM_ROWS:].sum(axis=0) if steps.size else np.zeros((0, 0))
        totals = lately_LE.sum(axis=1, keepdims=True) if lately_LE.ndim == 2 and lately_LE.size else None
        shares = (lately_LE / np.maximum(totals, 1)).tolist() if totals is not None else []
        data[run] = {
            "series": thin(columns, names),
            "expert_shares": shares,
            "rows": int(min(HISTOGRAM_ROWS, steps.size)),
        }
    return View(data, bool(data), _age(ws, (layout.metrics(run) for run in data), now), 1 if data else 0)


def thin(columns: Columns, names: Iterable[str]) -> dict[str, list[Any]]:
    """`step`, `tokens`, `time_s` and the named columns as JSON, at most about `POINTS` rows; NaN becomes null.

    Every stretch of rows keeps those where the loss is least and greatest, so no spike disappears.
    """
    kept = _kept(columns)
    wanted = ["step", "tokens", "time_s", *names]
    return {name: [_plain(value) for value in columns[name][kept]] for name in wanted}


def _kept(columns: Columns) -> npt.NDArray[np.int64]:
    rows = len(columns["step"])
    if rows <= POINTS:
        return np.arange(rows)
    loss = np.asarray(columns.get("loss", columns["step"]), dtype=np.float64)
    safe = np.where(np.isfinite(loss), loss, np.inf)
    chosen = {0, rows - 1}
    for stretch in np.array_split(np.arange(rows), POINTS // 2):
        chosen |= {int(stretch[np.argmin(safe[stretch])]), int(stretch[np.argmax(safe[stretch])])}
    return np.array(sorted(chosen))


def _plain(value: Any) -> float | int | None:
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.6g}")


def _view_of(name: str) -> str | None:
    return next((metric.view for metric in CATALOGUE if metric.matches(name)), None)


def _newest(column: npt.NDArray[np.generic]) -> float | None:
    values = np.asarray(column, dtype=np.float64)
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else None


def _age(ws: Workspace, prefixes: Iterable[str], now: float) -> float | None:
    """Seconds since the newest event of training; the log's own clock, as stores give no file times."""
    if not any(True for prefix in prefixes for _ in ws.store.list(prefix)):
        return None
    times = [event.time for event in ws.events_all("train.")]
    return max(0.0, now - datetime.fromisoformat(max(times)).timestamp()) if times else None


def _json(ws: Workspace, key: str) -> dict[str, Any] | None:
    try:
        return ws.read_json(key)
    except NotFound:
        return None


def now_s() -> float:
    """Seconds since the epoch."""
    return datetime.now(UTC).timestamp()


def natural(name: str) -> list[Any]:
    """Sort key that puts layer 2 before layer 10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
