"""Fault drills on a running job: kill it or freeze it without warning, and measure detection, restore and restart.

The job is any command that writes `train.*` events into the workspace (`python -m expedition train run …`) and goes
on where it was when it is started again. The drill is its supervisor: it learns of the fault only as a supervisor
would, from the process's death or from the silence of its events.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from expedition.cluster.nodes import record_node
from expedition.errors import CheckFailed, UsageError
from expedition.workspace import Event, NotFound, layout
from expedition.workspace.orphans import die_with_parent

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "cluster.drills/1"
POLL_S = 0.05
Kind = Literal["kill", "hang"]


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What is broken, when, and what counts as recovered."""

    run: str
    command: Sequence[str]
    kind: Kind = "kill"
    """`kill`: SIGKILL to the job's processes. `hang`: SIGSTOP, found by silence."""
    after_step: int = 0
    """Break it after a checkpoint exists and an event tells of a step at or after this one."""
    silence_s: float = 60.0
    """A job without a new event for so long is taken for hanging."""
    start_timeout_s: float = 600.0
    bound_s: float = 600.0
    """The drill passes when steps are made again within this time after the fault."""
    node: str = "local-0"
    """Name, in the ledger, of the node that the broken process stands for."""
    environment: tuple[tuple[str, str], ...] = ()
    """Extra environment variables of the job."""


@dataclass(frozen=True, slots=True)
class DrillResult:
    """Times in seconds: fault to noticed; reading the checkpoint (from process start where the job does not say);
    fault to the first new step."""

    kind: Kind
    run: str
    detect_s: float
    restore_s: float | None
    restart_s: float | None
    removed_node: str | None
    lost_steps: int | None
    exit_code: int | None
    bound_s: float
    ok: bool
    problem: str | None
    conditions: tuple[str, ...] = ("local processes", "the isolated node is a process on this machine")


def train_command(
    run: str, workspace: str, programme: str | None = None, preset: str | None = None, sets: Sequence[str] = ()
) -> list[str]:
    """The command that trains a run, or goes on with it."""
    command = [sys.executable, "-m", "expedition", "train", "run", "--run", run, "--workspace", workspace]
    for option, value in (("--programme", programme), ("--preset", preset)):
        command += [option, value] if value is not None else []
    for value in sets:
        command += ["--set", value]
    return command


def drill_kind(text: str) -> Kind:
    """`kill` or `hang`. Raises UsageError for anything else."""
    match text:
        case "kill" | "hang":
            return text
    raise UsageError(f"no drill {text!r}", fix="kill or hang")


def run_drill(ws: Workspace, plan: DrillPlan) -> DrillResult:
    """Start the job, break it, restart it, wait for its end; writes reports/drill.json and the node's isolation.

    Blocking: as long as the job takes. Raises CheckFailed if the job ends before it can be broken.
    """
    log = ws.scratch("drills") / f"{plan.run}.log"
    job = _start(plan, log)
    try:
        _await_moment(ws, plan, job, log)
        broken_at = _now()
        broken = time.monotonic()
        _signal(job, signal.SIGKILL if plan.kind == "kill" else signal.SIGSTOP)
        detect_s = _detect(ws, plan, job, broken)
    finally:
        _signal(job, signal.SIGKILL)
        job.wait()
    record_node(ws, plan.node, "isolated", f"drill: {plan.kind} of run {plan.run} noticed after {detect_s:.2f} s")
    result = _recover(ws, plan, broken_at, detect_s, log)
    _report(ws, result)
    return result


def _await_moment(ws: Workspace, plan: DrillPlan, job: subprocess.Popen[bytes], log: Path) -> None:
    """Until the job has saved a checkpoint and, where its events tell of steps, has gone past it and `after_step`."""
    deadline = time.monotonic() + plan.start_timeout_s
    since = _now()
    while time.monotonic() < deadline:
        if job.poll() is not None:
            raise CheckFailed(
                f"the job ended with {job.returncode} before the drill could break it: {_tail(log)}",
                where=f"drill on run {plan.run}",
                fix="drill a longer run, or a smaller after_step",
            )
        events = _events(ws, plan.run, since)
        saved = [int(e.fields["step"]) for e in events if e.kind == "train.checkpoint.complete"]
        reached = saved + [int(e.fields["last_step"]) + 1 for e in events if e.kind == "train.step_window"]
        if saved and max(reached) >= plan.after_step:
            return
        time.sleep(POLL_S)
    raise UsageError(
        f"run {plan.run} wrote no checkpoint at or after step {plan.after_step} within {plan.start_timeout_s:g} s",
        fix="raise start_timeout_s or let the run save more often",
    )


