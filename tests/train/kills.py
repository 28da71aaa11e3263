"""Kills a training process at drawn moments, starts it again until its run is done, and compares with one left alone.

One process imports everything once and forks; a child trains and is killed with SIGKILL: after a drawn time by its
parent, or by itself at a drawn call of a point that matters. The parent starts no thread, so a fork is safe: whatever
reads Parquet or runs a model does so in a child.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from expedition.errors import ExpeditionError
from expedition.train import bad_step
from expedition.train.checkpoint import checkpoints
from expedition.train.compute import Forward
from expedition.train.run import Inputs, train_run
from expedition.train.saving import resume
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace, atomic, layout
from expedition.workspace.store import FolderStore
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

with contextlib.suppress(ImportError):
    import pandas  # noqa: F401  pyarrow imports it where it is installed: once here, not in every child

RUN = tiny_run(
    length="24 steps",
    micro_batches=2,
    checkpoint={"permanent_every": "8 steps", "ephemeral_every": "2 steps"},
    optimizer={"kind": "adamw"},
)
PROGRAMME = programme_with(main=RUN)
MOST_KILLS = 12
"""Of one run; then it is left alone."""
LIMIT_S = 120.0
NOT_COMPARED = {"time_s", "step_s", "data_s", "forward_backward_s", "optimizer_s", "other_s", "tokens_per_s", "mfu"}
"""Columns that hold clock times."""


@dataclass(frozen=True)
class Fate:
    """How an attempt dies: `seconds` after its start, or at call `number` of a point (before, amid or after it)."""

    point: str
    number: int = 0
    seconds: float = 0.0
    moment: str = "before"


POINTS = {
    # point              calls in an attempt, about
    "micro-batch": 30,
    "decision of the step": 12,
    "store": 40,
    "bytes": 40,
    "manifest": 6,
    "complete": 6,
    "metrics": 3,
    "retire": 12,
    "restore": 1,
}


def draw_fate(draw: random.Random, usual_s: float) -> Fate:
    """Half of the kills come at a random time, half at a random call of a random point."""
    if draw.random() < 0.5:
        return Fate("time", seconds=draw.uniform(0.0, 0.9 * usual_s))
    point = draw.choice(sorted(POINTS))
    return Fate(point, draw.randrange(POINTS[point]), moment=draw.choice(("before", "after")))


def die() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(fate: Fate) -> None:
    """Have this process die at its fate."""
    if fate.point == "bytes":
        atomic._write_and_sync = _half_written(fate)  # type: ignore[attr-defined]
        return
    count = itertools.count()
    for owner, names, ending in _places(fate.point):
        for name in names:
            setattr(owner, name, _around(getattr(owner, name), fate, count, ending))


def _places(point: str) -> list[tuple[Any, tuple[str, ...], str]]:
    """Owner, names of its calls, and how a key ends for a call on the store to count."""
    writes = ("write", "create", "upload")
    endings = {"store": "", "manifest": "/manifest.json", "complete": "/COMPLETE", "metrics": ".parquet"}
    if point in endings:
        return [(FolderStore, writes, endings[point])]
    return {
        "micro-batch": [(Forward, ("__call__",), "")],
        "decision of the step": [(bad_step, ("judge",), "")],
        "restore": [(resume, ("restore",), "")],
        "retire": [(FolderStore, ("delete",), "")],
    }[point]


def _around(call: Callable[..., Any], fate: Fate, count: Iterator[int], ending: str) -> Callable[..., Any]:
    def around(*args: Any, **kwargs: Any) -> Any:
        hit = (not ending or str(args[1]).endswith(ending)) and next(count) == fate.number
        if hit and fate.moment == "before":
            die()
        result = call(*args, **kwargs)
        if hit:
            die()
        return result

    return around


def _half_written(fate: Fate) -> Callable[[Path, bytes], None]:
    whole, count = atomic._write_and_sync, itertools.count()

    def write(path: Path, data: bytes) -> None:
        if next(count) == fate.number:
            path.write_bytes(data[: len(data) // 2])
            die()
        whole(path, data)

    return write


def inputs() -> Inputs:
    return Inputs(CountingSource(RUN), tiny_config())


def train(place: Path, fate: Fate | None) -> None:
    """Go on with the run in this process."""
    if fate is not None and fate.point != "time":
        arm(fate)
    train_run(Workspace.open(place, create=True), PROGRAMME, "main", inputs=inputs())


def outcome(place: Path) -> dict[str, Any]:
    """What a run must end with whatever happened on the way: weights, moments, state, metrics, token accounting."""
    ws = Workspace.open(place)
    columns = read_metrics(ws, "main")
    summary = ws.read_json(layout.run_summary("main"))
    return {
        "files": {
            info.name: {name: entry["sha256"] for name, entry in info.files.items()}
            for info in checkpoints(ws, "main")
            if info.permanent
        },
        "metrics": {
            name: [float(value).hex() for value in values]
            for name, values in sorted(columns.items())
            if name not in NOT_COMPARED
        },
        "read": summary["read"],
        "tokens": [summary["steps"], summary["tokens"], summary["real_tokens"]],
        "config": ws.store.read(f"{layout.run('main')}/config.yaml").decode(),
    }


def in_child(work: Callable[[], Any], kill_after_s: float | None = None) -> tuple[int, Any]:
    """Fork, do `work`, and return the child's exit status (negative: signal) and what it returned, as JSON.

    A child that takes longer than `LIMIT_S` is killed and reported as -14.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.close(read)
            answer = json.dumps(work()).encode()
            os.write(write, len(answer).to_bytes(8, "big"))
            with os.fdopen(write, "wb") as pipe:
                pipe.write(answer)
            code = 0
        except ExpeditionError as error:
            sys.stderr.write(f"{error}\n")
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    return _await(child, read, kill_after_s)


