"""One release of untrained weights for all tests of the room; a test that changes something copies it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from expedition.release import build_release
from expedition.workspace import Workspace
from tests.evaluate.world import programme, write_data, write_workspace

pytest.importorskip("transformers", reason="pip install 'expedition-programme[transformers]'")


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("questions"), tasks=("colour",))


@pytest.fixture(scope="session")
def ws(tmp_path_factory: pytest.TempPathFactory, questions: Path) -> Workspace:
    """A workspace with a release, built once."""
    made = write_workspace(tmp_path_factory.mktemp("released"))
    build_release(made, programme(), "main", data_dir=questions)
    return made


@pytest.fixture
def copy(ws: Workspace, tmp_path: Path) -> Path:
    """A copy of the release's folder that may be changed."""
    folder = tmp_path / "v1.0"
    shutil.copytree(ws.path("release/v1.0"), folder)
    return folder
