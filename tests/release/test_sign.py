"""Signature and manifest: whatever is changed in a folder is found and named, without workspace or model code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from expedition.errors import CheckFailed, InputError
from expedition.release import verify_release
from expedition.release.sign import signing_key
from expedition.workspace import Workspace


def test_copy_of_a_release_verifies(copy: Path, ws: Workspace) -> None:
    facts = verify_release(copy)
    assert facts["verified"] and "origin" in facts["conditions"][0]
    given = copy.parent / "key.pem"
    given.write_bytes((copy / "public_key.pem").read_bytes())
    assert verify_release(copy, given)["conditions"] == []
    published = next(iter(ws.events_all("release.published")))
    assert published.fields["public_key_sha256"] == facts["public_key_sha256"]
    assert published.fields["manifest_sha256"] == facts["manifest_sha256"]


@pytest.mark.parametrize("name", ["model.safetensors", "README.md", "kit/inference.py", "config.json", "manifest.json"])
def test_one_changed_byte_is_named(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    place = data.index(b"v1.0") if name == "manifest.json" else len(data) // 2
    data[place] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CheckFailed, match=name.replace(".", r"\.")):
        verify_release(copy)


@pytest.mark.parametrize("name", ["model.sig", "public_key.pem"])
def test_damaged_or_missing_signature_fails(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CheckFailed):
        verify_release(copy)
    (copy / name).unlink()
    with pytest.raises(CheckFailed, match=f"{name} is missing"):
        verify_release(copy)


def test_missing_added_and_linked_files_are_named(copy: Path) -> None:
    (copy / "kit" / "extra.py").write_text("print()")
    with pytest.raises(CheckFailed, match=r"kit/extra\.py does not belong"):
        verify_release(copy)
    (copy / "kit" / "extra.py").unlink()
    text = (copy / "README.md").read_bytes()
    (copy / "README.md").unlink()
    with pytest.raises(CheckFailed, match=r"README\.md is missing"):
        verify_release(copy)
    (copy.parent / "outside.md").write_bytes(text)
    (copy / "README.md").symlink_to(copy.parent / "outside.md")
    with pytest.raises(CheckFailed, match=r"README\.md is a link"):
        verify_release(copy)


def test_key_of_somebody_else_is_refused(copy: Path, tmp_path: Path) -> None:
    """A changed release that was signed anew with its own key holds by itself, and not by the signer's key."""
    from expedition.release.contents import read_manifest, write_manifest
    from expedition.release.sign import sign_folder

    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes((copy / "public_key.pem").read_bytes())
    (copy / "README.md").write_text("changed")
    write_manifest(copy, read_manifest(copy))
    sign_folder(copy, signing_key(Workspace.open(tmp_path / "forger", create=True)))
    assert verify_release(copy)["verified"]
    with pytest.raises(CheckFailed, match="signature"):
        verify_release(copy, trusted)


def test_bad_arguments_are_explained(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        verify_release(tmp_path / "nowhere")
    with pytest.raises(CheckFailed, match=r"manifest\.json"):
        verify_release(tmp_path)
    with pytest.raises(InputError, match="no such key"):
        verify_release(copy, tmp_path / "nokey.pem")
    (tmp_path / "rsa.pem").write_text("-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n")
    with pytest.raises(InputError, match="no private key"):
        signing_key(Workspace.open(tmp_path / "w", create=True), tmp_path / "rsa.pem")


def test_private_key_is_private_and_stays_out_of_the_release(ws: Workspace) -> None:
    key = signing_key(ws)
    assert key.stat().st_mode & 0o077 == 0
    secret = key.read_bytes()
    assert not [path for path in ws.path("release/v1.0").rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_verification_needs_no_torch(copy: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from expedition.release import verify_release;"
        "verify_release(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(copy)], check=False).returncode == 0
