"""A recorded stretch of steps divided into its parts: compute by family, exposed communication by mesh dimension, data
wait, callbacks, checkpoint, host overhead. Each moment counts once, so the parts add up to the stretch.

On an accelerator a moment belongs to what runs there; where nothing runs, to what the host does. On the CPU it belongs to
the operator that runs on the trainer's thread, else to a collective that is under way, else to what the host does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from expedition.train.profiling.families import SPAN, family_of, is_product
from expedition.train.profiling.recorder import BEGIN, END
from expedition.train.profiling.roofline import TRANSFERS, Amount, amount_of
from expedition.train.profiling.timeline import Interval, covered, divide
from expedition.train.profiling.trace import Event, Trace

COMPUTE: Final = "compute/"
COMMUNICATION: Final = "communication/"
COLLECTIVE: Final = "collective:"
"""Prefix of the range around a call of torch.distributed, with the mesh dimension of its group."""
DATA, CALLBACKS, CHECKPOINT, HOST = "data_wait", "callbacks", "checkpoint", "host"
_STRETCHES: Final = {f"{SPAN}data": DATA, f"{SPAN}callbacks": CALLBACKS, f"{SPAN}checkpoint": CHECKPOINT}
UNKNOWN_GROUP: Final = "other groups"


@dataclass(frozen=True, slots=True)
class Work:
    """One kernel, or the time that one operator ran itself on the CPU."""

    event: Event
    start_us: float
    end_us: float
    label: str
    """Part of the step."""
    family: str | None
    """None for communication."""


@dataclass(frozen=True, slots=True)
class Split:
    """Of the whole stretch, microseconds."""

    window_us: float
    parts: dict[str, float]
    """By label; they add up to the window."""
    communication_us: dict[str, float]
    """By mesh dimension, whether or not something ran beside it."""
    works: tuple[Work, ...]
    amounts: dict[int, Amount]
    """FLOPs and bytes of operations by `id` of their event, where sizes are known."""


def split(trace: Trace, head_sizes: tuple[int, int], dimensions: Mapping[str, str]) -> Split:
    """The recorded stretch of a trace. `head_sizes`: vocabulary and hidden size; `dimensions`: mesh dimension by the
    name of a process group."""
    begin, end = trace.named(BEGIN), trace.named(END)
    start_us, end_us = begin.end_us, end.start_us
    marks = _Marks(trace, begin.thread, head_sizes)
    if trace.device:
        works = [work for work in _device_works(trace, marks, dimensions) if work.end_us > start_us]
    else:
        works = list(_host_works(trace, marks, begin.thread, start_us, end_us))
    collectives = list(_host_collectives(trace))
    running = [Interval(work.start_us, work.end_us, work.label) for work in works if work.family is not None]
    sending = [Interval(work.start_us, work.end_us, work.label) for work in works if work.family is None]
    sending += [Interval(one.start, one.end, COMMUNICATION + one.label) for one in collectives]
    stretches = [
        Interval(event.start_us, event.end_us, _STRETCHES[event.name])
        for event in trace.host
        if event.name in _STRETCHES and event.thread == begin.thread
    ]
    parts = divide(start_us, end_us, [running, sending, stretches], HOST)
    sent = covered(start_us, end_us, sending)
    inside = tuple(work for work in works if work.start_us < end_us)
    return Split(
        end_us - start_us,
        parts,
        {label.removeprefix(COMMUNICATION): spent for label, spent in sent.items()},
        inside,
        _amounts(inside),
    )


class _Marks:
    """Labels of operations, each found once."""

    def __init__(self, trace: Trace, main: object, head_sizes: tuple[int, int]) -> None:
        self._trace, self._main, self._sizes = trace, main, set(head_sizes)

    def of(self, event: Event) -> tuple[str, str]:
        """(label, family) of an operation or kernel."""
        context = self._trace.context(event)
        family = family_of(context, is_head=is_product(context) and self._is_head(event))
        stretch = next((_STRETCHES[name] for name in context if name in _STRETCHES), None)
        return stretch or COMPUTE + family, family

    def _is_head(self, event: Event) -> bool:
        operation: Event | None = event
        while operation is not None and not operation.dims:
            operation = operation.parent
        if operation is None:
            return False
        sizes = {size for dims in operation.dims[:3] if dims for size in dims if isinstance(size, int)}
        return len(self._sizes) == 2 and self._sizes <= sizes


def _device_works(trace: Trace, marks: _Marks, dimensions: Mapping[str, str]) -> Iterator[Work]:
    for event in trace.device:
        if _is_collective(event):
            yield Work(event, event.start_us, event.end_us, COMMUNICATION + _dimension(event, dimensions), None)
        else:
            label, family = marks.of(event)
            yield Work(event, event.start_us, event.end_us, label, family)


def _is_collective(event: Event) -> bool:
    return (
        event.name.lower().startswith(("nccl", "ncclkernel", "ncclDevKernel".lower())) or "deepep" in event.name.lower()
    )


def _dimension(event: Event, dimensions: Mapping[str, str]) -> str:
    """By the group that NCCL's kernels name; else by what was called on the host."""
    name = str(event.args.get("Process Group Name", ""))
    if name in dimensions:
        return dimensions[name]
    described = str(event.args.get("Process Group Description", "")).removeprefix("mesh_")
    outer: Event | None = event.parent
    while outer is not None:
        if outer.name.startswith(COLLECTIVE):
            return outer.name.removeprefix(COLLECTIVE)
        outer = outer.parent
    return described if described and described != "undefined" else UNKNOWN_GROUP


