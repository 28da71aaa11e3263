"""Drill down: fair examples, lineage with text, and no text of what no approval covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.data.compliance import Statement, append
from expedition.data.quality.panels import dropped_examples, kept_examples, record
from expedition.data.quality.panels.records import MOST_CHARACTERS, changed_examples
from expedition.errors import UsageError
from tests.governed import HOSTILE_SOURCE, Governed


def test_dropped_document_shows_reason_lineage_and_raw_text(governed: Governed) -> None:
    found = dropped_examples(governed.ws, "v0.1", "dedup", "exact duplicate")
    assert found.matching == 1 and found.rows[0]["source"] == "pages"
    shown = record(governed.ws, "v0.1", found.rows[0])
    assert any("dropped: exact duplicate" in line for line in shown["lineage"])
    assert shown["text"].startswith("<html><body>") and shown["text_from"].startswith("raw file")


def test_unreadable_file_shows_what_came_in(governed: Governed) -> None:
    found = dropped_examples(governed.ws, "v0.1", "decode", "empty", "notes")
    assert found.rows[0]["path"] == "notes/empty.jsonl" and found.rows[0]["id"] == ""
    shown = record(governed.ws, "v0.1", found.rows[0])
    assert shown["text"] == "" and "0 bytes" in shown["text_from"]


def test_changed_document_shows_its_redacted_text(governed: Governed) -> None:
    found = changed_examples(governed.ws, "v0.1", "pii", HOSTILE_SOURCE)
    assert found.matching == len(found.rows) == 6 and "EMAIL_ADDRESS" in found.rows[0]["reason"]
    shown = record(governed.ws, "v0.1", found.rows[0])
    assert "@lighthouse" not in shown["text"] and "stands in the version" in shown["text_from"]


def test_examples_are_the_same_each_time_and_few(governed: Governed) -> None:
    first = kept_examples(governed.ws, "v0.1", source="notes", limit=5)
    assert first == kept_examples(governed.ws, "v0.1", source="notes", limit=5)
    assert len(first.rows) == 5 < first.matching
    ids = [row["id"] for row in kept_examples(governed.ws, "v0.1", source="notes", limit=1000).rows]
    assert ids == sorted(ids) and [row["id"] for row in first.rows] == ids[:5]
    assert kept_examples(governed.ws, "v0.1", language="xx").matching == 0


def test_text_of_a_source_without_approval_is_withheld(governed: Governed, tmp_path: Path) -> None:
    own = governed.copy(tmp_path / "own")
    example = kept_examples(own.ws, "v0.1", source="notes").rows[0]
    assert record(own.ws, "v0.1", example)["text"]
    append(own.ws, Statement("revoke", "notes", "Ada", "the owner asked"))
    shown = record(own.ws, "v0.1", example)
    assert shown["text"] is None and "revoked by Ada" in shown["withheld"] and shown["lineage"]


def test_raw_file_that_is_gone_is_said(governed: Governed, tmp_path: Path) -> None:
    example = {"id": "", "source": "notes", "path": "notes/gone.jsonl", "inner": None, "reason": "empty"}
    shown = record(governed.ws, "v0.1", example)
    assert shown["text"] is None and "not there" in shown["withheld"]


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd"])
def test_path_out_of_the_data_folder_is_not_read(governed: Governed, path: str) -> None:
    shown = record(governed.ws, "v0.1", {"id": "", "source": "notes", "path": path, "inner": None, "reason": "empty"})
    assert shown["text"] is None and "leads out" in shown["withheld"]


def test_long_text_is_cut(governed: Governed) -> None:
    book = kept_examples(governed.ws, "v0.1", kind="books").rows[0]
    shown = record(governed.ws, "v0.1", book)
    assert shown["cut"] and len(shown["text"]) == MOST_CHARACTERS


def test_unknown_document_is_an_error_for_people(governed: Governed) -> None:
    with pytest.raises(UsageError, match="never seen"):
        record(governed.ws, "v0.1", {"id": "no such"})
