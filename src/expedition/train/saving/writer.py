"""Writes checkpoints in a thread from a snapshot while training goes on; one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from expedition.train.checkpoint import CheckpointInfo, Snapshot, clear_incomplete, retire_ephemeral, write_checkpoint
from expedition.workspace import Lease, Workspace


class CheckpointWriter:
    """`save` returns at once (asynchronous) or when the checkpoint is complete. Owned by one thread.

    An error of a write is raised by the next `save` or by `wait`: a run never goes on for long without checkpoints.
    `done` is called on the owner's thread, from `save` or `wait`, with what was written and which ephemeral ones went.
    """

    def __init__(
        self,
        ws: Workspace,
        run: str,
        keep_ephemeral: int,
        lease: Lease | None,
        done: Callable[[CheckpointInfo, list[str]], None],
    ) -> None:
        self._ws, self._run, self._keep, self._lease, self._done = ws, run, keep_ephemeral, lease, done
        self._thread: threading.Thread | None = None
        self._result: tuple[CheckpointInfo, list[str]] | None = None
        self._error: BaseException | None = None
        clear_incomplete(ws, run)

    def save(self, snapshot: Snapshot, *, asynchronous: bool) -> None:
        """Write `snapshot` after the one before it is complete."""
        self.wait()
        if not asynchronous:
            self._write(snapshot)
            self.wait()
            return
        self._thread = threading.Thread(target=self._write, args=(snapshot,), name=f"checkpoint {snapshot.name}")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written; raise what the last write raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._result is not None:
            result, self._result = self._result, None
            self._done(*result)

    def _write(self, snapshot: Snapshot) -> None:
        try:
            if self._lease is not None:
                self._lease.check()
            info = write_checkpoint(self._ws, self._run, snapshot)
            self._result = (info, retire_ephemeral(self._ws, self._run, self._keep))
        except BaseException as error:
            self._error = error