def _host_works(trace: Trace, marks: _Marks, main: object, start_us: float, end_us: float) -> Iterator[Work]:
    """What operators of the trainer's thread compute themselves, without those that they call."""
    stack: list[tuple[Event, float]] = []

    def closed(until: float) -> Iterator[Work]:
        while stack and stack[-1][0].end_us <= until:
            event, at = stack.pop()
            yield from _own(event, at, event.end_us)
            if stack:
                stack[-1] = (stack[-1][0], max(stack[-1][1], event.end_us))

    def _own(event: Event, first: float, last: float) -> Iterator[Work]:
        if last > first and _computes(event.name):
            label, family = marks.of(event)
            yield Work(event, first, last, label, family)

    for event in trace.host:
        named = event.category == "cpu_op" or event.name.startswith(COLLECTIVE)
        if not named or event.thread != main or event.end_us <= start_us or event.start_us >= end_us:
            continue
        yield from closed(event.start_us)
        if stack:
            outer, at = stack[-1]
            yield from _own(outer, at, event.start_us)
            stack[-1] = (outer, event.start_us)
        stack.append((event, event.start_us))
    yield from closed(float("inf"))


def _computes(name: str) -> bool:
    """Whether the time of an operator itself, without those that it calls, is arithmetic: that of the autograd engine, of
    functions in Python and of handing a collective over is the host's, or a wait."""
    return "::" in name and not name.startswith(("autograd::", "c10d", "_c10d", COLLECTIVE))


def _host_collectives(trace: Trace) -> Iterator[Interval]:
    """Collectives of gloo, which run on threads of their own, by the dimension that their call named; and the calls."""
    calls = [event for event in trace.host if event.name.startswith(COLLECTIVE)]
    handed = sorted((e for e in trace.host if e.name.startswith("c10d::")), key=lambda e: e.start_us)
    ran = sorted((e for e in trace.host if e.name.startswith("gloo:")), key=lambda e: e.start_us)
    for number, event in enumerate(ran):
        # First in, first out: where each was handed over once, the n-th that ran is the n-th that was handed over.
        call: Event | None = handed[number] if len(handed) == len(ran) else None
        while call is not None and not call.name.startswith(COLLECTIVE):
            call = call.parent
        if call is None:
            call = next((one for one in reversed(calls) if one.start_us <= event.start_us <= one.end_us), None)
        name = UNKNOWN_GROUP if call is None else call.name.removeprefix(COLLECTIVE)
        yield Interval(event.start_us, event.end_us, name)
    if not trace.device:
        for call in calls:
            yield Interval(call.start_us, call.end_us, call.name.removeprefix(COLLECTIVE))


def _amounts(works: Sequence[Work]) -> dict[int, Amount]:
    """By the operation that each work belongs to: the outermost one with a formula, so that none counts twice."""
    found: dict[int, Amount] = {}
    for work in works:
        owner = owner_of(work.event)
        if owner is not None and id(owner) not in found:
            amount = amount_of(owner)
            if amount is not None:
                found[id(owner)] = amount
    return found


def owner_of(event: Event) -> Event | None:
    """The outermost operation around an event whose FLOPs and bytes follow from its sizes; a transfer is its own."""
    if event.category in TRANSFERS:
        return event
    if not event.owner_is_known:
        event.owner = None if event.parent is None else owner_of(event.parent)
        if event.owner is None and event.category == "cpu_op" and amount_of(event) is not None:
            event.owner = event
        event.owner_is_known = True
    return event.owner
