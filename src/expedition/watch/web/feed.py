"""One reading of the workspace for all browsers: at most one in `interval_s`, never on the server's own thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from expedition.data.quality.panels import PANELS, Holdings, Panel, Reader
from expedition.errors import ExpeditionError
from expedition.workspace.store import FolderStore

FOLDER_INTERVAL_S = 5.0
OBJECTS_INTERVAL_S = 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading found."""

    held: Holdings
    panels: Mapping[str, Panel]
    trouble: str | None = None
    """Why the newest attempt failed: what is shown is then the one before."""

    @property
    def as_of(self) -> str:
        """When it was read, ISO 8601 UTC."""
        return self.held.as_of

    def version(self, chosen: str | None) -> str | None:
        """`chosen` if it is there, else the version that was built last; None: there is none."""
        names = [item.version for item in self.held.versions]
        return chosen if chosen in names else (names[-1] if names else None)


class Feed:
    """Readings of one workspace. `reading` is called on one event loop."""

    def __init__(self, reader: Reader, interval_s: float | None = None) -> None:
        self._reader = reader
        folder = isinstance(reader.ws.store, FolderStore)
        self.interval_s = interval_s or (FOLDER_INTERVAL_S if folder else OBJECTS_INTERVAL_S)
        self._lock: asyncio.Lock | None = None
        self._newest: Reading | None = None
        self._at = float("-inf")

    async def reading(self) -> Reading:
        """The newest reading, no older than the interval. Raises ExpeditionError if the first one fails."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            # A browser's timer may come a moment early.
            if self._newest is None or time.monotonic() - self._at > 0.8 * self.interval_s:
                self._newest = await asyncio.to_thread(self._read)
                self._at = time.monotonic()
            return self._newest

    def _read(self) -> Reading:
        try:
            held = self._reader.read()
            return Reading(held, {name: query(held) for name, query in PANELS.items()})
        except (ExpeditionError, OSError) as error:
            if self._newest is None:
                raise
            return replace(self._newest, trouble=str(error))
