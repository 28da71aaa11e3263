"""Results from worker processes through shared memory: arrays are never pickled, and no kill leaves anything behind.

A worker puts the buffers of a result (pickle protocol 5, out of band) into a block of memory without a name and sends
its descriptor once; the reader's arrays lie in that same memory. When they are gone the block goes back to its worker.
A block dies with its last descriptor, so there is nothing to sweep in /dev/shm after a kill.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from expedition.errors import InputError

ALIGN = 64
MAX_DEATHS = 3
"""A number whose worker dies so often is given up."""
MAX_BLOCKS = 32
"""Blocks of one worker that may be out at the consumer."""
_GROWTH = 1 << 20

Make = Callable[[Any], Any]
Start = Callable[[], Make]


@dataclass(slots=True)
class _Block:
    """A worker's own view of one block."""

    descriptor: int
    memory: mmap.mmap

    @classmethod
    def of(cls, size: int) -> _Block:
        descriptor = _nameless(size)
        return cls(descriptor, mmap.mmap(descriptor, size))


@dataclass(frozen=True, slots=True)
class _Made:
    """A worker's answer: where the buffers of a pickled result lie. `is_new`: the block's descriptor follows."""

    position: int
    body: bytes
    block: int
    spans: tuple[tuple[int, int], ...]
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Failed:
    position: int
    error: BaseException


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection
    outstanding: dict[int, Any] = field(default_factory=dict)
    """Position → what it was asked for."""
    descriptors: dict[int, int] = field(default_factory=dict)
    freed: list[int] = field(default_factory=list)

    def ask(self, position: int, number: Any) -> None:
        """Ask for a result and give back the blocks that nobody reads any more. Raises OSError if it is dead."""
        freed = [self.freed.pop() for _ in range(len(self.freed))]
        self.outstanding[position] = number
        self.connection.send((position, number, freed))

    def close(self) -> None:
        """End the process and let go of its blocks; arrays that are in use stay valid."""
        self.connection.close()
        self.process.kill()
        self.process.join()
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()


class WorkerPool:
    """`make(number)` in fresh processes, each of which calls `start` once. A dead worker is replaced and its work done
    again; `deaths` counts them. Used by one thread."""

    def __init__(
        self, start: Start, workers: int, *, max_deaths: int = MAX_DEATHS, timeout_s: float | None = None
    ) -> None:
        """`timeout_s`: a worker that gives nothing for so long while it is waited for counts as dead."""
        self._start = start
        self._max_deaths = max_deaths
        self._timeout_s = timeout_s
        self._deaths: dict[int, int] = {}
        self.deaths = 0
        self._workers = [self._begin() for _ in range(workers)]
        self._ready: dict[int, Any] = {}

    def ask(self, position: int, number: Any) -> None:
        """Give `make(number)` to the worker with the least to do."""
        worker = min(self._workers, key=lambda one: len(one.outstanding))
        worker.outstanding[position] = number
        try:
            worker.ask(position, number)
        except OSError:
            self._replace(worker)

    def take(self, position: int) -> Any:
        """The result at `position`; blocks. Raises what `start` or `make` raised, InputError if it kills its worker."""
        while position not in self._ready:
            by_connection = {worker.connection: worker for worker in self._workers}
            found = wait(list(by_connection), self._timeout_s)
            if not found:
                self._replace(next(worker for worker in self._workers if position in worker.outstanding))
            for connection in found:
                worker = by_connection[connection]  # type: ignore[index]
                try:
                    self._receive(worker)
                except (EOFError, OSError):
                    self._replace(worker)
        result = self._ready.pop(position)
        if isinstance(result, _Failed):
            raise result.error
        return result

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.close()

    def _begin(self) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._start), daemon=True, name="loader")
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _receive(self, worker: _Worker) -> None:
        message = worker.connection.recv()
        if isinstance(message, _Made):
            if message.is_new:
                old = worker.descriptors.pop(message.block, None)
                if old is not None:
                    os.close(old)
                worker.descriptors[message.block] = recv_handle(worker.connection)
            self._ready[message.position] = _opened(worker, message)
        else:
            self._ready[message.position] = message
        worker.outstanding.pop(message.position, None)

    def _replace(self, dead: _Worker) -> None:
        """Put a new process in a dead one's place and give it the same work; the first of it is held responsible."""
        self.deaths += 1
        dead.process.join(1.0)
        status = dead.process.exitcode
        dead.close()
        lost = list(dead.outstanding.items())
        if lost:
            first, number = lost[0]
            self._deaths[first] = self._deaths.get(first, 0) + 1
            if self._deaths[first] >= self._max_deaths:
                lost = lost[1:]
                what = f"{_named(number)} ended its worker process {self._deaths[first]} times (exit status {status})"
                error = InputError(what, fix="load it in this process to see why: LoadingConfig(processes=0)")
                self._ready[first] = _Failed(first, error)
        fresh = self._begin()
        self._workers[self._workers.index(dead)] = fresh
        for position, number in lost:
            fresh.ask(position, number)


