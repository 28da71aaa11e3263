"""Acquisition: nothing comes in without an approval, and what came in keeps its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.data.compliance import (
    Offer,
    Statement,
    acquire,
    acquired,
    append,
    list_acquisitions,
    require_acquired_use,
)
from expedition.errors import ComplianceRefused, InputError
from expedition.workspace import Workspace

MAY = "2031-05-01T00:00:00.000000Z"
JUNE = "2031-06-01T00:00:00.000000Z"
JULY = "2031-07-01T00:00:00.000000Z"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def offer(*names: str) -> Offer:
    return Offer("pages", {f"pages/{name}": 10 for name in names}, "pages", "CC0-1.0")


def test_nothing_comes_in_without_an_approval(ws: Workspace) -> None:
    with pytest.raises(ComplianceRefused):
        acquire(ws, offer("a"))
    assert list_acquisitions(ws) == []
    with pytest.raises(InputError, match="never acquired"):
        acquired(ws, "pages")


def test_files_keep_the_time_at_which_they_came(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"), when=MAY)
    acquire(ws, offer("a", "b"), at=MAY)
    assert acquire(ws, offer("a", "b"), at=JUNE).times() == [MAY]
    found = acquire(ws, offer("a", "b", "c"), at=JULY)
    assert (found.at("pages/a"), found.at("pages/c"), found.acquisitions) == (MAY, JULY, 2)
    assert [row["files"] for row in list_acquisitions(ws)] == [2, 1]
    assert require_acquired_use(ws, found, at=JULY).id == "L000001"


def test_later_approval_does_not_cover_earlier_files(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence", scope="rehearsal"), when=MAY)
    found = acquire(ws, offer("a"), scope="rehearsal", at=MAY)
    append(ws, Statement("approve", "pages", "Ada", "licence", scope="training"), when=JULY)
    with pytest.raises(ComplianceRefused, match="acquired on"):
        require_acquired_use(ws, found, scope="training", at=JULY)


def test_source_without_files_is_an_input_error(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"))
    with pytest.raises(InputError, match="no files"):
        acquire(ws, offer())
