"""A download under way: bytes in a hidden part file, and beside them what is needed to go on after a kill."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.workspace.atomic import commit_file, storage_errors, write_atomic

PART_PREFIX = ".part-"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells whether a later answer is about the same bytes."""

    url: str
    etag: str | None
    last_modified: str | None
    total_bytes: int | None

    @property
    def if_range(self) -> str | None:
        """The value of If-Range: a strong ETag or the modification time; None: a resumed body cannot be trusted."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if self.etag is None else None


class Part:
    """The part file of one target. One process at a time. `size` and `sha256` speak of the bytes so far."""

    def __init__(self, target: Path, sync_bytes: int) -> None:
        self.target = target
        self.path = target.parent / f"{PART_PREFIX}{target.name}"
        self._note = target.parent / f"{PART_PREFIX}{target.name}.json"
        self._sync_bytes = sync_bytes
        self.validators: Validators | None = None
        self.size = 0
        self._synced = 0
        self._hash = hashlib.sha256()
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        self._recover()

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes so far."""
        return self._hash.hexdigest()

    def begin(self, validators: Validators) -> None:
        """Bytes of this answer follow, from the start."""
        self._reset()
        self.validators = validators
        with storage_errors(self.path):
            self.path.write_bytes(b"")

    def restart(self) -> None:
        """Bytes of a content without validators follow, from the start: a killed copy is begun anew."""
        self.discard()
        with storage_errors(self.path):
            self.path.write_bytes(b"")

    def write(self, data: bytes) -> None:
        """Append; durable at least every `sync_bytes`."""
        with storage_errors(self.path), self.path.open("ab") as file:
            file.write(data)
            self.size += len(data)
            self._hash.update(data)
            if self.size - self._synced >= self._sync_bytes:
                file.flush()
                os.fsync(file.fileno())
                self._synced = self.size
        if self._synced == self.size and self.validators is not None:
            self._write_note()

    def keep(self) -> None:
        """Make everything so far durable, so that the next try goes on from here."""
        if self.validators is None or self._synced == self.size:
            return
        with storage_errors(self.path), self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self._synced = self.size
        self._write_note()

    def head(self, length: int) -> bytes:
        """The first bytes."""
        with self.path.open("rb") as file:
            return file.read(length)

    def commit(self) -> None:
        """The file takes its name, durable before it is visible; the notes go."""
        commit_file(self.path, self.target)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Nothing is kept."""
        self._reset()
        self.validators = None
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _reset(self) -> None:
        self.size = self._synced = 0
        self._hash = hashlib.sha256()

    def _write_note(self) -> None:
        assert self.validators is not None
        fields = {name: getattr(self.validators, name) for name in Validators.__dataclass_fields__}
        write_atomic(self._note, json.dumps({**fields, "synced_bytes": self._synced}).encode())

    def _recover(self) -> None:
        """Take up what a killed process left: as many bytes as are known to be durable."""
        try:
            noted: dict[str, Any] = json.loads(self._note.read_bytes())
            validators = Validators(**{name: noted[name] for name in Validators.__dataclass_fields__})
            synced = int(noted["synced_bytes"])
            if not 0 < synced <= self.path.stat().st_size:
                raise ValueError("nothing durable")
        except (OSError, ValueError, KeyError, TypeError):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
            return
        with self.path.open("rb+") as file:
            file.truncate(synced)
            while piece := file.read(_PIECE_BYTES):
                self._hash.update(piece)
        self.validators, self.size, self._synced = validators, synced, synced
