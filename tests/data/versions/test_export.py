"""What other people's tools read of a version: TFRecord, WebDataset, Parquet, Croissant, statistics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expedition.data.compliance import Statement, append
from expedition.data.versions import export_version, read_manifest
from expedition.data.versions.croissant import CROISSANT
from expedition.data.versions.index import INDEX, MODALITIES, SHARD_STATISTICS, STATISTICS
from expedition.data.versions.shards import read_tokens
from expedition.data.versions.tfrecord import (
    decode_example,
    encode_example,
    masked_crc,
    read_records,
    read_varints,
    varints,
    write_record,
)
from expedition.errors import CheckFailed, ComplianceRefused, InputError, UsageError
from expedition.workspace import Workspace, layout
from tests.peers import peer, peer_package

from .outputs import approved_version

FOLDER = layout.dataset("v0.1")
TFRECORD = ("tfrecord==1.14.6", "protobuf<4")
READ_WITH_TFRECORD = """
import json, sys, hashlib
from tfrecord.reader import tfrecord_loader
kinds = {"id": "byte", "text": "byte", "json": "byte", "tokens": "int", "media/data": "byte", "media/width": "int"}
for path in sys.argv[1:]:
    for row in tfrecord_loader(path, None, {"id": "byte", "text": "byte", "tokens": "int"}):
        print(json.dumps([bytes(row["id"]).decode(), bytes(row["text"]).decode(), row["tokens"].tolist()]))
"""
READ_WITH_PROTOBUF = """
import json, sys, hashlib
from tfrecord import example_pb2, iterator_utils
from tfrecord.reader import tfrecord_iterator
for path in sys.argv[1:]:
    for record in tfrecord_iterator(path):
        example = example_pb2.Example()
        example.ParseFromString(bytes(record))
        feature = example.features.feature
        data = [hashlib.sha256(item).hexdigest() for item in feature["media/data"].bytes_list.value]
        print(json.dumps([feature["id"].bytes_list.value[0].decode(), list(feature["tokens"].int64_list.value), data,
                          list(feature["media/width"].int64_list.value)]))
"""


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return approved_version(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def tfrecords(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfrecord") / "out"
    export_version(ws, "v0.1", folder, "tfrecord")
    return folder


def stored(ws: Workspace) -> list[dict[str, Any]]:
    """Every document of the version, read at the index's offsets."""
    found = []
    for row in pq.read_table(ws.store.local(f"{FOLDER}/{INDEX}")).to_pylist():
        shard = f"{FOLDER}/{row['shard']}"
        described = json.loads(ws.store.read_range(shard, row["json_offset"], row["json_bytes"]))
        tokens = read_tokens(ws.store.read_range(shard, row["tokens_offset"], row["tokens_bytes"])).tolist()
        media = [ws.store.read_range(shard, item["offset"], item["bytes"]) for item in row["media"]]
        found.append({"id": row["id"], "text": described["text"], "tokens": tokens, "media": media, "row": row})
    return found


def in_peer(code: str, folder: Path) -> list[Any]:
    python = peer("tfrecord", *TFRECORD)
    # In the order of the manifest, which is that of names within a kind.
    files = [str(folder / item["path"]) for item in json.loads((folder / "export.json").read_text())["files"]]
    done = subprocess.run([python, "-c", code, *files], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tfrecords_are_read_by_the_tfrecord_package(ws: Workspace, tfrecords: Path) -> None:
    assert in_peer(READ_WITH_TFRECORD, tfrecords) == [[d["id"], d["text"], d["tokens"]] for d in stored(ws)]


def test_examples_are_parsed_by_protobuf_with_their_media(ws: Workspace, tfrecords: Path) -> None:
    from hashlib import sha256

    expected = [
        [
            d["id"],
            d["tokens"],
            [sha256(item).hexdigest() for item in d["media"]],
            [item["width"] for item in d["row"]["media"]],
        ]
        for d in stored(ws)
    ]
    assert in_peer(READ_WITH_PROTOBUF, tfrecords) == expected
    assert any(item[2] for item in expected)


def test_our_reader_reads_what_we_write(ws: Workspace, tfrecords: Path) -> None:
    files = json.loads((tfrecords / "export.json").read_text())["files"]
    examples = [decode_example(record) for item in files for record in read_records(tfrecords / item["path"])]
    assert [item["id"] for item in examples] == [[d["id"].encode()] for d in stored(ws)]
    assert [item["media/data"] for item in examples] == [d["media"] for d in stored(ws)]


@pytest.mark.parametrize(
    ("place", "message"), [(3, "length is wrong"), (9, "length is wrong"), (40, "record is wrong"), (-2, "wrong")]
)
def test_flipped_bit_in_a_record_is_found_with_its_place(tmp_path: Path, place: int, message: str) -> None:
    path = tmp_path / "a.tfrecord"
    with path.open("wb") as file:
        write_record(file, b"x" * 100)
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=message) as caught:
        list(read_records(path))
    assert "record 0 at byte 0" in str(caught.value.where)


