"""One sample of this machine: load, memory, temperature from the kernel's files, accelerators from nvidia-smi."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One accelerator."""

    index: int
    temperature_c: float | None
    power_w: float | None
    memory_bytes: float | None
    memory_total_bytes: float | None
    utilisation: float | None


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine now. None = the machine does not say."""

    processors: int
    load_1min: float | None
    memory_bytes: float | None
    memory_total_bytes: float | None
    temperature_c: float | None
    gpus: tuple[GpuSample, ...]


def sample_host(root: Path = Path("/")) -> HostSample:
    """Sample the machine whose /proc and /sys lie under `root`."""
    total, available = _meminfo(root)
    return HostSample(
        processors=os.cpu_count() or 1,
        load_1min=_load(root),
        memory_bytes=None if total is None or available is None else total - available,
        memory_total_bytes=total,
        temperature_c=_temperature(root),
        gpus=_gpus(),
    )


def _meminfo(root: Path) -> tuple[float | None, float | None]:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None, None
    kib = {line.split(":")[0]: float(line.split()[1]) for line in lines if len(line.split()) > 1}
    return (
        kib["MemTotal"] * 1024 if "MemTotal" in kib else None,
        kib["MemAvailable"] * 1024 if "MemAvailable" in kib else None,
    )


def _load(root: Path) -> float | None:
    try:
        return float((root / "proc/loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _temperature(root: Path) -> float | None:
    """Hottest thermal zone or hwmon sensor, °C."""
    found = []
    for pattern in ("sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input"):
        for path in root.glob(pattern):
            try:
                found.append(float(path.read_text()) / 1000)
            except (OSError, ValueError):
                continue
    return max(found, default=None)


def _gpus() -> tuple[GpuSample, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    fields = "index,temperature.gpu,power.draw,memory.used,memory.total,utilization.gpu"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(sample for line in done.stdout.splitlines() if (sample := parse_gpu(line)) is not None)


def parse_gpu(line: str) -> GpuSample | None:
    """One CSV line of nvidia-smi; `[N/A]` gives None. A line of another form gives None as a whole."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 6 or not cells[0].isdigit():
        return None
    numbers = [_number(cell) for cell in cells[1:]]
    temperature, power, used, total, busy = numbers
    mebi = 2.0**20
    return GpuSample(
        int(cells[0]),
        temperature,
        power,
        None if used is None else used * mebi,
        None if total is None else total * mebi,
        None if busy is None else busy / 100,
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