def _named(number: Any) -> str:
    return f"step {number}" if isinstance(number, int) else f"an input of {len(number)} bytes"


def _opened(worker: _Worker, message: _Made) -> Any:
    if message.block < 0:
        return pickle.loads(message.body, buffers=[b""] * len(message.spans))
    if len(worker.descriptors) > MAX_BLOCKS:
        # The consumer keeps what it gets: from here on results are copies, or descriptors would run out.
        with mmap.mmap(worker.descriptors[message.block], 0) as kept:
            copies = [bytearray(kept[start:end]) for start, end in message.spans]
        worker.freed.append(message.block)
        return pickle.loads(message.body, buffers=copies)
    memory = mmap.mmap(worker.descriptors[message.block], 0)
    weakref.finalize(memory, worker.freed.append, message.block)
    view = memoryview(memory)
    return pickle.loads(message.body, buffers=[view[start:end] for start, end in message.spans])


def _serve(connection: Connection, start: Start) -> None:
    """A worker's life: until the other end of the connection is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    blocks: dict[int, _Block] = {}
    free: set[int] = set()
    make: Make | None = None
    while True:
        try:
            position, number, freed = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        free.update(freed)
        try:
            make = make or start()
            message, block = _stored(position, make(number), blocks, free)
        except BaseException as error:
            connection.send(_Failed(position, _portable(error)))
            continue
        connection.send(message)
        if block is not None:
            send_handle(connection, block.descriptor, os.getppid())


def _stored(position: int, result: Any, blocks: dict[int, _Block], free: set[int]) -> tuple[_Made, _Block | None]:
    """The answer for a result whose buffers were copied into a free block; the block if the reader does not know it."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(result, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    ends = list(_ends([len(view) for view in raw]))
    needed = max((end for _, end in ends), default=0)
    if not needed:
        return _Made(position, body, -1, tuple(ends), False), None
    name, is_new = _block_of(needed, blocks, free)
    memory = blocks[name].memory
    for view, (begin, end) in zip(raw, ends, strict=True):
        memory[begin:end] = view
    return _Made(position, body, name, tuple(ends), is_new), blocks[name] if is_new else None


def _block_of(needed: int, blocks: dict[int, _Block], free: set[int]) -> tuple[int, bool]:
    """A free block of at least `needed` bytes, and whether it is new; a free one that is too small is replaced."""
    fitting = [name for name in free if len(blocks[name].memory) >= needed]
    if fitting:
        name = min(fitting, key=lambda one: len(blocks[one].memory))
        free.discard(name)
        return name, False
    name = free.pop() if free else len(blocks)
    if (small := blocks.pop(name, None)) is not None:
        small.memory.close()
        os.close(small.descriptor)
    blocks[name] = _Block.of(-(-needed * 5 // (4 * _GROWTH)) * _GROWTH)
    return name, True


def _ends(lengths: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for length in lengths:
        yield start, start + length
        start += -(-length // ALIGN) * ALIGN


def _portable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _nameless(size: int) -> int:
    """The descriptor of `size` bytes of memory that no name leads to."""
    try:
        descriptor = os.memfd_create("expedition-batch", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