@pytest.mark.parametrize("left", [5, 12, 60, 115, 116 + 7, 116 + 30])
def test_truncated_file_is_found_with_its_place(tmp_path: Path, left: int) -> None:
    path = tmp_path / "a.tfrecord"
    with path.open("wb") as file:
        for _ in range(2):
            write_record(file, b"x" * 100)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match="ends within") as caught:
        list(read_records(path))
    assert f"record {left // 116} at byte {left // 116 * 116}" in str(caught.value.where)


def test_crc_is_that_of_the_format() -> None:
    """The value that TensorFlow's crc32c_test.cc gives for 32 zero bytes, masked as crc32c.h says."""
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(hnp.arrays(np.int64, st.integers(0, 40)))
def test_varints_round_trip(values: Any) -> None:
    assert read_varints(varints(values)).tolist() == values.tolist()


_features = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.lists(st.binary(max_size=30), min_size=1, max_size=4)
    | hnp.arrays(np.int64, st.integers(1, 9))
    | hnp.arrays(np.float32, st.integers(1, 9), elements=st.floats(-10, 10, width=32)),
    max_size=5,
)


@given(_features)
def test_examples_round_trip_and_are_deterministic(features: dict[str, Any]) -> None:
    payload = encode_example(features)
    found = decode_example(payload)
    assert {name: list(value) for name, value in found.items()} == {name: list(v) for name, v in features.items()}
    assert encode_example(dict(reversed(list(features.items())))) == payload


@given(st.binary(max_size=60))
def test_bytes_that_are_no_example_are_an_error_or_an_example(data: bytes) -> None:
    with suppress(InputError):
        decode_example(data)


