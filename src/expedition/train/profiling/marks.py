"""Named ranges around the stretches of a step and the modules of a model, for a profiler: put on from outside, so that a
run that is not profiled pays nothing.

Two profilers take them: torch's own (ranges become events of its trace) and Nsight Systems (NVTX).
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function

from expedition.train.batches import BatchSource
from expedition.train.callbacks.callback import Callback, Done, Ending
from expedition.train.callbacks.checkpoint import Checkpoints
from expedition.train.compute import is_part
from expedition.train.optimizer import Optimizer
from expedition.train.profiling.families import PART, SPAN
from expedition.train.profiling.loader_work import thread_busy_s

if TYPE_CHECKING:
    from expedition.data.loading.batch import Batch

Range = Callable[[str], AbstractContextManager[Any]]
"""Opens a range of that name; it ends with the context. May be called from any thread."""

PARTS_BY_CLASS: Final = (("Norm", "norm"), ("Attention", "attention"), ("MoE", "experts"), ("Router", "router"))
"""The part of the work that a module's class stands for, by what its name ends with."""


def torch_range(name: str) -> AbstractContextManager[Any]:
    """A range in torch's trace."""
    return record_function(name)


@contextmanager
def nvtx_range(name: str) -> Iterator[None]:
    """A range in a trace of Nsight Systems."""
    # Not push and pop: ranges of neighbouring layers meet in the backward pass without nesting.
    number = torch.cuda.nvtx.range_start(name)
    try:
        yield
    finally:
        torch.cuda.nvtx.range_end(number)


class MarkedSource:
    """A source whose `rank_batches` say when somebody waits for a step's batches. Everything else is the source's own."""

    def __init__(self, source: BatchSource, mark: Range, keep: int) -> None:
        self._source, self._mark = source, mark
        self.given: deque[Sequence[Batch]] = deque(maxlen=keep)
        """The last steps' batches, as the loader made them."""
        self.busy_s = 0.0
        """Processor time of the waiting thread: batches that are made when they are asked for are made by it."""

    def rank_batches(
        self, start: int, stop: int, rank: int, world: int
    ) -> Generator[Sequence[Batch], None, None]:  # fmt: skip
        """As the source's, each wait in a range."""
        with closing(self._source.rank_batches(start, stop, rank, world)) as made:
            while True:
                begin = thread_busy_s()
                with self._mark(f"{SPAN}data"):
                    batches = next(made, None)
                self.busy_s += thread_busy_s() - begin
                if batches is None:
                    return
                self.given.append(batches)
                yield batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


class MarkedCallback:
    """A callback whose work on a step is in a range, and timed."""

    def __init__(self, callback: Callback, mark: Range, spent_s: list[float]) -> None:
        """Each step's seconds are appended to `spent_s`."""
        self._callback, self._mark, self._spent_s = callback, mark, spent_s
        self._name = SPAN + ("checkpoint" if isinstance(callback, Checkpoints) else "callbacks")

    def after_step(self, done: Done) -> str | None:
        """The callback's answer."""
        begin = time.perf_counter()
        with self._mark(self._name):
            answer = self._callback.after_step(done)
        self._spent_s.append(time.perf_counter() - begin)
        return answer

    def at_end(self, ending: Ending) -> None:
        """The callback's own."""
        self._callback.at_end(ending)


@contextmanager
def marked_model(model: nn.Module, optimizer: Optimizer, mark: Range, *, layers: bool) -> Iterator[None]:
    """Ranges around each micro-batch's forward and backward pass, the update, and the modules that families of work are
    told by; with `layers` also around every decoder layer and encoder, forward and backward."""
    with contextlib.ExitStack() as stack:
        passes = _Passes(mark)
        stack.enter_context(_hooked(model, passes.begin))
        update = optimizer.step

        def step(*args: Any, **keywords: Any) -> Any:
            passes.end()
            with mark(f"{SPAN}optimizer"):
                return update(*args, **keywords)

        optimizer.step = step  # type: ignore[method-assign]
        stack.callback(setattr, optimizer, "step", update)
        stack.callback(passes.end)
        for name, module in model.named_modules():
            if (part := part_of(module)) is not None:
                stack.enter_context(_around(module, mark, PART + part))
            if layers and is_part(name):
                stack.enter_context(_around(module, mark, f"layer:{name}"))
                stack.enter_context(_backward_of(module, mark, f"layer:{name} backward"))
        yield


def part_of(module: nn.Module) -> str | None:
    """The part of the work that a module stands for; None for one that says nothing."""
    name = type(module).__name__
    return next((part for ending, part in PARTS_BY_CLASS if name.endswith(ending)), None)


class _Passes:
    """A range for each micro-batch, from its call of the model to the next one's, or to the update."""

    def __init__(self, mark: Range) -> None:
        self._mark = mark
        self._open: AbstractContextManager[Any] | None = None
        self._number = 0

    def begin(self, *_: Any) -> None:
        self._close()
        self._open = self._mark(f"{SPAN}forward_backward {self._number}")
        self._open.__enter__()
        self._number += 1

    def end(self) -> None:
        self._close()
        self._number = 0

    def _close(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


@contextmanager
def _hooked(module: nn.Module, before: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(before)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _around(module: nn.Module, mark: Range, name: str) -> Iterator[None]:
    """A range around every call of a module; calls may nest, where the backward pass calls it again."""
    opened: list[AbstractContextManager[Any]] = []

    def before(*_: Any) -> None:
        one = mark(name)
        one.__enter__()
        opened.append(one)

    def after(*_: Any) -> None:
        opened.pop().__exit__(None, None, None)

    handles = [
        module.register_forward_pre_hook(before),
        module.register_forward_hook(after, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _backward_of(module: nn.Module, mark: Range, name: str) -> Iterator[None]:
    """A range from the gradient of a module's output to that of its input, both taken from the tensors themselves."""
    opened: list[AbstractContextManager[Any]] = []

    def begin(_gradient: Tensor) -> None:
        one = mark(name)
        one.__enter__()
        opened.append(one)

    def end(_gradient: Tensor) -> None:
        if opened:
            opened.pop().__exit__(None, None, None)

    def after(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        given, made = _first_tensor(inputs), _first_tensor(output)
        if torch.is_grad_enabled() and given is not None and made is not None and given.requires_grad:
            made.register_hook(begin)  # type: ignore[no-untyped-call]
            given.register_hook(end)  # type: ignore[no-untyped-call]

    handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
        while opened:
            opened.pop().__exit__(None, None, None)


def _first_tensor(value: Any) -> Tensor | None:
    values = value if isinstance(value, tuple) else (value,)
    return next((one for one in values if isinstance(one, Tensor)), None)
