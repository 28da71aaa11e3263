"""A workspace with two real dataset versions, made once for all tests of the room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from expedition.data.tokenizer import Tokenizer
from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.workspace import Workspace

from .made_version import byte_tokenizer, generated, write_version


@pytest.fixture(scope="session", autouse=True)
def shard_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of shards of these tests, away from the user's."""
    folder = tmp_path_factory.mktemp("shard-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPEDITION_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


@pytest.fixture(scope="session")
def programme() -> Programme:
    """Rehearsal with 16 rows of 256 positions; v0.2 joins at step 20."""
    return load_programme(
        "rehearsal",
        [
            "runs.main.sequence_length=256",
            "runs.main.batch_sequences=[{from_step: 0, sequences: 8}, {from_step: 4, sequences: 16}]",
            "runs.main.segments=[{from_step: 0, version: v0.1}, {from_step: 20, version: v0.2}]",
            "runs.main.mix={web: 6, code: 2, books: 1, image-text: 2, video-text: 1, audio-text: 1, synthetic: 1}",
        ],
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with dataset v0.1 and a larger v0.2; tests that write use `fresh`."""
    ws = Workspace.open(tmp_path_factory.mktemp("voyage"), create=True)
    write_version(ws, "v0.1", generated(1))
    write_version(ws, "v0.2", generated(1) + generated(2))
    return ws


@pytest.fixture
def fresh(data: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of its own with the same two versions."""
    ws = Workspace.open(tmp_path / "voyage", create=True)
    for key in data.store.list("data"):
        if "/pack-" not in key and "/documents-" not in key:
            ws.store.write(key, data.store.read(key))
    return ws
