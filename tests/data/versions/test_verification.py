"""Whatever is changed in a version after it was built is found, by name, all of it at once, here and in copies."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from expedition.data.versions import examine_version, push_version, read_manifest, verify
from expedition.data.versions.index import LINEAGE
from expedition.data.versions.sign import PAYLOAD_TYPE, sign_version
from expedition.errors import CheckFailed, InputError, UsageError
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import canonical_json, sha256_bytes, sha256_json
from expedition.workspace.signing import KEY_VARIABLE, opened, public_pem, sign
from expedition.workspace.workspace import json_artefact

from .outputs import approved_version

FOLDER = layout.dataset("v0.1")
MANIFEST = layout.manifest("v0.1")
SIGNATURE = layout.signature("v0.1")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return approved_version(tmp_path_factory.mktemp("verified"))


@pytest.fixture
def ws(pristine: Workspace, tmp_path: Path) -> Workspace:
    """A copy of a workspace with a version, to be damaged."""
    import shutil

    shutil.copytree(pristine.place, tmp_path / "ws")
    return Workspace.open(tmp_path / "ws")


def problems(ws: Workspace) -> dict[str, str]:
    return {item.where: item.what for part in examine_version("v0.1", ws=ws) for item in part.problems}


def flip(ws: Workspace, key: str, place: int = -1) -> None:
    data = bytearray(ws.store.read(key))
    data[place] ^= 1
    ws.store.write(key, bytes(data))


def edit(ws: Workspace, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as a hand would: indented JSON of the same form."""
    manifest = json.loads(ws.store.read(MANIFEST))
    change(manifest)
    ws.store.write(MANIFEST, json_artefact(manifest, manifest["schema"]))


def test_every_file_of_a_version_is_vouched_for(ws: Workspace) -> None:
    assert problems(ws) == {}
    for key in ws.store.list(FOLDER):
        before = ws.store.read(key)
        flip(ws, key, len(before) // 2)
        assert key in problems(ws), key
        ws.store.write(key, before)
    assert problems(ws) == {}


def test_all_faults_are_listed_not_the_first_only(ws: Workspace) -> None:
    tars = [key for key in ws.store.list(FOLDER) if key.endswith(".tar")]
    flip(ws, tars[0])
    ws.store.delete(tars[1])
    ws.store.write(tars[2], ws.store.read(tars[2])[:-512])
    ws.store.write(f"{FOLDER}/shards/more.tar", b"more")
    flip(ws, f"{FOLDER}/{LINEAGE}")
    found = problems(ws)
    assert set(found) == {*tars[:3], f"{FOLDER}/shards/more.tar", f"{FOLDER}/{LINEAGE}"}
    assert ("changed" in found[tars[0]], found[tars[1]], "bytes long instead" in found[tars[2]]) == (
        True,
        "the file is missing",
        True,
    )
    with pytest.raises(CheckFailed, match="also"):
        verify(ws, "v0.1")


def test_manifest_edited_by_hand_is_found_three_ways(ws: Workspace) -> None:
    edit(ws, lambda manifest: manifest["sources"][0].update(licence="CC0-1.0-really"))
    assert set(problems(ws)) == {MANIFEST, SIGNATURE}
    edit(ws, lambda manifest: manifest["shards"].pop())
    whats = [item.what for part in examine_version("v0.1", ws=ws) for item in part.problems]
    assert any("event log" in what for what in whats)
    assert any("content hash does not follow" in what for what in whats)
    assert any("another manifest" in what for what in whats)
    assert any("no part of the version" in what for what in whats)


def test_careful_forger_without_the_key_is_found(ws: Workspace) -> None:
    """Content hash made to fit, signed with a key of one's own that is put in place: the log knows neither."""
    manifest = json.loads(ws.store.read(MANIFEST))
    manifest["shards"][0]["tokens"] += 1
    names = ("dataset", "version", "parent", "seed", "stages", "tokenizer_fingerprint")
    manifest["content_hash"] = sha256_json(
        [{name: manifest[name] for name in names}, manifest["shards"], manifest["tables"]]
    )
    body = json_artefact(manifest, manifest["schema"])
    key = Ed25519PrivateKey.generate()
    old = json.loads(ws.store.read(SIGNATURE))
    import base64

    statement = json.loads(base64.b64decode(old["payload"]))
    statement["subject"][0]["digest"]["sha256"] = sha256_bytes(body)
    ws.store.write(MANIFEST, body)
    ws.store.write(SIGNATURE, canonical_json(sign(canonical_json(statement), PAYLOAD_TYPE, key)))
    ws.store.write(layout.public_key(sha256_bytes(public_pem(key))), public_pem(key))
    found = problems(ws)
    assert "event log" in found[MANIFEST] and "not known here" in found[SIGNATURE]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'{"schema": "data.manifest/1"}', b'{"schema": "data.manifest/1", "shards": [7, {}]}']
)
def test_manifest_that_is_none_is_a_finding_not_a_crash(ws: Workspace, body: bytes) -> None:
    ws.store.write(MANIFEST, body)
    assert MANIFEST in problems(ws)


