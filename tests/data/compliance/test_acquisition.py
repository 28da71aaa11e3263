"""Acquisition: nothing comes in without an approval, and what came in keeps its time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expedition.data.compliance import (
    Offer,
    Statement,
    acquire,
    acquired,
    append,
    audit,
    list_acquisitions,
    require_acquired_use,
)
from expedition.errors import ComplianceRefused, InputError
from expedition.workspace import Workspace
from expedition.workspace.hashes import sha256_bytes

MAY = "2031-05-01T00:00:00.000000Z"
JUNE = "2031-06-01T00:00:00.000000Z"
JULY = "2031-07-01T00:00:00.000000Z"


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws", create=True)


def offer(*names: str, source: str = "pages", **fields: Any) -> Offer:
    """Files whose content is their name's first letter: `a` and `a2` have the same."""
    files = {f"{source}/{name}": 10 for name in names}
    hashes = {path: sha256_bytes(path.split("/")[1][:1].encode()) for path in files}
    return Offer(source, files, source, "CC0-1.0", sha256=hashes, **fields)


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


@pytest.mark.parametrize("source", ["pages", "pages-renamed", "books"])
def test_content_that_came_in_early_is_refused_under_any_name(ws: Workspace, source: str) -> None:
    """It came in under an approval for rehearsals. Another file name, another source's name or folder do not help."""
    append(ws, Statement("approve", "pages", "Ada", "licence", scope="rehearsal"), when=MAY)
    acquire(ws, offer("a", "b"), scope="rehearsal", at=MAY)
    append(ws, Statement("approve", source, "Ada", "licence", scope="training"), when=JUNE)
    with pytest.raises(ComplianceRefused, match="as pages/a of source 'pages'"):
        acquire(ws, offer("a2", source=source), at=JULY)
    found = acquire(ws, offer("c", source="books"), at=JULY) if source == "books" else None
    assert found is None or require_acquired_use(ws, found, at=JULY).source == "books"
    assert len(list_acquisitions(ws)) == (2 if found else 1)


def test_content_that_came_in_under_an_approval_may_come_again_elsewhere(ws: Workspace) -> None:
    for source in ("pages", "books"):
        append(ws, Statement("approve", source, "Ada", "licence"), when=MAY)
    acquire(ws, offer("a"), at=JUNE)
    assert acquire(ws, offer("a", source="books"), at=JULY).first == JULY


def test_item_that_was_fetched_before_its_approval_is_refused_when_it_is_registered(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"), when=JUNE)
    with pytest.raises(ComplianceRefused, match=f"acquired on {MAY}"):
        acquire(ws, offer("a", retrieved_at={"pages/a": "2031-05-01"}), at=JULY)
    assert list_acquisitions(ws) == []
    assert acquire(ws, offer("a", retrieved_at={"pages/a": JUNE}), at=JULY).first == JUNE


def test_clock_that_was_set_back_makes_no_early_acquisition(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"), when=JULY)
    monkeypatch.setattr("expedition.data.compliance.ledger.timestamp", lambda moment=None: MAY)
    assert acquire(ws, offer("a")).first == JULY


def test_changed_record_of_an_acquisition_is_a_violation(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"), when=MAY)
    acquire(ws, offer("a"), at=JUNE)
    key = list_acquisitions(ws)[0]["key"]
    ws.store.write(key, ws.store.read(key).replace(b"2031-06", b"2031-05"))
    assert [row["what"] for row in audit(ws)["findings"]] == [f"the record of an acquisition was changed: {key}"]
    ws.store.delete(key)
    assert [row["what"] for row in audit(ws)["findings"]] == [f"the record of an acquisition is gone: {key}"]


def test_source_without_files_is_an_input_error(ws: Workspace) -> None:
    append(ws, Statement("approve", "pages", "Ada", "licence"))
    with pytest.raises(InputError, match="no files"):
        acquire(ws, offer())
