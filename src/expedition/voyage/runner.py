"""Runs the steps, records each finished one, and goes on where it was: after Ctrl-C, kill -9 or a failure.

A step is recorded in `voyage/steps/<name>.json` after its last command; commands are idempotent, so a step that was cut
is simply run again. The recorded fingerprint (programme, data folder, commands) makes a changed plan run anew instead of
passing on old results.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from expedition.errors import ExpeditionError, Interrupted, UsageError
from expedition.voyage.service import beside, filled
from expedition.voyage.step import PHASES, Command, Step
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_json
from expedition.workspace.orphans import die_with_parent

STEP_SCHEMA = "voyage.step/1"
SIGTERM_GRACE_S = 30.0


class StepFailed(ExpeditionError):
    """A command of the voyage ended with an exit code that its step does not expect; carries that code."""

    def __init__(self, step: Step, command: Command, code: int, stderr: str, workspace: str) -> None:
        self.exit_code = code if code in (1, 2, 3, 4, 5) else 1
        lines = [line for line in stderr.strip().splitlines() if line.strip()]
        super().__init__(
            f"step {step.name} stopped: exit code {code} of\n  {command.text(workspace)}\n"
            + "\n".join(f"  {line}" for line in lines[-12:]),
            fix="mend the cause and run the same command again: finished steps are kept",
        )


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that ran (or was found done) in this call."""

    step: Step
    wall_s: float
    reused: bool
    results: tuple[Any, ...]


Execute = Callable[[list[str]], tuple[int, str, str]]
"""Runs `expedition` with these arguments in this process; gives exit code, stdout, stderr."""

Listener = Callable[[str, Step, "StepRecord | None", "str | None"], None]
"""Called with ("start" | "line" | "done", step, record or None, line or None)."""


def choose(steps: Sequence[Step], *, first: str | None, only: str | None, until: str | None) -> list[Step]:
    """The steps that a call is about. Raises UsageError for a name that is neither step nor phase."""
    names = [step.name for step in steps]

    def place(name: str, *, end: bool) -> int:
        if name in names:
            return names.index(name)
        if name in PHASES:
            places = [number for number, step in enumerate(steps) if step.phase == name]
            return places[-1] if end else places[0]
        raise UsageError(f"no step or phase {name!r}", fix=f"steps: {', '.join(names)}; phases: {', '.join(PHASES)}")

    low = place(first, end=False) if first is not None else 0
    high = place(until, end=True) if until is not None else len(steps) - 1
    if only is not None:
        low, high = place(only, end=False), place(only, end=True)
    return list(steps[low : high + 1])


def sail(
    ws: Workspace,
    steps: Sequence[Step],
    *,
    fingerprint: str,
    execute: Execute,
    redo: frozenset[str] = frozenset(),
    listener: Listener | None = None,
) -> Iterator[StepRecord]:
    """Run `steps` in order and yield a record for each. Raises StepFailed or Interrupted.

    `redo` names steps that are run even if they are recorded as done. Holds the lease "voyage" meanwhile.
    """
    tell = listener or (lambda what, step, record, line: None)
    with ws.lease("voyage") as lease, _terminable():
        for step in steps:
            key = f"{layout.VOYAGE_STEPS}/{step.name}.json"
            mark = sha256_json([fingerprint, [list(item.argv) for item in (*step.commands, *step.services)]])
            if step.name not in redo and (done := _recorded(ws, key, mark)) is not None:
                record = StepRecord(step, float(done["wall_s"]), True, tuple(done["results"]))
                tell("done", step, record, None)
                yield record
                continue
            tell("start", step, None, None)
            started = time.monotonic()
            with beside(step.services, ws.place, ws.scratch("services")) as values:
                commands = [filled(command, values) for command in step.commands]
                results = [_run(ws, step, command, execute, tell) for command in commands]
            record = StepRecord(step, time.monotonic() - started, False, tuple(results))
            lease.check()
            ws.write_json(
                key,
                {
                    "step": step.name,
                    "mark": mark,
                    "wall_s": round(record.wall_s, 3),
                    "commands": [command.text(ws.place) for command in commands],
                    "services": [command.text(ws.place) for command in step.services],
                    "results": results,
                },
                schema=STEP_SCHEMA,
            )
            ws.events("voyage").append("voyage.step.finished", step=step.name, wall_s=round(record.wall_s, 3))
            tell("done", step, record, None)
            yield record


def _recorded(ws: Workspace, key: str, mark: str) -> dict[str, Any] | None:
    if not ws.store.exists(key):
        return None
    done = ws.read_json(key)
    return done if done.get("mark") == mark else None


def _run(ws: Workspace, step: Step, command: Command, execute: Execute, tell: Listener) -> Any:
    argv = [*command.arguments(ws.place), "--json"]
    code, stdout, stderr = _process(step, argv, tell) if command.process else execute(argv)
    if code == 4:
        raise Interrupted(f"stopped in step {step.name}", fix="run the same command again: it goes on where it was")
    if code not in command.expect:
        raise StepFailed(step, command, code, stderr, ws.place)
    try:
        return _small(json.loads(stdout)) if stdout.strip() else None
    except ValueError:
        return None


def _small(result: Any) -> Any:
    """The result without what is large: the record keeps numbers and short texts, files keep the rest."""
    if len(json.dumps(result, default=str)) <= 4000:
        return result
    if isinstance(result, dict):
        return {key: value for key, value in result.items() if isinstance(value, int | float | bool | str)}
    return None


def _process(step: Step, argv: list[str], tell: Listener) -> tuple[int, str, str]:
    """Run in a child; its stderr lines are told as they come. On our own interruption the child is asked to save."""
    child = subprocess.Popen(
        [sys.executable, "-m", "expedition", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    stdout: list[str] = []
    stderr: list[str] = []
    try:
        import threading

        assert child.stdout is not None and child.stderr is not None
        reader = threading.Thread(target=stdout.extend, args=(child.stdout,), daemon=True)
        reader.start()
        for line in child.stderr:
            stderr.append(line)
            tell("line", step, None, line.rstrip())
        code = child.wait()
        reader.join()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(SIGTERM_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
        raise
    return code, "".join(stdout), "".join(stderr)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the voyage like Ctrl-C does: children are asked to save first."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever embeds us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
