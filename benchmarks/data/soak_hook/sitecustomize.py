"""A clock that can be set while processes run: `time.time` and `datetime.now` move, monotonic clocks do not.

SOAK_CLOCK names a file of one little-endian float64: seconds to add. It is mapped into memory, so a jump is seen by
every process at once. Whoever starts a process puts this folder on its PYTHONPATH. `datetime` is another class in the
modules of `expedition` only: compiled modules of others hold on to the real one's layout.
"""

from __future__ import annotations

import datetime as calendar
import importlib.machinery
import mmap
import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

REAL = calendar.datetime
_mapped: mmap.mmap | None = None


def offset_s() -> float:
    """Seconds by which this process's clock is off, now."""
    return 0.0 if _mapped is None else float(struct.unpack_from("<d", _mapped)[0])


class Like(type):
    """Every datetime counts as one of `Shifted`."""

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, REAL)


class Shifted(REAL, metaclass=Like):
    """Makes plain datetimes: nothing that is made here has this type."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return REAL(*arguments, **named)

    @classmethod
    def now(cls, tz: calendar.tzinfo | None = None) -> Any:
        return REAL.now(tz) + calendar.timedelta(seconds=offset_s())


class ShiftedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module and gives it the shifted class."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if getattr(module, "datetime", None) is REAL:
            setattr(module, "datetime", Shifted)  # noqa: B010


class Finder:
    """Finds the modules of `expedition` where they are."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith("expedition."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = ShiftedLoader(spec.loader.name, spec.loader.path)
        return spec


def install(path: Path) -> None:
    """Shift this process's clock by what `path` holds, from now on."""
    global _mapped
    with path.open("rb") as file:
        _mapped = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + offset_s()
    time.time_ns = lambda: real_time_ns() + int(offset_s() * 1e9)
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]


if os.environ.get("SOAK_CLOCK"):
    install(Path(os.environ["SOAK_CLOCK"]))