def test_webdataset_export_opens_in_webdataset_with_all_kinds(ws: Workspace, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    export_version(ws, "v0.1", tmp_path / "out", "webdataset")
    listed = json.loads((tmp_path / "out" / "shards.json").read_text())["shardlist"]
    samples = [
        sample
        for item in listed
        for sample in webdataset.WebDataset(str(tmp_path / "out" / item["url"]), shardshuffle=False)
    ]
    documents = stored(ws)
    assert sum(item["nsamples"] for item in listed) == len(samples) == len(documents)
    endings = set()
    for sample, document in zip(samples, documents, strict=True):
        assert json.loads(sample["json"])["id"] == document["id"]
        assert read_tokens(sample["tokens.npy"]).tolist() == document["tokens"]
        media = {name: value for name, value in sample.items() if name[0].isdigit()}
        endings |= {name.split(".")[1] for name in media}
        assert [media[name] for name in sorted(media, key=lambda name: int(name.split(".")[0]))] == document["media"]
    assert endings == {"jpg", "mjpeg", "flac"}
    assert set(read_manifest(ws, "v0.1")["kinds"]) == {"web", "code", "image-text", "video-text", "audio-text"}


def test_wids_index_gives_random_access(ws: Workspace, tmp_path: Path) -> None:
    packages = peer_package("wids", "webdataset==0.2.111")
    export_version(ws, "v0.1", tmp_path / "out", "webdataset")
    code = """
import json, sys, wids
dataset = wids.ShardListDataset(sys.argv[1], base=sys.argv[2], cache_dir=sys.argv[3])
picked = [dataset[number] for number in (0, len(dataset) // 2, len(dataset) - 1)]
print(json.dumps([len(dataset)] + [[item[".json"]["id"], item[".tokens.npy"].tolist()] for item in picked]))
"""
    arguments = [str(tmp_path / "out" / "shards.json"), str(tmp_path / "out"), str(tmp_path / "cache")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": packages},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = stored(ws)
    picked = [found[0], found[len(found) // 2], found[-1]]
    assert json.loads(done.stdout.splitlines()[-1]) == [len(found), *([d["id"], d["tokens"]] for d in picked)]


def test_parquet_export_holds_every_document(ws: Workspace, tmp_path: Path) -> None:
    done = export_version(ws, "v0.1", tmp_path / "out", "parquet")
    rows = [row for item in done["files"] for row in pq.read_table(tmp_path / "out" / item["path"]).to_pylist()]
    assert [(row["id"], row["text"], row["tokens"]) for row in rows] == [
        (d["id"], d["text"], d["tokens"]) for d in stored(ws)
    ]
    assert [[item["data"] for item in row["media"]] for row in rows] == [d["media"] for d in stored(ws)]


@pytest.mark.parametrize("format", ["tfrecord", "parquet", "webdataset"])
def test_export_that_was_stopped_goes_on_to_the_same_bytes(ws: Workspace, tmp_path: Path, format: str) -> None:
    first = export_version(ws, "v0.1", tmp_path / "a", format)
    export_version(ws, "v0.1", tmp_path / "b", format)
    note = json.loads((tmp_path / "b" / "export.json").read_text())
    for name in ("files", "documents", "tokens"):
        del note[name]
    (tmp_path / "b" / "export.json").write_text(json.dumps({**note, "whole": False}))
    kept = tmp_path / "b" / first["files"][0]["path"]
    os.unlink(tmp_path / "b" / first["files"][1]["path"])
    before = kept.stat().st_mtime_ns
    assert export_version(ws, "v0.1", tmp_path / "b", format) == first
    assert kept.stat().st_mtime_ns == before
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()


def test_export_refuses_what_it_must(ws: Workspace, tmp_path: Path) -> None:
    export_version(ws, "v0.1", tmp_path / "a", "parquet")
    with pytest.raises(UsageError, match="another export"):
        export_version(ws, "v0.1", tmp_path / "a", "tfrecord")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        export_version(ws, "v0.1", tmp_path / "b", "tfrecord")
    with pytest.raises(UsageError, match="csv"):
        export_version(ws, "v0.1", tmp_path / "c", "csv")
    damaged = approved_version(tmp_path / "damaged")
    shard = next(key for key in damaged.store.list(FOLDER) if key.endswith(".tar"))
    damaged.store.write(shard, damaged.store.read(shard)[:-512])
    for number, format in enumerate(("tfrecord", "webdataset")):
        with pytest.raises(CheckFailed):
            export_version(damaged, "v0.1", tmp_path / f"d{number}", format)
        assert not list((tmp_path / f"d{number}").glob(f"{Path(shard).stem}.*"))
    append(damaged, Statement("revoke", "code", "Ada", "asked to"))
    with pytest.raises(ComplianceRefused, match="code"):
        export_version(damaged, "v0.1", tmp_path / "e", "tfrecord")


def test_croissant_is_valid_and_its_records_are_read_by_mlcroissant(ws: Workspace) -> None:
    python = peer("mlcroissant", "mlcroissant[parquet]==1.1.1")
    code = """
import json, logging, sys
import mlcroissant
logging.disable(logging.CRITICAL)
dataset = mlcroissant.Dataset(sys.argv[1])
issues = dataset.metadata.ctx.issues
texts = [json.loads(row["texts/json"]) for row in dataset.records("texts")]
print(json.dumps({
    "errors": list(issues.errors), "warnings": list(issues.warnings),
    "documents": [row["documents/id"].decode() for row in dataset.records("documents")],
    "texts": {row["id"]: row["text"] for row in texts},
    "tokens": sum(int(row["statistics/tokens"]) for row in dataset.records("statistics")),
}))
"""
    done = subprocess.run(
        [python, "-c", code, str(ws.path(f"{FOLDER}/{CROISSANT}"))], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["errors"] == []
    # When a version was built is no part of it, and how to cite it is for who publishes it.
    assert all("citeAs" in warning or "datePublished" in warning for warning in told["warnings"])
    documents = stored(ws)
    assert told["documents"] == [item["id"] for item in documents]
    assert told["texts"] == {item["id"]: item["text"] for item in documents}
    assert told["tokens"] == read_manifest(ws, "v0.1")["tokens"]


def test_croissant_says_licence_provenance_and_care_for_personal_data(ws: Workspace) -> None:
    told = json.loads(ws.store.read(f"{FOLDER}/{CROISSANT}"))
    manifest = read_manifest(ws, "v0.1")
    assert told["license"] == ["CC0-1.0"]
    assert told["identifier"] == f"sha256:{manifest['content_hash']}"
    assert [item["name"] for item in told["isBasedOn"]] == [item["name"] for item in manifest["sources"]]
    assert "approval L000001" in told["isBasedOn"][0]["description"]
    hashes = {item["contentUrl"]: item["sha256"] for item in told["distribution"] if "sha256" in item}
    for name, digest in hashes.items():
        assert ws.hash(f"{FOLDER}/{name}") == digest
    assert {shard["path"] for shard in manifest["shards"]} < set(hashes)
    assert {"rai:dataCollection", "rai:personalSensitiveInformation", "rai:dataPreprocessingProtocol"} < set(told)


def test_statistics_by_shard_add_up_to_those_of_the_version(ws: Workspace) -> None:
    by_shard = pq.read_table(ws.store.local(f"{FOLDER}/{SHARD_STATISTICS}"))
    whole = pq.read_table(ws.store.local(f"{FOLDER}/{STATISTICS}"))
    keys, sums = (
        ["source", "kind", "language"],
        ["documents", "characters", "tokens", *(f"{m}_tokens" for m in MODALITIES)],
    )
    summed = by_shard.group_by(keys).aggregate([(name, "sum") for name in sums])
    summed = summed.rename_columns({f"{name}_sum": name for name in sums}).select([*keys, *sums])
    order = [(name, "ascending") for name in keys]
    assert summed.sort_by(order).to_pylist() == whole.select([*keys, *sums]).sort_by(order).to_pylist()
    for shard in read_manifest(ws, "v0.1")["shards"]:
        rows = by_shard.filter(pc.field("shard") == shard["path"])
        assert pc.sum(rows.column("documents")).as_py() == shard["documents"]
        assert pc.sum(rows.column("tokens")).as_py() == shard["tokens"]
