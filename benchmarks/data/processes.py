"""What a tree of processes uses: memory by process, processor time, and bytes below a folder, sampled from /proc."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Peaks:
    """Highest values seen so far."""

    process_bytes: dict[int, int] = field(default_factory=dict)
    """Highest resident bytes by process id (file pages included)."""
    tree_bytes: int = 0
    """Highest sum over the processes alive at one moment; shared pages count in each."""
    folder_bytes: int = 0
    """Highest sum of file sizes below the folder."""


class Sampler(threading.Thread):
    """Samples this process and all below it until `stop`."""

    def __init__(self, folder: Path, every_s: float = 0.25) -> None:
        super().__init__(daemon=True)
        self.peaks = Peaks()
        self._folder, self._every_s = folder, every_s
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample; the folder one time in sixteen, since it takes a walk."""
        number = 0
        while not self._ended.wait(self._every_s):
            self._memory()
            if number % 16 == 0:
                self.peaks.folder_bytes = max(self.peaks.folder_bytes, folder_bytes(self._folder))
            number += 1

    def stop(self) -> Peaks:
        """End, and say what was seen."""
        self._ended.set()
        self.join()
        return self.peaks

    def _memory(self) -> None:
        total = 0
        for pid in [os.getpid(), *descendants(os.getpid())]:
            status = _read(f"/proc/{pid}/status")
            values = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmHWM", "VmRSS")))
            if len(values) == 2:
                high, now = (int(values[name].split()[0]) << 10 for name in ("VmHWM", "VmRSS"))
                self.peaks.process_bytes[pid] = max(high, self.peaks.process_bytes.get(pid, 0))
                total += now
        self.peaks.tree_bytes = max(self.peaks.tree_bytes, total)


def cpu_s() -> float:
    """Processor seconds of this process and all below it, those that ended included."""
    own = time.process_time()
    for pid in descendants(os.getpid()):
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        own += sum(map(int, fields[11:15])) / _TICKS if len(fields) > 15 else 0.0
    return own


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _read(str(task)).split()):
            found += [child, *descendants(child)]
    return found


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of the files below a folder; what goes away meanwhile counts as nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
