"""Ray as an engine: the same folders, whatever happens to workers and nodes."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from expedition.data.engine import Limits, Progress, Task, engine_session, map_shards, quarantined
from expedition.data.engine.call import Call
from expedition.errors import ComplianceRefused, MissingExtra, UsageError

from . import shard_functions

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 3,
}
TASKS = [Task(f"task-{number}", number) for number in range(8)]


def tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each on this machine; tasks find this package as the tests do."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[3]), *sys.path]))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": QUICK_TO_NOTICE})
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def limits(cluster: Any) -> Iterator[Limits]:
    found = Limits(engine="ray", address=cluster.address, attempts=2, memory_bytes=600 << 20)
    with engine_session(found):
        yield found


def start_a_worker(node: Any) -> None:
    """A worker process of this job on `node`: without one, a busy machine may finish all tasks before it takes any."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False)
    ray.get(ray.remote(num_cpus=1)(lambda: os.getpid()).options(scheduling_strategy=there).remote())


def test_lost_node_changes_no_byte(
    cluster: Any, limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node of two is killed while both work: its tasks run elsewhere, and that counts as no attempt of theirs."""
    given_back: list[str] = []
    give_back = Call.give_back
    monkeypatch.setattr(
        Call, "give_back", lambda self, attempt: (given_back.append(attempt.task.key), give_back(self, attempt))[1]
    )
    tasks = [Task(f"task-{number}", number) for number in range(24)]
    map_shards(shard_functions.square, tasks, tmp_path / "local", Limits(workers=0))
    for number in range(4):
        # Whether the node has a task in hand when it is killed is the scheduler's affair; within four it has.
        lose_a_node(cluster, limits, tasks, tmp_path / f"ray-{number}")
        assert tree_hash(tmp_path / f"ray-{number}") == tree_hash(tmp_path / "local")
        if given_back:
            break
    assert given_back


def lose_a_node(cluster: Any, limits: Limits, tasks: list[Task], out: Path) -> None:
    node = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    start_a_worker(node)
    lost: list[int] = []

    def kill(step: Progress) -> None:
        if step.done == 4 and not lost:
            lost.append(step.done)
            cluster.remove_node(node, allow_graceful=False)

    outcomes = map_shards(shard_functions.slower_square, tasks, out, limits, kill)
    assert lost and not quarantined(outcomes)


@pytest.mark.parametrize("function", [shard_functions.die_on_three, shard_functions.raise_on_three])
def test_dying_task_is_quarantined_and_others_finish(
    limits: Limits, tmp_path: Path, function: shard_functions.ShardFunction
) -> None:
    outcomes = map_shards(function, TASKS, tmp_path, limits)
    assert [item.key for item in quarantined(outcomes)] == ["task-3"]
    assert sum(outcome.quarantined is None for outcome in outcomes) == 7
    assert not quarantined(map_shards(shard_functions.square, TASKS[:3], tmp_path, Limits()))


def test_bounds_hold_on_nodes(limits: Limits, tmp_path: Path) -> None:
    outcomes = map_shards(shard_functions.hold_memory_on_three, TASKS, tmp_path / "a", small(limits, memory=300 << 20))
    assert "bytes of memory" in (outcomes[3].quarantined or "")
    outcomes = map_shards(shard_functions.sleep_on_three, TASKS, tmp_path / "b", small(limits, task_s=1.0))
    assert "longer than 1 s" in (outcomes[3].quarantined or "")


def small(limits: Limits, memory: int = 600 << 20, task_s: float = 60.0) -> Limits:
    return Limits(engine="ray", address=limits.address, attempts=1, memory_bytes=memory, task_s=task_s)


def test_our_own_error_stops_the_call(limits: Limits, tmp_path: Path) -> None:
    with pytest.raises(ComplianceRefused) as caught:
        map_shards(shard_functions.refuse_on_three, TASKS, tmp_path, limits)
    assert (caught.value.where, caught.value.fix) == ("three", "approve it")


def test_queue_on_the_cluster_is_bounded(limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list of tasks stays in the calling process."""
    from expedition.data.engine.ray import _Flight

    most = 0
    settle = _Flight._settle

    def watched(self: _Flight, reference: Any, attempt: Any) -> None:
        nonlocal most
        most = max(most, len(self.flying) + 1)
        settle(self, reference, attempt)

    monkeypatch.setattr(_Flight, "_settle", watched)
    map_shards(shard_functions.square, [Task(f"t{n}", n) for n in range(40)], tmp_path, limits)
    assert 1 <= most <= 2 * ray.cluster_resources()["CPU"]


def test_absent_ray_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match="needs Ray") as caught:
        map_shards(shard_functions.square, TASKS, tmp_path, Limits(engine="ray"))
    assert "[ray]" in (caught.value.fix or "")


def test_unknown_engine_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no engine 'dask'"):
        map_shards(shard_functions.square, TASKS, tmp_path, Limits(engine="dask"))


def test_nothing_left_running(limits: Limits) -> None:
    """A call that stopped early has taken its tasks back."""
    until = time.monotonic() + 20
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"] and time.monotonic() < until:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"]
