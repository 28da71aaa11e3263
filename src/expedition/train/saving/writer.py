"""Writes checkpoints in a thread from a staged copy while training goes on; one at a time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from expedition.errors import StorageError
from expedition.train.checkpoint import CheckpointInfo, clear_incomplete, retire_ephemeral
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.commit import Snapshot, Staged, clear_scratch, commit, stage
from expedition.train.saving.staging import Staging
from expedition.workspace import Lease, Workspace


@dataclass(frozen=True, slots=True)
class Written:
    """A checkpoint that is complete."""

    info: CheckpointInfo
    retired: list[str]
    """Ephemeral ones that were deleted after it."""
    staging_s: float
    """How long training waited for the copy to the host."""
    write_s: float
    """How long the files took, beside training if the plan says so."""
    staging_bytes: int
    """Host memory that this rank keeps for copies."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A checkpoint that the disk or the object store refused."""

    name: str
    step: int
    error: StorageError | OSError


class Listener(Protocol):
    """Told on the writer's owner's thread, from `save`, `wait` or `finish`."""

    def written(self, result: Written) -> None: ...

    def unwritten(self, result: Unwritten) -> None: ...


class CheckpointWriter:
    """One a rank, owned by one thread; its calls are collectives of the agreement's ranks.

    A checkpoint that the storage refuses is reported and training goes on with the one before it: the next `save` tries
    again, and only `finish` raises if nothing was complete after that. Every other error (a lost lease, other content
    under the same name) is raised by the next call.
    """

    def __init__(
        self,
        ws: Workspace,
        run: str,
        keep_ephemeral: int,
        lease: Lease | None,
        agreement: Agreement,
        listener: Listener,
    ) -> None:
        """`lease` of the first rank. Clears what a killed writer left."""
        self._ws, self._run, self._keep, self._lease = ws, run, keep_ephemeral, lease
        self.agreement = agreement
        self._listener = listener
        self._staging = Staging()
        self._thread: threading.Thread | None = None
        self._result: Written | Unwritten | None = None
        self._error: BaseException | None = None
        self._missing: Unwritten | None = None
        self.newest: str | None = None
        """Name of the last checkpoint that this writer has completed."""
        agreement.first(lambda: clear_incomplete(ws, run))
        agreement.all(lambda: clear_scratch(ws, run))

    def save(self, snapshot: Snapshot, *, asynchronous: bool) -> None:
        """Copy `snapshot` to the host and write it: return after the copy, or when it is complete or refused."""
        self.wait()
        begin = time.monotonic()
        staged = stage(snapshot, self._staging, self.agreement)
        staging_s = time.monotonic() - begin
        if not asynchronous:
            self._write(staged, staging_s)
            self.wait()
            return
        self._thread = threading.Thread(
            target=self._write, args=(staged, staging_s), name=f"checkpoint {snapshot.name}"
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written; raise what the last write raised, unless the storage refused it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        result, self._result = self._result, None
        if isinstance(result, Written):
            self._missing = None
            self._listener.written(result)
        elif result is not None:
            self.refuse(result)

    def refuse(self, missing: Unwritten) -> None:
        """Report a checkpoint that there will not be."""
        self._missing = missing
        self._listener.unwritten(missing)

    def finish(self) -> None:
        """Wait, and give the host memory back. Raises StorageError if the last checkpoint was refused."""
        self.wait()
        self._staging.close()
        if self._missing is not None:
            raise StorageError(
                f"the last checkpoint {self._missing.name} (step {self._missing.step}) could not be written: "
                f"{_first_line(self._missing.error)}",
                where=self._ws.store.describe(),
                fix="make room or make it writable and run the same command again: it goes on from the checkpoint before",
            )

    def _write(self, staged: Staged, staging_s: float) -> None:
        begin = time.monotonic()
        try:
            info = commit(self._ws, self._run, staged, self.agreement, self._check)
            self.newest = info.name
            retired = self.agreement.first(self._retire)
            self._result = Written(info, retired, staging_s, time.monotonic() - begin, self._staging.bytes)
        except (StorageError, OSError) as error:
            self._result = Unwritten(staged.name, staged.step, error)
        except BaseException as error:
            self._error = error

    def _check(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def _retire(self) -> list[str]:
        return retire_ephemeral(self._ws, self._run, self._keep)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
