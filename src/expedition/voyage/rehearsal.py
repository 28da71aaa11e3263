"""`rehearse`: begin or go on with a voyage in a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.errors import UsageError
from expedition.plan import dump_programme
from expedition.plan.models import Programme
from expedition.voyage.runner import Execute, Listener, StepRecord, choose, sail
from expedition.voyage.step import Step
from expedition.voyage.steps import POC_SIZE, Course, voyage_steps
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json

LOG = "voyage/voyage.json"
LOG_SCHEMA = "voyage.log/1"


@dataclass(frozen=True, slots=True)
class Orders:
    """What the user asked for. `data` None: generate the sample of `size` and `seed`."""

    data: Path | None = None
    size: str = "small"
    seed: int = 7
    first: str | None = None
    only: str | None = None
    until: str | None = None


def plan_voyage(ws: Workspace, programme: Programme, orders: Orders) -> tuple[list[Step], str]:
    """The chosen steps and the voyage's fingerprint. Raises UsageError for unknown names."""
    course = _course(ws, orders)
    steps = voyage_steps(programme, course)
    fingerprint = sha256_json([dump_programme(programme), course.data_dir, course.sample, course.seed])
    return choose(steps, first=orders.first, only=orders.only, until=orders.until), fingerprint


def rehearse(
    ws: Workspace, programme: Programme, orders: Orders, execute: Execute, listener: Listener | None = None
) -> Iterator[StepRecord]:
    """Sail the chosen steps; yields a record as each is done.

    The workspace keeps the resolved programme and what it was begun with; raises UsageError when it was begun with
    other data, another size or another programme: one workspace is one voyage.
    """
    steps, fingerprint = plan_voyage(ws, programme, orders)
    _begin(ws, programme, orders, fingerprint)
    redo = frozenset(step.name for step in steps) if orders.only is not None else frozenset()
    yield from sail(ws, steps, fingerprint=fingerprint, execute=execute, redo=redo, listener=listener)


def _begin(ws: Workspace, programme: Programme, orders: Orders, fingerprint: str) -> None:
    begun: dict[str, Any] | None = ws.read_json(LOG) if ws.store.exists(LOG) else None
    if begun is not None and begun["fingerprint"] != fingerprint:
        raise UsageError(
            f"this voyage was begun with {begun['what']}",
            where=ws.store.describe(),
            fix="go on with the same options, or sail in another --workspace",
        )
    if begun is None:
        what = f"preset {programme.preset}, " + (
            f"data {orders.data.resolve()}" if orders.data is not None else f"sample {orders.size}, seed {orders.seed}"
        )
        ws.write_text(layout.PROGRAMME, dump_programme(programme))
        ws.write_json(LOG, {"fingerprint": fingerprint, "what": what}, schema=LOG_SCHEMA)
        ws.events("voyage").append("voyage.begun", what=what, programme=programme.name)


def _course(ws: Workspace, orders: Orders) -> Course:
    poc, store = ws.scratch("raw") / "poc", str(ws.scratch("object-store"))
    if orders.data is not None:
        if not orders.data.is_dir():
            raise UsageError("there is no such folder", where=str(orders.data), fix="--data DIR with raw files")
        folder = str(orders.data.resolve())
        return Course(folder, None, str(poc), orders.seed, folder, store)
    data, outside = (str(ws.scratch("raw") / f"{name}-{orders.size}") for name in ("sample", "outside"))
    small = data if orders.size == POC_SIZE else str(poc)
    return Course(data, (orders.size, orders.seed), small, orders.seed, outside, store)
