"""Samples by global number: the same bytes as tar libraries give, in any order."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from expedition.data.loading import ShardSamples
from expedition.data.loading.decode import parse_tokens
from expedition.data.loading.samples import scan_tar
from expedition.errors import InputError
from expedition.workspace import Workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tars")
    generator = np.random.default_rng(0)
    formats = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    for shard in range(6):
        with tarfile.open(place / f"s{shard}.tar", "w", format=formats[shard % 3]) as tar:
            for number in range(shard * 3):
                for suffix in ("bin", "json"):
                    name = f"{'long/' * (30 if shard % 3 else 2)}{shard:03d}{number:04d}.{suffix}"
                    data = generator.bytes(int(generator.integers(0, 3000)))
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return place


def truth(folder: Path) -> list[bytes]:
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            found += [tar.extractfile(member).read() for member in tar.getmembers() if member.isfile()]
    return found


def test_samples_are_what_tarfile_reads_in_every_tar_format(folder: Path) -> None:
    samples = ShardSamples.of_tars(folder)
    expected = truth(folder)
    assert [samples[number] for number in range(len(samples))] == expected
    order = samples.order(5, window_shards=2)
    assert sorted(order.tolist()) == list(range(len(expected)))
    assert list(samples.read(order)) == [expected[number] for number in order]
    views = list(samples.views(order))
    assert [bytes(view) for view in views] == [expected[number] for number in order] and views[0].readonly
    assert not np.array_equal(order, samples.order(5, epoch=1, window_shards=2))


def test_block_shuffle_reads_a_window_of_shards_at_a_time(folder: Path) -> None:
    samples = ShardSamples.of_tars(folder)
    shards = samples._shard[samples.order(1, window_shards=2)]
    changes = [shards[max(0, at - 1) : at + 1] for at in range(len(shards))]
    assert len(changes) == len(shards)
    first_seen = {int(shard): int(np.flatnonzero(shards == shard)[0]) for shard in np.unique(shards)}
    last_seen = {int(shard): int(np.flatnonzero(shards == shard)[-1]) for shard in np.unique(shards)}
    for at in range(len(shards)):
        assert sum(first_seen[shard] <= at <= last_seen[shard] for shard in first_seen) <= 2


def test_documents_of_a_version_by_number(data: Workspace) -> None:
    samples = ShardSamples.of_version(data, "v0.1")
    assert len(samples) > 100
    assert all(len(parse_tokens(body, "here")) for body in samples.read(np.arange(len(samples))))


def test_cut_off_and_foreign_files_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tar").write_bytes((folder / "s4.tar").read_bytes()[:1800])
    with pytest.raises(InputError, match=r"cut off|no tar header"):
        scan_tar(tmp_path / "cut.tar")
    (tmp_path / "other.tar").write_bytes(b"nothing of that kind" * 100)
    with pytest.raises(InputError, match="no tar header"):
        scan_tar(tmp_path / "other.tar")
    with pytest.raises(InputError, match=r"no \.tar file"):
        ShardSamples.of_tars(tmp_path / "empty")
