"""What torch.profiler recorded, read from the Chrome trace that it exports: events, what encloses each, what launched it.

Times are microseconds of the trace's own clock.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = frozenset({"cpu_op", "user_annotation", "cuda_runtime", "cuda_driver"})
DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
LAUNCHES = frozenset({"cuda_runtime", "cuda_driver"})


@dataclass(slots=True, eq=False)
class Event:
    """One stretch of time on one thread of the host, or on one stream of the device."""

    name: str
    category: str
    thread: Any
    start_us: float
    duration_us: float
    args: dict[str, Any]
    parent: Event | None = None
    """What encloses it on its thread; of a kernel, what launched it."""
    context: tuple[str, ...] | None = field(default=None, repr=False)
    """Known once `Trace.context` was asked."""
    owner: Event | None = field(default=None, repr=False)
    """Known once `split.owner_of` was asked."""
    owner_is_known: bool = field(default=False, repr=False)

    @property
    def end_us(self) -> float:
        return self.start_us + self.duration_us

    @property
    def dims(self) -> list[Any]:
        """Sizes of the inputs; [] where none were recorded."""
        return list(self.args.get("Input Dims") or ())

    @property
    def types(self) -> list[str]:
        """Types of the inputs as torch writes them: "float", "c10::BFloat16"."""
        return list(self.args.get("Input type") or ())


@dataclass(frozen=True, slots=True)
class Trace:
    """Host events by time, parents before children; device events by time."""

    host: tuple[Event, ...]
    device: tuple[Event, ...]
    forward: dict[tuple[Any, int], Event]
    """Operation of the forward pass by thread and autograd's sequence number: the one whose backward node has it."""
    main: Any
    """The thread of the forward pass."""

    def named(self, name: str) -> Event:
        """The host event of that name. Raises LookupError without one."""
        for event in self.host:
            if event.name == name:
                return event
        raise LookupError(f"the trace has no {name!r}")

    def context(self, event: Event) -> tuple[str, ...]:
        """Names of what encloses an event, itself first, outwards; in the backward pass also of what encloses the
        operation whose gradient it is."""
        if event.context is None:
            outer = () if event.parent is None else self.context(event.parent)
            event.context = (event.name, *self._forward_of(event, outer), *outer)
        return event.context

    def _forward_of(self, event: Event, outer: tuple[str, ...]) -> tuple[str, ...]:
        """Numbers are a thread's own. What is computed again is made on the thread of the backward pass."""
        number = event.args.get("Sequence number")
        if number is None or not event.args.get("Fwd thread id") or _NODE in event.name:
            return ()
        again = int(event.args["Fwd thread id"]) > 1 and event.thread != self.main
        made = self.forward.get((event.thread, number)) if again else None
        made = made or self.forward.get((self.main, number))
        return () if made is None or made.name in outer else self.context(made)


_NODE = "autograd::engine::evaluate_function"


def read_trace(path: Path) -> Trace:
    """The trace in a file that `torch.profiler` exported."""
    return trace_of(json.loads(path.read_bytes())["traceEvents"])


def trace_of(raw: Iterable[dict[str, Any]]) -> Trace:
    """The trace of Chrome's trace events."""
    events = [
        Event(str(e["name"]), e["cat"], e.get("tid"), float(e["ts"]), float(e.get("dur", 0.0)), e.get("args") or {})
        for e in raw
        if e.get("ph") == "X" and e.get("cat") in HOST | DEVICE
    ]
    # An event that begins with another and is longer encloses it.
    host = sorted((e for e in events if e.category in HOST), key=lambda e: (e.start_us, -e.duration_us))
    device = sorted((e for e in events if e.category in DEVICE), key=lambda e: e.start_us)
    _nest(host)
    _attach(device, host)
    forward = _forward_operations(host)
    threads = Counter(thread for thread, _ in forward)
    return Trace(tuple(host), tuple(device), forward, threads.most_common(1)[0][0] if threads else None)


def _nest(host: Sequence[Event]) -> None:
    """Give every host event the innermost one of its thread that holds its beginning."""
    open_by_thread: dict[Any, list[Event]] = {}
    for event in host:
        stack = open_by_thread.setdefault(event.thread, [])
        while stack and stack[-1].end_us <= event.start_us:
            stack.pop()
        event.parent = stack[-1] if stack else None
        stack.append(event)


def _attach(device: Sequence[Event], host: Sequence[Event]) -> None:
    """Give every kernel its launch; by operation where the launch was not recorded."""
    launches = {e.args["correlation"]: e for e in host if e.category in LAUNCHES and "correlation" in e.args}
    operations = {e.args["External id"]: e for e in host if e.category == "cpu_op" and "External id" in e.args}
    for event in device:
        launch = launches.get(event.args.get("correlation"))
        if launch is None or launch.parent is None:
            launch = operations.get(event.args.get("External id"), launch)
        event.parent = launch


def _forward_operations(host: Sequence[Event]) -> dict[tuple[Any, int], Event]:
    """The number rises when a node is made, so of the operations that saw it the last to begin made its node."""
    found: dict[tuple[Any, int], Event] = {}
    for event in host:
        number = event.args.get("Sequence number")
        if number is not None and event.category == "cpu_op" and not event.args.get("Fwd thread id"):
            found[event.thread, number] = event
    return found