def _await(child: int, read: int, kill_after_s: float | None) -> tuple[int, Any]:
    began = time.monotonic()
    late = False
    status: int | None = None
    with os.fdopen(read, "rb") as pipe:
        os.set_blocking(pipe.fileno(), False)
        told = b""
        while status is None:
            found, raw = os.waitpid(child, os.WNOHANG)
            told += pipe.read() or b""
            if found:
                status = os.waitstatus_to_exitcode(raw)
                break
            passed = time.monotonic() - began
            late = passed > LIMIT_S
            if late or (kill_after_s is not None and passed >= kill_after_s):
                os.kill(child, signal.SIGKILL)
                kill_after_s = None
            time.sleep(0.001)
        told += pipe.read() or b""
    whole = len(told) >= 8 and len(told) == 8 + int.from_bytes(told[:8], "big")
    return (-14 if late else status), (json.loads(told[8:]) if whole else None)


@dataclass
class Tally:
    """What happened over all runs."""

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Kills in all."""
        return self.kills.total()


def known_steps(place: Path) -> tuple[int, int]:
    """Step of the newest complete checkpoint, and how many attempts have begun."""
    if not place.exists():
        return 0, 0
    ws = Workspace.open(place, create=True)
    started = sum(1 for event in ws.events_all("train.started") if event.kind == "train.started")
    return max((info.step for info in checkpoints(ws, "main")), default=0), started


def began_at(place: Path) -> list[int]:
    """Step at which each attempt began."""
    events = Workspace.open(place).events_all("train.started")
    return [event.fields["step"] for event in events if event.kind == "train.started"]


def torment(place: Path, reference: dict[str, Any], draw: random.Random, usual_s: float, tally: Tally) -> None:
    """Train one run to its end through kills, and note in `tally` whatever is not as it should be."""
    tally.runs += 1
    killed = 0
    while True:
        fate = draw_fate(draw, usual_s) if killed < MOST_KILLS else None
        newest, attempts = known_steps(place)
        after = fate.seconds if fate is not None and fate.point == "time" else None
        code, _ = in_child(lambda fate=fate: train(place, fate), kill_after_s=after)
        tally.starts += 1
        begun = began_at(place) if (place / "workspace.json").exists() else []
        if len(begun) > attempts and begun[-1] != newest:
            tally.problems.append(f"{place.name}: began at step {begun[-1]}, the newest checkpoint had {newest}")
        if code == -signal.SIGKILL and fate is not None:
            killed += 1
            tally.kills[fate.point] += 1
            continue
        if code != 0:
            tally.problems.append(f"{place.name}: ended with {code} after {killed} kills ({fate})")
        break
    code, found = in_child(lambda: outcome(place))
    if code != 0 or found is None:
        tally.problems.append(f"{place.name}: nothing to compare, {code}")
        return
    for part, value in reference.items():
        if found[part] != value:
            tally.problems.append(f"{place.name}: {part} differ after {killed} kills")


def undisturbed(place: Path) -> tuple[dict[str, Any], float]:
    """The outcome of a run that is left alone, and its seconds."""
    torch.set_num_threads(1)
    began = time.monotonic()
    code, _ = in_child(lambda: train(place, None))
    usual_s = time.monotonic() - began
    assert code == 0, f"the undisturbed run ended with {code}"
    code, found = in_child(lambda: outcome(place))
    assert code == 0 and found is not None
    return found, usual_s


__all__ = ["RUN", "Tally", "torment", "undisturbed"]
