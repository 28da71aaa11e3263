"""Synthetic documents from a generator: recorded, deterministic, resumable, refused where they are none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.connectors import generator
from expedition.data.connectors.failure import FetchFailed
from expedition.data.connectors.generator import CONNECTOR, GeneratorConfig, lines_of, seed_of
from expedition.data.sources import SourceFolder, list_items
from expedition.data.sources.read import read_documents
from expedition.errors import UsageError

from .acquiring import SOURCE, acquire, approved, turned_down

MADE = {"generator": "sums", "version": "2.0", "seed": 3, "count": 4}


def sums(seed: int, count: int) -> Iterator[Mapping[str, Any]]:
    for number in range(count):
        a = (seed + number) % 97
        yield {"prompt": f"add one to {a}", "text": f"{a} and one is {a + 1}.", "language": "en", "secret": "no"}


def empty(seed: int, count: int) -> list[dict[str, str]]:
    return [{"text": " "}] * count


def failing(seed: int, count: int) -> Iterator[dict[str, str]]:
    yield {"text": "one"}
    raise RuntimeError("out of ideas")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points as an installed package would bring them."""
    points = [EntryPoint(name, f"{__name__}:{name}", generator.GENERATORS) for name in ("sums", "empty", "failing")]
    monkeypatch.setattr(generator, "entry_points", lambda group: points if group == generator.GENERATORS else [])


def test_documents_come_in_with_what_made_them(tmp_path: Path) -> None:
    ws, data = approved(tmp_path), tmp_path / "data"
    acquire(ws, data, CONNECTOR, GeneratorConfig(generator="sums", documents=25, documents_a_file=10))
    source = SourceFolder(SOURCE, data, "synthetic")
    documents = [row for batch in read_documents(source, list_items(source)) for row in batch.to_pylist()]
    assert len(documents) == 25
    meta = json.loads(documents[0]["meta"])
    assert meta["generator"] == "sums"
    assert meta["generator_version"] == "unknown"
    assert len(meta["prompt_sha256"]) == 64
    assert "secret" not in (data / SOURCE / "generated-00000.jsonl").read_text()


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        acquire(
            approved(tmp_path / name),
            tmp_path / name / "data",
            CONNECTOR,
            GeneratorConfig(generator="sums", documents=30),
        )
        found.append((tmp_path / name / "data" / SOURCE / "generated-00000.jsonl").read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["empty", "failing"])
def test_a_generator_that_fails_leaves_no_file(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    acquire(approved(tmp_path), data, CONNECTOR, GeneratorConfig(generator=name, documents=5))
    assert list(turned_down(data)) == ["generated-00000.jsonl"]
    assert not (data / SOURCE / "generated-00000.jsonl").exists()


def test_an_unknown_generator_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no generator 'prose'"):
        acquire(approved(tmp_path), tmp_path / "data", CONNECTOR, GeneratorConfig(generator="prose", documents=5))


def test_the_prompt_is_kept_as_its_hash_alone() -> None:
    row = json.loads(next(lines_of(sums, MADE)))
    assert row["prompt_sha256"] == hashlib.sha256(b"add one to 3").hexdigest()
    assert "prompt" not in row


def test_too_few_documents_are_told() -> None:
    with pytest.raises(FetchFailed, match="2 documents, 4 were asked for"):
        list(lines_of(lambda seed, count: sums(seed, 2), MADE))


@given(st.integers(0, 2**40), st.integers(0, 5000), st.integers(0, 5000))
def test_files_have_seeds_of_their_own(seed: int, a: int, b: int) -> None:
    assert 0 <= seed_of(seed, a) < 2**63
    assert (seed_of(seed, a) == seed_of(seed, b)) == (a == b)
