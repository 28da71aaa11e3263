"""One task's folder: written aside, made durable, renamed into place."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from expedition.data.engine.shard import Outcome, ShardFunction, Summary, Task

ASIDE = ".aside"
SUMMARY = "summary.json"
QUARANTINE = "quarantine.json"


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_json(path: Path, value: Summary) -> None:
    path.write_text(json.dumps(value, sort_keys=True, ensure_ascii=False), encoding="utf-8")


def run_aside(function: ShardFunction, task: Task, folder: Path, attempt: int) -> Path:
    """Run one attempt in a private folder under `folder/.aside` and return it, durable, with its summary written."""
    aside = folder / ASIDE / f"{task.key}-{os.getpid()}-{attempt}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    summary = function(task.payload, aside)
    _write_json(aside / SUMMARY, summary)
    for parent, _, names in os.walk(aside):
        for name in names:
            _fsync(Path(parent) / name)
        _fsync(Path(parent))
    return aside


def commit(aside: Path, folder: Path, key: str) -> Outcome:
    """Rename a finished attempt into place. The first commit of a key wins; a later one is thrown away."""
    final = folder / key
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
    else:
        aside.rename(final)
        _fsync(folder)
    outcome = read_outcome(folder, key)
    assert outcome is not None
    return outcome


def commit_quarantine(folder: Path, key: str, reason: str) -> Outcome:
    """Record that `key` is given up, with its reason, in the same atomic way as a finished task."""
    aside = folder / ASIDE / f"{key}-quarantine-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _write_json(aside / QUARANTINE, {"reason": reason})
    return commit(aside, folder, key)


def read_outcome(folder: Path, key: str) -> Outcome | None:
    """The committed outcome of `key`, or None when the task is still to do."""
    final = folder / key
    if (final / SUMMARY).exists():
        return Outcome(key, final, json.loads((final / SUMMARY).read_text(encoding="utf-8")))
    if (final / QUARANTINE).exists():
        reason = json.loads((final / QUARANTINE).read_text(encoding="utf-8"))["reason"]
        return Outcome(key, final, {}, str(reason))
    return None


def clear_aside(folder: Path) -> None:
    """Remove what killed attempts left behind. Call only while no other engine works in `folder`."""
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
    (folder / ASIDE).mkdir(parents=True, exist_ok=True)