def test_paths_that_lead_outside_are_not_followed(ws: Workspace) -> None:
    edit(ws, lambda manifest: manifest["shards"].append({"path": "../../../workspace.json", "sha256": "", "bytes": 1}))
    assert any("not an entry" in item.what for part in examine_version("v0.1", ws=ws) for item in part.problems)


@pytest.mark.parametrize("body", [b"{", b'{"signatures": []}', b'{"signatures": [{"keyid": "x", "sig": "!"}]}'])
def test_damaged_signature_is_named(ws: Workspace, body: bytes) -> None:
    ws.store.write(SIGNATURE, body)
    assert set(problems(ws)) >= {SIGNATURE}
    ws.store.delete(SIGNATURE)
    assert problems(ws)[SIGNATURE] == "the version is not signed"


def test_cut_event_chain_is_named(ws: Workspace) -> None:
    chain = next(event.chain for event in ws.events_all("artefact.written") if event.fields["key"] == MANIFEST)
    flip(ws, f"events/{chain}/00000000.json", 40)
    assert "events" in problems(ws)


def test_copy_is_held_against_the_workspace(ws: Workspace, place: str) -> None:
    push_version(ws, "v0.1", place)
    alone = examine_version("v0.1", at=place)
    assert not any(item.problems for item in alone) and all(len(item.conditions) == 2 for item in alone)
    both = examine_version("v0.1", ws=ws, at=place)
    assert not any(item.problems or item.conditions for item in both)
    copy = Workspace.open(place, create=True)
    flip(copy, next(key for key in copy.store.list(FOLDER) if key.endswith(".tar")), 800)
    assert [len(item.problems) for item in examine_version("v0.1", at=place)] == [0, 1]


def test_given_public_key_decides(ws: Workspace, tmp_path: Path) -> None:
    right, wrong = tmp_path / "right.pem", tmp_path / "wrong.pem"
    right.write_bytes(ws.store.read(next(iter(ws.store.list("keys")))))
    wrong.write_bytes(public_pem(Ed25519PrivateKey.generate()))
    push_version(ws, "v0.1", str(tmp_path / "copy"))
    at = str(tmp_path / "copy")
    assert not any(item.problems for item in examine_version("v0.1", at=at, public_key=right))
    assert all("does not hold" in item.problems[0].what for item in examine_version("v0.1", at=at, public_key=wrong))
    with pytest.raises(InputError, match="no such key"):
        examine_version("v0.1", at=at, public_key=tmp_path / "none.pem")


def test_signature_is_deterministic_and_by_the_key_that_is_given(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, body = read_manifest(ws, "v0.1"), ws.store.read(MANIFEST)
    before = ws.store.read(SIGNATURE)
    lineage = ws.hash(f"{FOLDER}/{LINEAGE}")
    sign_version(ws, manifest, body, lineage, manifest["content_hash"])
    assert ws.store.read(SIGNATURE) == before
    key = Ed25519PrivateKey.generate()
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv(KEY_VARIABLE, str(pem))
    assert sign_version(ws, manifest, body, lineage, manifest["content_hash"]) == sha256_bytes(public_pem(key))
    assert opened(json.loads(ws.store.read(SIGNATURE)), PAYLOAD_TYPE, public_pem(key))
    assert problems(ws) == {}
    pem.write_text("no key")
    with pytest.raises(InputError, match="openssl"):
        sign_version(ws, manifest, body, lineage, manifest["content_hash"])


def test_private_key_is_for_its_owner_only_and_no_artefact(ws: Workspace) -> None:
    path = ws.scratch("keys") / "signing-private-key.pem"
    assert path.stat().st_mode & 0o077 == 0
    assert not [key for key in ws.store.list() if "private" in key]


def test_unknown_version_is_a_usage_error(ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v9"):
        examine_version("v9", ws=ws)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there is no"):
        examine_version("v0.1", ws=ws, at=str(tmp_path / "empty"))


def test_command_lists_problems_as_json_and_exits_1(ws: Workspace) -> None:
    command = [sys.executable, "-m", "expedition", "data", "verify", "v0.1", "--json", "--workspace", ws.place]
    assert json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["whole"]
    shard = next(key for key in ws.store.list(FOLDER) if key.endswith(".tar"))
    flip(ws, shard)
    failed = subprocess.run(command, check=False, capture_output=True, text=True)
    told = json.loads(failed.stdout)
    assert (failed.returncode, told["whole"]) == (1, False)
    assert [item["where"] for part in told["datasets"] for item in part["problems"]] == [shard]
