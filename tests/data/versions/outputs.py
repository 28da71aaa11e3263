"""What the tests of outputs share: a sealed version whose sources are approved, and places to copy it to."""

from __future__ import annotations

from pathlib import Path

from expedition.data.compliance import Statement, append
from expedition.workspace import Workspace

from .worldlet import sealed

SOURCES = ("pages", "code", "pictures", "clips", "speech")


def approved_version(folder: Path, version: str = "v0.1", without: frozenset[str] = frozenset()) -> Workspace:
    """A workspace in `folder`/ws with an approval for each source and a sealed version."""
    ws, _ = sealed(folder, version=version, without=without)
    if not list(ws.store.list("compliance")):
        for source in SOURCES:
            append(ws, Statement("approve", source, "Ada", "made for tests"))
    return ws
