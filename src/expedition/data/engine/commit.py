"""One task's folder: written aside, made durable, renamed into place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from expedition.data.engine.shard import Attempt, Outcome, ShardFunction, Summary
from expedition.errors import WorkspaceBusy

ASIDE = ".aside"
LOCK = ".lock"
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


def new_aside(folder: Path, key: str) -> Path:
    """A private folder for one attempt, not made yet: no other attempt, on any host, has this name."""
    return folder / ASIDE / f"{key[:180]}-{uuid.uuid4().hex[:12]}"


def compute_aside(function: ShardFunction, attempt: Attempt) -> None:
    """Run one attempt in its private folder, with its summary written."""
    attempt.aside.mkdir(parents=True)
    summary = function(attempt.task.payload, attempt.aside)
    _write_json(attempt.aside / SUMMARY, summary)


def make_durable(folder: Path) -> None:
    """Bring a folder's files and names to the disk: the wait is the disk's, so a thread can do it beside the next task."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            make_durable(path) if entry.is_dir(follow_symlinks=False) else _fsync(path)
    _fsync(folder)


def commit(aside: Path, folder: Path, key: str) -> Outcome:
    """Rename a finished attempt into place. The first commit of a key wins; a later one is thrown away.

    What is renamed is durable; the rename itself is so when `only_user` ends. A power cut before loses whole tasks.
    """
    try:
        # A rename onto a folder that holds something is refused: the committed one stays.
        aside.rename(folder / key)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(aside, ignore_errors=True)
    outcome = read_outcome(folder, key)
    assert outcome is not None
    return outcome


def commit_quarantine(folder: Path, key: str, reason: str) -> Outcome:
    """Record that `key` is given up, with its reason, in the same atomic way as a finished task."""
    aside = new_aside(folder, key)
    aside.mkdir(parents=True)
    _write_json(aside / QUARANTINE, {"reason": reason})
    make_durable(aside)
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


@contextlib.contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Hold `folder` against other engine calls, clear what killed attempts left; at the end the folder is durable.

    Raises WorkspaceBusy.
    The lock ends with the process. A file system without locks (some network ones) is used without.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceBusy(
                "another process does this work just now",
                where=str(folder),
                fix="wait for it, then run the same command again: what it has done is done",
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        shutil.rmtree(folder / ASIDE, ignore_errors=True)
        (folder / ASIDE).mkdir(parents=True, exist_ok=True)
        try:
            yield
        finally:
            shutil.rmtree(folder / ASIDE, ignore_errors=True)
            _fsync(folder)