def _detect(ws: Workspace, plan: DrillPlan, job: subprocess.Popen[bytes], broken: float) -> float:
    """Seconds from the fault until the supervisor knows: the process is gone, or its events have fallen silent."""
    last_count, last_change = -1, broken
    while True:
        if job.poll() is not None:
            return time.monotonic() - broken
        count = len(_events(ws, plan.run, ""))
        now = time.monotonic()
        if count != last_count:
            last_count, last_change = count, now
        if now - last_change >= plan.silence_s:
            return now - broken
        time.sleep(POLL_S)


def _recover(ws: Workspace, plan: DrillPlan, broken_at: str, detect_s: float, log: Path) -> DrillResult:
    restarted_at = _now()
    job = _start(plan, log)
    exit_code = job.wait()
    events = _events(ws, plan.run, restarted_at)
    restored = next((e for e in events if e.kind == "train.started" and int(e.fields["step"]) > 0), None)
    restore_s = None
    if restored is not None:
        restore_s = restored.fields.get("restore_s")
        restore_s = _between(restarted_at, restored.time) if restore_s is None else float(restore_s)
    restart_s = _restart_s(events, broken_at)
    problem = _problem(plan, exit_code, restored, restart_s, log)
    return DrillResult(
        kind=plan.kind,
        run=plan.run,
        detect_s=detect_s,
        restore_s=restore_s,
        restart_s=restart_s,
        removed_node=plan.node,
        lost_steps=_lost_steps(ws, plan, restarted_at, restored),
        exit_code=exit_code,
        bound_s=plan.bound_s,
        ok=problem is None,
        problem=problem,
    )


def _problem(plan: DrillPlan, exit_code: int, restored: Event | None, restart_s: float | None, log: Path) -> str | None:
    if exit_code != 0:
        return f"the restarted job ended with {exit_code}: {_tail(log)}"
    if restored is None:
        return "the restarted job began anew instead of resuming"
    if restart_s is None:
        return "the restarted job made no step"
    if restart_s > plan.bound_s:
        return f"steps were made again after {restart_s:.1f} s, bound {plan.bound_s:g} s"
    return None


def _restart_s(events: Sequence[Event], broken_at: str) -> float | None:
    """Seconds from the fault to the first sign of new steps: a step window (its first step), a checkpoint, the end."""
    for event in events:
        if event.kind == "train.step_window":
            return _between(broken_at, event.time) - float(event.fields["wall_s"])
        if event.kind in ("train.checkpoint.complete", "train.finished"):
            return _between(broken_at, event.time)
    return None


def _lost_steps(ws: Workspace, plan: DrillPlan, restarted_at: str, restored: Event | None) -> int | None:
    """Steps that had been made before the fault and are made again."""
    if restored is None:
        return None
    known = restored.fields.get("recomputed_steps")
    if known is not None:
        return int(known)
    windows = (e for e in _events(ws, plan.run, "") if e.kind == "train.step_window" and e.time < restarted_at)
    made = max((int(e.fields["last_step"]) + 1 for e in windows), default=0)
    return max(0, made - int(restored.fields["step"]))


def _report(ws: Workspace, result: DrillResult) -> None:
    try:
        drills = list(ws.read_json(layout.report("drill"))["drills"])
    except NotFound:
        drills = []
    drills.append(asdict(result))
    conditions = sorted({condition for drill in drills for condition in drill["conditions"]})
    ws.write_json(layout.report("drill"), {"drills": drills, "conditions": conditions}, schema=SCHEMA)
    ws.events("cluster").append(
        "drill.finished", run=result.run, fault=result.kind, ok=result.ok, restart_s=result.restart_s
    )


def _start(plan: DrillPlan, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            list(plan.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
            env={**os.environ, **dict(plan.environment)},
        )


def _signal(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the whole process group of the job: its ranks and loader workers too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, number)


def _events(ws: Workspace, run: str, since: str) -> list[Event]:
    return [e for e in ws.events_all("train.") if e.fields.get("run") == run and e.time >= since]


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
