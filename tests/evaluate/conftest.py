"""One data folder and one workspace for all tests of the room; a test that writes makes its own workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.evaluate.subject import Subject, open_subject
from expedition.workspace import Workspace
from tests.evaluate.world import programme, write_data, write_workspace


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("questions"))


@pytest.fixture(scope="session")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("evaluated"))


@pytest.fixture(scope="session")
def subject(ws: Workspace, data: Path) -> Subject:
    return open_subject(ws, programme(), "main", None, data)
