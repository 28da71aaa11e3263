"""Ray: the same attempts as core tasks of a cluster, the same commits, the same bytes.

The calling process renames finished folders into place, so all nodes must see the folder of the call under one path
(a shared file system); tasks carry only payloads and answers, a few kB each, through Ray. Ray itself never retries: a
task whose worker dies has used up one of its attempts, a task whose node is lost has not, so the node of a dead worker
is asked whether it still answers. At most `_QUEUED_PER_CPU`
attempts a CPU are submitted at once, so a million tasks stay a queue in this process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from expedition.data.engine.call import Call
from expedition.data.engine.shard import Attempt, Limits, ShardFunction
from expedition.data.engine.worker import ONE_THREAD, Answer, Failed, Finished, own_memory_bytes, run_attempt
from expedition.errors import MissingExtra, StorageError, UsageError

_QUEUED_PER_CPU = 2
_WAIT_S = 0.5
_NO_CPU_S = 120.0
_SEEN_S = 10.0
_WATCH_S = 0.1
_GRACE_S = 10.0
_NODES_LOST = 10
_OBJECTS_BYTES = 256 << 20
_REASON = ".reason"
_NODE = ".node"


@dataclass(frozen=True, slots=True)
class RayEngine:
    """A Ray cluster: `Limits.address`, else RAY_ADDRESS, else an instance of `workers` CPUs started for the session."""

    @contextlib.contextmanager
    def session(self, limits: Limits) -> Iterator[Any]:
        """The connected `ray` module. Raises MissingExtra without Ray, UsageError if no cluster answers."""
        ray = _import()
        if ray.is_initialized():
            yield ray
            return
        _connect(ray, limits)
        try:
            yield ray
        finally:
            ray.shutdown()

    def run(self, call: Call) -> None:
        """See `Engine.run`. Raises UsageError if the cluster has no CPU left, StorageError if nodes share no folder."""
        with self.session(call.limits) as ray:
            flight = _Flight(ray, call)
            try:
                flight.run()
            finally:
                flight.cancel()


def _import() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingExtra(
            "the engine `ray` needs Ray", fix="pip install 'expedition-programme[ray]', or --engine local"
        ) from error
    return ray


def _connect(ray: Any, limits: Limits) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    address = limits.address or os.environ.get("RAY_ADDRESS")
    try:
        if address and address != "local":
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=limits.workers,
                include_dashboard=False,
                object_store_memory=_OBJECTS_BYTES,
                **quiet,
            )
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            where=address or "local",
            fix="start one with `ray start --head` and give --ray-address HOST:6379, or leave the address out",
        ) from error


@dataclass(slots=True)
class _Flight:
    """Attempts submitted to the cluster and not answered yet."""

    ray: Any
    call: Call
    flying: dict[Any, Attempt] = field(default_factory=dict)
    probes: dict[Any, Attempt] = field(default_factory=dict)
    """Attempts whose worker died, each with a question to its node: does it still answer?"""
    lost: dict[str, int] = field(default_factory=dict)
    cpus: int = 0
    cpu_seen: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        limits = self.call.limits
        function = self.ray.put(self.call.function)
        submit = self.ray.remote(on_node).options(
            num_cpus=1, memory=self._memory(limits.memory_bytes), max_retries=0, retry_exceptions=False
        )
        counted = 0.0
        while self.call.pending or self.flying or self.probes:
            if time.monotonic() - counted > 1.0:
                counted = time.monotonic()
                self._count_cpus()
            while self.call.pending and len(self.flying) < max(1, self.cpus * _QUEUED_PER_CPU):
                attempt = self.call.take()
                self.flying[submit.remote(function, attempt, limits.memory_bytes, limits.task_s)] = attempt
            waiting = [*self.probes, *self.flying]
            ready, _ = self.ray.wait(waiting, num_returns=1, timeout=_WAIT_S)
            if ready:
                ready, _ = self.ray.wait(waiting, num_returns=len(waiting), timeout=0)
            for reference in ready:
                if reference in self.probes:
                    self._judge(reference, self.probes.pop(reference))
                else:
                    self._settle(reference, self.flying.pop(reference))

    def cancel(self) -> None:
        for reference in [*self.flying, *self.probes]:
            with contextlib.suppress(Exception):
                self.ray.cancel(reference, force=True)

    def _memory(self, wanted: int) -> int:
        """Bytes that the scheduler sets aside for an attempt: no more than the largest node has, or none would fit."""
        nodes = [node["Resources"].get("memory", 0) for node in self.ray.nodes() if node["Alive"]]
        return int(min(wanted, max(nodes, default=wanted)))

    def _count_cpus(self) -> None:
        self.cpus = int(self.ray.cluster_resources().get("CPU", 0))
        if self.cpus:
            self.cpu_seen = time.monotonic()
        elif time.monotonic() - self.cpu_seen > _NO_CPU_S:
            raise UsageError(
                f"the Ray cluster has had no CPU for {_NO_CPU_S:g} s",
                fix="add nodes and run the same command again: what is done stays done",
            )

    def _settle(self, reference: Any, attempt: Attempt) -> None:
        errors = self.ray.exceptions
        try:
            answer: Answer = self.ray.get(reference)
        except (errors.NodeDiedError, errors.LocalRayletDiedError) as error:
            self._node_lost(attempt, error)
            return
        except errors.RayTaskError as error:
            # `on_node` turns whatever a function raises into an answer, so the node could not even load it.
            raise MissingExtra(
                f"a node could not load the work: {str(error.cause or error).splitlines()[-1]}",
                where=attempt.task.key,
                fix="install the same version of Expedition on every node",
            ) from error
        except errors.OutOfMemoryError:
            self.call.settle(attempt, Failed("worker died (its node ran out of memory)", ""))
            return
        except errors.WorkerCrashedError as error:
            self._crashed(attempt, error)
            return
        if isinstance(answer, Finished):
            _await_sight(attempt.aside)
        self.call.settle(attempt, answer)

    def _crashed(self, attempt: Attempt, error: Exception) -> None:
        """A worker died: by its bounds, which it told, by its task, or with its node, which is asked."""
        told, node = _left(attempt, _REASON), _left(attempt, _NODE)
        if told is not None:
            self.call.settle(attempt, Failed(told, ""))
        elif node is None:
            self._node_lost(attempt, error)
        else:
            there = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            probe = self.ray.remote(here).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
            self.probes[probe.remote()] = attempt

    def _judge(self, probe: Any, attempt: Attempt) -> None:
        try:
            self.ray.get(probe)
        except self.ray.exceptions.RayError as error:
            self._node_lost(attempt, error)
        else:
            self.call.settle(attempt, Failed("worker died", ""))

    def _node_lost(self, attempt: Attempt, error: Exception) -> None:
        """Run it elsewhere; a task that took many nodes with it is the one at fault."""
        key = attempt.task.key
        self.lost[key] = self.lost.get(key, 0) + 1
        if self.lost[key] < _NODES_LOST:
            self.call.give_back(attempt)
        else:
            self.call.settle(attempt, Failed(f"lost {self.lost[key]} nodes ({type(error).__name__})", ""))


def _left(attempt: Attempt, suffix: str) -> str | None:
    """What a worker left beside its folder before it died."""
    try:
        return _beside(attempt.aside, suffix).read_text(encoding="utf-8")
    except OSError:
        return None


def _beside(aside: Path, suffix: str) -> Path:
    return aside.with_name(aside.name + suffix)


def here() -> bool:
    """The answer of a node that lives."""
    return True


def _await_sight(aside: Path) -> None:
    """Wait until a folder that a node finished is seen here: a network file system may lag for seconds."""
    until = time.monotonic() + _SEEN_S
    while not aside.is_dir():
        if time.monotonic() > until:
            raise StorageError(
                "a node finished its work where this process cannot see it",
                where=str(aside.parent.parent),
                fix="put the workspace (or TMPDIR, for one in an object store) on a file system that all nodes share",
            )
        time.sleep(_WATCH_S)


def on_node(function: ShardFunction, attempt: Attempt, memory_bytes: int, task_s: float) -> Answer:
    """One attempt in a Ray worker. Over its bounds it leaves the reason beside its folder and ends its process."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    done = threading.Event()
    allowed_s = task_s + attempt.task.extra_s
    watch = threading.Thread(target=_watch, args=(attempt.aside, memory_bytes, allowed_s, done), daemon=True)
    watch.start()
    _end_by_alarm(allowed_s + _GRACE_S)
    node = _beside(attempt.aside, _NODE)
    node.parent.mkdir(parents=True, exist_ok=True)
    node.write_text(_import().get_runtime_context().get_node_id(), encoding="utf-8")
    try:
        return run_attempt(function, attempt)
    finally:
        done.set()
        node.unlink(missing_ok=True)
        _end_by_alarm(0)


def _watch(aside: Path, memory_bytes: int, task_s: float, done: threading.Event) -> None:
    until = time.monotonic() + task_s
    while not done.wait(_WATCH_S):
        reason = None
        if own_memory_bytes("self") > memory_bytes:
            reason = f"held more than {memory_bytes} bytes of memory"
        elif time.monotonic() > until:
            reason = f"took longer than {task_s:g} s"
        if reason is not None:
            _beside(aside, _REASON).write_text(reason, encoding="utf-8")
            os._exit(1)


def _end_by_alarm(seconds: float) -> None:
    """End this process by the kernel's clock: code that never lets go of the interpreter starves the watching thread."""
    if sys.platform != "win32" and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
