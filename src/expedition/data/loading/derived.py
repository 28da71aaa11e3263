"""Derived tables in parts: made once, a part at a time, by one process; a kill loses the parts in flight only.

`<place>/part-000000.flat`… are written first, `<place>/table.flat` last: it makes the table exist. The parts are made by
`data.engine` (in processes where there are several), under a lease; other processes wait for the table.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from expedition.data.loading.flat import Array, Flat, encode, open_flat
from expedition.errors import InputError, WorkspaceBusy
from expedition.workspace import NotFound, Workspace

PART_FILE = "part.flat"
"""What a part's function writes into its folder."""

_WORKERS = 8
_PRELOAD = ("expedition.data.loading.packs",)
_WAIT_S = 0.05

MakePart = Callable[[Any, Path], dict[str, Any]]
"""`make(payload, folder)`: writes `PART_FILE` and returns a summary (JSON values). Picklable and deterministic."""


def make_parts(
    ws: Workspace,
    place: str,
    schema: str,
    plan: Callable[[], tuple[MakePart, Sequence[Any]]],
    table: Callable[[list[dict[str, Any]]], tuple[dict[str, Array], dict[str, Any]]],
) -> Flat:
    """The opened table of `place`, made where it is missing or damaged: `plan()` gives the function and the payload of
    each part, `table(summaries)` the columns and meta of the table.

    Blocks while another live process makes it. Raises what the parts' function raises.
    """
    key = f"{place}/table.flat"
    while True:
        try:
            return open_flat(ws.store, key, f"{schema}.table")
        except (NotFound, InputError):
            pass
        try:
            with ws.lease(place) as lease:
                if not _is_whole(ws, key, schema):
                    make, payloads = plan()
                    summaries = _made(ws, place, make, payloads)
                    columns, meta = table(summaries)
                    lease.check()
                    ws.store.write(key, encode(columns, meta, f"{schema}.table"))
                    shutil.rmtree(_scratch(ws, place), ignore_errors=True)
        except WorkspaceBusy:
            time.sleep(_WAIT_S)


def _is_whole(ws: Workspace, key: str, schema: str) -> bool:
    try:
        open_flat(ws.store, key, f"{schema}.table")
    except (NotFound, InputError):
        return False
    return True


def _made(ws: Workspace, place: str, make: MakePart, payloads: Sequence[Any]) -> list[dict[str, Any]]:
    """Summaries of all parts, whose files are in the store then."""
    from expedition.data.engine import Limits, Task, map_shards

    scratch = _scratch(ws, place)
    tasks = [Task(f"part-{number:06d}", payload) for number, payload in enumerate(payloads)]
    for task in tasks:
        # A part whose file was moved into the store and deleted there since is made again.
        if (scratch / task.key).exists() and not _lies_there(ws, place, scratch, task.key):
            shutil.rmtree(scratch / task.key)
    several = len(tasks) > 1 and not multiprocessing.current_process().daemon
    workers = min(len(tasks), os.cpu_count() or 1, _WORKERS) if several else 0
    outcomes = map_shards(make, tasks, scratch, Limits(workers=workers, preload=_PRELOAD))
    summaries = []
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome.quarantined is not None:
            shutil.rmtree(outcome.folder, ignore_errors=True)
            raise InputError(f"a part could not be made: {outcome.quarantined}", where=f"{place}/{task.key}")
        if (outcome.folder / PART_FILE).exists():
            ws.store.upload(f"{place}/{task.key}.flat", outcome.folder / PART_FILE)
        summaries.append(outcome.summary)
    return summaries


def _lies_there(ws: Workspace, place: str, scratch: Path, name: str) -> bool:
    return (scratch / name / PART_FILE).exists() or ws.store.exists(f"{place}/{name}.flat")


def _scratch(ws: Workspace, place: str) -> Path:
    return ws.scratch(place.replace("/", "."))
