"""The same run from a real object store: same batches, whole shards local once or one request a range."""

import subprocess
import sys

import numpy as np
import pytest

from expedition.data.loading import Loader, LoadingConfig
from expedition.plan.models import Programme
from expedition.workspace import Workspace


@pytest.fixture(scope="module")
def remote(data: Workspace, s3_endpoint: str) -> Workspace:
    ws = Workspace.open(f"s3://expedition/loading?endpoint={s3_endpoint}", create=True)
    for key in data.store.list("data"):
        if "/pack-" not in key and "/documents-" not in key:
            ws.store.write(key, data.store.read(key))
    return ws


@pytest.mark.parametrize("whole_shards", [True, False])
def test_an_object_store_gives_the_same_batches(
    data: Workspace, remote: Workspace, programme: Programme, whole_shards: bool
) -> None:
    local = Loader(data, programme, "main")
    loader = Loader(remote, programme, "main", LoadingConfig(decoded_bytes=0, whole_shards=whole_shards))
    assert loader.fingerprint == local.fingerprint
    for step in (0, 5):
        ours, theirs = local.batch(step), loader.batch(step)
        np.testing.assert_array_equal(ours.tokens_BS, theirs.tokens_BS)
        np.testing.assert_array_equal(ours.patches_PC, theirs.patches_PC)
        np.testing.assert_array_equal(ours.mel_MF, theirs.mel_MF)
    counts = loader.shards.counts
    assert counts.fetched_bytes > 0
    assert (counts.hits > 0) == whole_shards


def test_loading_imports_no_torch(data: Workspace, tmp_path) -> None:
    code = (
        "import sys\n"
        "import expedition.data.loading, expedition.data.loading.decode, expedition.data.loading.prompt\n"
        "import simplejpeg, soundfile, PIL.Image, pyarrow.parquet\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
