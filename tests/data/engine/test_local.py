"""The shard map: committed whole, resumable, and no task can stop the others."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from expedition.data.engine import Limits, Progress, Task, map_shards, quarantined, release_quarantine
from expedition.errors import ComplianceRefused, MissingExtra, StorageError, UsageError, WorkspaceBusy

from . import shard_functions

TASKS = [Task(f"task-{number}", number) for number in range(8)]
WORKERS = Limits(workers=2)

SUPERVISOR = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from expedition.data.engine import Limits, Task, map_shards
from shard_functions import slow_square
if __name__ == "__main__":
    map_shards(slow_square, [Task(f"task-{n}", n) for n in range(40)], Path(sys.argv[1]), Limits(workers=2))
"""


def tree_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_outcomes_come_in_the_order_of_tasks(tmp_path: Path, workers: int) -> None:
    outcomes = map_shards(shard_functions.square, TASKS, tmp_path, Limits(workers=workers))
    assert [outcome.summary["square"] for outcome in outcomes] == [number * number for number in range(8)]
    assert (tmp_path / "task-3" / "square.txt").read_text() == "9"


def test_finished_tasks_are_skipped(tmp_path: Path) -> None:
    map_shards(shard_functions.square, TASKS[:4], tmp_path, WORKERS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/square.txt")}
    seen: list[Progress] = []
    map_shards(shard_functions.square, TASKS, tmp_path, WORKERS, seen.append)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert [step.done for step in seen] == list(range(1, 9))


@pytest.mark.parametrize("function", [shard_functions.die_on_three, shard_functions.raise_on_three])
def test_dying_task_is_quarantined_and_others_finish(tmp_path: Path, function: shard_functions.ShardFunction) -> None:
    outcomes = map_shards(function, TASKS, tmp_path, WORKERS)
    given_up = quarantined(outcomes)
    assert [item.key for item in given_up] == ["task-3"]
    assert "signal 9" in given_up[0].reason or "three is not wanted" in given_up[0].reason
    assert sum(outcome.quarantined is None for outcome in outcomes) == 7
    assert release_quarantine(tmp_path) == ["task-3"]
    assert not quarantined(map_shards(shard_functions.square, TASKS, tmp_path, WORKERS))


def test_worker_over_its_memory_is_ended(tmp_path: Path) -> None:
    limits = Limits(workers=2, attempts=1, memory_bytes=300 << 20)
    outcomes = map_shards(shard_functions.hold_memory_on_three, TASKS, tmp_path, limits)
    assert "bytes of memory" in (outcomes[3].quarantined or "")
    assert sum(outcome.quarantined is None for outcome in outcomes) == 7


def test_second_call_in_a_folder_is_told(tmp_path: Path) -> None:
    """The second is refused while the first works, and not after; the first is not disturbed."""
    refused: list[str] = []

    def again(step: Progress) -> None:
        if step.done == 2:
            with pytest.raises(WorkspaceBusy) as caught:
                map_shards(shard_functions.square, TASKS, tmp_path, Limits(workers=0))
            refused.append(caught.value.where or "")

    outcomes = map_shards(shard_functions.square, TASKS, tmp_path, WORKERS, again)
    assert refused == [str(tmp_path)]
    assert not quarantined(outcomes)
    assert map_shards(shard_functions.square, TASKS, tmp_path, WORKERS)[3].summary == {"square": 9}


def test_slow_task_has_the_time_that_it_asked_for(tmp_path: Path) -> None:
    limits = Limits(workers=1, attempts=1, task_s=0.1)
    outcomes = map_shards(shard_functions.slower_square, [Task("t", 2, extra_s=20)], tmp_path, limits)
    assert outcomes[0].summary == {"square": 4}


def test_mapped_files_do_not_count_as_memory(tmp_path: Path) -> None:
    """Pages of a file belong to everyone: a worker that reads a large table through a map is not ended."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(800 << 20)
    limits = Limits(workers=1, attempts=1, memory_bytes=400 << 20)
    outcome = map_shards(shard_functions.read_mapped, [Task("t", tmp_path / "large")], tmp_path / "out", limits)[0]
    assert outcome.summary == {"sum": 0}


def test_full_disk_stops_the_call_and_is_no_fault_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no space left"):
        map_shards(shard_functions.disk_full_on_three, TASKS, tmp_path, WORKERS)
    assert not quarantined(map_shards(shard_functions.square, TASKS, tmp_path, WORKERS))


def test_third_engine_is_named_by_its_class(tmp_path: Path) -> None:
    limits = Limits(engine=f"{shard_functions.__name__}:BackwardsEngine")
    outcomes = map_shards(shard_functions.square, TASKS, tmp_path, limits)
    assert [outcome.summary["square"] for outcome in outcomes] == [number * number for number in range(8)]


def test_slow_task_is_ended(tmp_path: Path) -> None:
    limits = Limits(workers=1, attempts=1, task_s=0.5)
    outcomes = map_shards(shard_functions.sleep_on_three, TASKS, tmp_path, limits)
    assert "longer than" in (outcomes[3].quarantined or "")


@pytest.mark.parametrize("workers", [0, 2])
def test_our_own_error_stops_the_call(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ComplianceRefused) as caught:
        map_shards(shard_functions.refuse_on_three, TASKS, tmp_path, Limits(workers=workers))
    assert (caught.value.where, caught.value.fix) == ("three", "approve it")


def test_keys_must_be_unique_folder_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder name"):
        Task("../outside", 1)
    with pytest.raises(UsageError, match="two tasks"):
        map_shards(shard_functions.square, [TASKS[0], TASKS[0]], tmp_path, WORKERS)


def test_caller_keeps_its_thread_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    map_shards(shard_functions.square, TASKS, tmp_path, WORKERS)
    assert "OMP_NUM_THREADS" not in os.environ


def test_workers_that_cannot_start_are_no_endless_loop(tmp_path: Path) -> None:
    """A script without a main guard runs itself again in every worker."""
    script = tmp_path / "unguarded.py"
    script.write_text(SUPERVISOR.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(script), str(tmp_path / "out"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "cannot start" in done.stderr


def test_broken_installation_stops_the_call(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="cannot import"):
        map_shards(shard_functions.import_what_is_not_there, TASKS, tmp_path, WORKERS)


def test_killed_supervisor_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    script = tmp_path / "supervisor.py"
    script.write_text(SUPERVISOR)
    command = [sys.executable, str(script), str(tmp_path / "killed"), str(Path(__file__).parent)]
    for seconds in (0.6, 0.9, 1.2):
        process = subprocess.Popen(command)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    tasks = [Task(f"task-{number}", number) for number in range(40)]
    map_shards(shard_functions.square, tasks, tmp_path / "whole", WORKERS)
    assert tree_hash(tmp_path / "killed") == tree_hash(tmp_path / "whole")
