"""A sealed version: deterministic shards that other readers open, an index that is right, lineage, differences."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.records import PLACEHOLDER
from expedition.data.tokenizer import Tokenizer
from expedition.data.versions.difference import difference
from expedition.data.versions.index import DROPPED, INDEX, LINEAGE, STATISTICS
from expedition.data.versions.issues import (
    add_issue,
    close_issue,
    list_issues,
    next_version,
    plan_issue,
    record_findings,
)
from expedition.data.versions.lineage import of_documents, of_source, of_token
from expedition.data.versions.manifest import read_manifest, versions
from expedition.data.versions.mixture import shares
from expedition.data.versions.plan import HELDOUT, is_heldout, plan_shards
from expedition.data.versions.shards import npy, read_tokens
from expedition.data.versions.tar import TarWriter
from expedition.data.versions.verification import verify
from expedition.errors import CheckFailed, UsageError
from expedition.plan import load_programme
from expedition.workspace import Workspace, layout

from .worldlet import documents, sealed

FOLDER = layout.dataset("v0.1")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, dict[str, Any]]]:
    return sealed(tmp_path_factory.mktemp("built"))


def rows(ws: Workspace, name: str, dataset: str = layout.DATASET) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = pq.read_table(ws.store.local(f"{layout.dataset('v0.1', dataset)}/{name}")).to_pylist()
    return table


def test_every_document_is_in_exactly_one_data_set(built: Any) -> None:
    ws, manifests = built
    found = [row["id"] for dataset in manifests for row in rows(ws, INDEX, dataset)]
    assert sorted(found) == sorted(document.id for document in documents())
    held = {row["id"] for row in rows(ws, INDEX, HELDOUT)}
    assert held == {document.id for document in documents() if is_heldout(document.id, 0.2)}


def test_index_offsets_lead_to_the_payloads(built: Any) -> None:
    ws, _ = built
    by_id = {document.id: document for document in documents()}
    tokenizer = Tokenizer.load(ws.path(f"{FOLDER}/tokenizer"))
    for number, row in enumerate(rows(ws, INDEX)):
        document, shard = by_id[row["id"]], f"{FOLDER}/{row['shard']}"
        described = json.loads(ws.store.read_range(shard, row["json_offset"], row["json_bytes"]))
        tokens = read_tokens(ws.store.read_range(shard, row["tokens_offset"], row["tokens_bytes"]))
        assert (row["doc"], described["text"], len(tokens)) == (number, document.text, row["tokens"])
        names = {"image": "<|image|>", "video": "<|video|>", "audio": "<|audio|>"}
        expected = document.text
        for insert in document.inserts:
            expected = expected.replace(PLACEHOLDER, names.get(insert.kind, insert.name), 1)
        assert tokenizer.decode(tokens) == f"{expected}<|endoftext|>"
        media = [insert for insert in document.inserts if insert.kind != "special"]
        assert [ws.store.read_range(shard, m["offset"], m["bytes"]) for m in row["media"]] == [i.data for i in media]


def test_shards_open_in_webdataset_and_tarfile(built: Any) -> None:
    webdataset = pytest.importorskip("webdataset")
    ws, manifests = built
    ids = []
    for shard in manifests[layout.DATASET]["shards"]:
        path = ws.path(f"{FOLDER}/{shard['path']}")
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            described = json.loads(sample["json"])
            tokens = np.load(io.BytesIO(sample["tokens.npy"]), allow_pickle=False)
            ids.append(described["id"])
            assert tokens.dtype == np.int32
            for number, insert in enumerate(described["inserts"]):
                name = {"image": "jpg", "video": "mjpeg", "audio": "flac"}.get(insert["kind"])
                assert name is None or sample[f"{number}.{name}"]
    assert ids == [row["id"] for row in rows(ws, INDEX)]


@pytest.mark.parametrize(("workers", "parts"), [(1, 2), (2, 5)])
def test_bytes_do_not_depend_on_workers_or_input_files(built: Any, tmp_path: Path, workers: int, parts: int) -> None:
    ws, manifests = built
    other, again = sealed(tmp_path, workers=workers, parts=parts)
    for dataset in manifests:
        folder = layout.dataset("v0.1", dataset)
        for key in ws.store.list(folder):
            assert ws.store.read(key) == other.store.read(key), key
        assert manifests[dataset] == again[dataset]


def test_manifest_adds_up(built: Any) -> None:
    ws, manifests = built
    for dataset, manifest in manifests.items():
        index, statistics = rows(ws, INDEX, dataset), rows(ws, STATISTICS, dataset)
        assert manifest["documents"] == len(index) == sum(row["documents"] for row in statistics)
        assert manifest["tokens"] == sum(row["tokens"] for row in index) == sum(s["tokens"] for s in manifest["shards"])
        assert sum(kind["expanded_tokens"] for kind in manifest["kinds"].values()) == sum(
            manifest["modalities"].values()
        )
    assert all(count > 0 for count in manifests[layout.DATASET]["modalities"].values())
    assert versions(ws) == ["v0.1"] == versions(ws, HELDOUT)


def test_content_hash_follows_content(built: Any, tmp_path: Path) -> None:
    _, manifests = built
    _, fewer = sealed(tmp_path, without=frozenset([documents()[0].id]))
    assert fewer[layout.DATASET]["content_hash"] != manifests[layout.DATASET]["content_hash"]


def test_verify_notices_one_changed_byte(tmp_path: Path) -> None:
    ws, manifests = sealed(tmp_path)
    assert verify(ws, "v0.1")["content_hash"] == manifests[layout.DATASET]["content_hash"]
    key = f"{FOLDER}/{manifests[layout.DATASET]['shards'][0]['path']}"
    data = bytearray(ws.store.read(key))
    data[600] ^= 1
    ws.store.write(key, bytes(data))
    with pytest.raises(CheckFailed, match="changed") as caught:
        verify(ws, "v0.1")
    assert caught.value.where == key


def test_lineage_leads_from_a_token_to_its_item(built: Any) -> None:
    ws, manifests = built
    table = rows(ws, LINEAGE)
    assert (table[0]["token_first"], table[-1]["token_end"]) == (0, manifests[layout.DATASET]["tokens"])
    for before, after in itertools.pairwise(table):
        assert before["token_end"] == after["token_first"]
    row = of_token(ws, "v0.1", table[3]["token_first"])
    assert (row["id"], row["path"], row["approval_id"]) == (table[3]["id"], table[3]["path"], "L000001")
    known = of_documents(ws, "v0.1", [table[3]["id"], "0" * 32])
    assert list(known) == [table[3]["id"]] and known[table[3]["id"]]["lineage"] == table[3]
    assert of_source(ws, "v0.1", "pages")["documents"] == sum(row["source"] == "pages" for row in table)
    with pytest.raises(UsageError, match="outside"):
        of_token(ws, "v0.1", table[-1]["token_end"])


def test_difference_counts_what_came_and_went(tmp_path: Path) -> None:
    gone = next(document for document in documents() if not is_heldout(document.id, 0.2))
    ws, _ = sealed(tmp_path)
    sealed(tmp_path, version="v0.2", without=frozenset([gone.id]))
    found = difference(ws, "v0.1", "v0.2")
    assert found["documents"]["removed"] == 1 and found["documents"]["added"] == 0
    tokens = {name: row["old"] - row["new"] for name, row in found["sources"].items()}
    assert [name for name, count in tokens.items() if count] == [gone.source]
    assert sum(row["new_share"] for row in found["sources"].values()) == pytest.approx(1.0)
    assert [(row["reason"], row["source"], row["documents"]) for row in found["out"]] == [
        ("copy: repeats", gone.source, 1)
    ]
    assert found["in"] == []
    assert found["dropped"] == {"dedup: repeats": {"old": 0, "new": 1}}
    assert found["tokenizer_equal"]
    assert list(of_documents(ws, "v0.2", [gone.id])[gone.id]) == ["dropped"]
    assert difference(ws, "v0.1", "v0.2", partition_rows=7) == found
    assert [row["id"] for row in pq.read_table(ws.store.local(f"{layout.dataset('v0.2')}/{DROPPED}")).to_pylist()] == [
        gone.id
    ]


def test_unknown_version_names_the_known_ones(built: Any) -> None:
    with pytest.raises(UsageError, match=r"built: v0\.1"):
        read_manifest(built[0], "v9")


def test_mixture_stands_beside_the_plan(built: Any) -> None:
    table = shares(load_programme("rehearsal", None).data.mix, built[1][layout.DATASET])
    assert sum(row["planned"] for row in table) == pytest.approx(1.0)
    assert sum(row["achieved"] for row in table) == pytest.approx(1.0)
    assert next(row for row in table if row["kind"] == "books")["epochs_at_plan"] is None


def test_issues_follow_what_builds_see(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "ws", create=True)
    mine = add_issue(ws, "Captions repeat the file name", "v0.1", modality="image", severity="high")
    assert (mine.status, plan_issue(ws, mine.id, "v0.3").status) == ("open", "planned")
    assert len(record_findings(ws, "v0.1", {"unreadable files": "3 files"}, next_version("v0.1"))) == 2
    seen = {issue.id: issue for issue in list_issues(ws)}["auto-unreadable-files"]
    assert (seen.found_in, seen.planned_version) == ("v0.1", "v0.2")
    record_findings(ws, "v0.2", {}, "v0.3")
    seen = {issue.id: issue for issue in list_issues(ws, "v0.2")}["auto-unreadable-files"]
    assert (seen.status, seen.fixed_in) == ("fixed", "v0.2")
    assert [issue.id for issue in list_issues(ws, "v0.3")] == [mine.id]
    with pytest.raises(UsageError, match="known"):
        plan_issue(ws, "none", "v0.2")


def test_issue_is_closed_by_evidence_alone(tmp_path: Path) -> None:
    ws, _ = sealed(tmp_path)
    issue = add_issue(ws, "Captions repeat the file name", "v0.1", "v0.1")
    with pytest.raises(UsageError, match="without evidence"):
        close_issue(ws, issue.id, [], fixed_in="v0.1")
    with pytest.raises(UsageError, match="no key of the workspace"):
        close_issue(ws, issue.id, ["looks fine"], fixed_in="v0.1")
    with pytest.raises(UsageError, match="there is no dataset v9"):
        close_issue(ws, issue.id, [f"{FOLDER}/report.json"], fixed_in="v9")
    assert list_issues(ws) == [issue]
    closed = close_issue(ws, issue.id, [f"{FOLDER}/report.json"], fixed_in="v0.1")
    assert closed.evidence == (f"{FOLDER}/report.json sha256:{ws.hash(f'{FOLDER}/report.json')}",)
    assert (closed.status, closed.fixed_in) == ("fixed", "v0.1")
    events = [event for event in ws.events_all("data.issue") if event.fields["issue"] == issue.id]
    assert [event.kind for event in events] == ["data.issue.added", "data.issue.closed"]


@given(payloads=st.lists(st.binary(max_size=1500), max_size=8))
def test_tar_is_read_back_by_tarfile(payloads: list[bytes]) -> None:
    file = io.BytesIO()
    with TarWriter(file) as tar:
        offsets = [tar.add(f"{number:08d}.json", payload) for number, payload in enumerate(payloads)]
    data = file.getvalue()
    assert len(data) == tar.offset and len(data) % 10240 == 0
    assert [data[o : o + len(p)] for o, p in zip(offsets, payloads, strict=True)] == payloads
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = [(member.name, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]
    assert read == [(f"{number:08d}.json", payload) for number, payload in enumerate(payloads)]


@given(tokens=st.lists(st.integers(0, 2**31 - 1), max_size=50))
def test_npy_is_read_back_by_numpy(tokens: list[int]) -> None:
    array = np.array(tokens, "<i4")
    assert np.load(io.BytesIO(npy(array.tobytes())), allow_pickle=False).tolist() == tokens
    assert read_tokens(npy(array.tobytes())).tolist() == tokens


@given(
    sizes=st.dictionaries(st.sampled_from(["web", "code", "driving"]), st.integers(1, 10**7)),
    ids=st.lists(st.binary(min_size=16, max_size=16), max_size=20),
)
def test_every_document_has_a_shard_of_its_kind(sizes: dict[str, int], ids: list[bytes]) -> None:
    plan = plan_shards(sizes, 1 << 20, 0.1, "dataset")
    resolve = plan.resolver()
    for kind in sizes:
        for name in ids:
            unit = plan.units[resolve(name.hex(), kind)]
            assert unit.kind == kind
            assert (unit.dataset == HELDOUT) == is_heldout(name.hex(), 0.1)
