"""Signatures by OpenSSF model-signing with a local elliptic-curve key (P-256), and their verification on a bare folder.

`model.sig` is a sigstore bundle over the hashes of all files of the folder, the manifest and the public key included.
The key in the folder proves that nothing changed since it was signed; who signed it is proven only by a public key
that came another way (`--public-key`), or by its fingerprint in the voyage's event log.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from expedition.errors import CheckFailed, InputError
from expedition.release.contents import MANIFEST, PUBLIC_KEY, SIGNATURE, differences, read_manifest
from expedition.workspace import Workspace
from expedition.workspace.atomic import write_atomic
from expedition.workspace.hashes import sha256_bytes, sha256_file

PRIVATE_KEY = "release-private-key.pem"


def signing_key(ws: Workspace, given: Path | None = None) -> Path:
    """The private key to sign with: the one given, else the voyage's own, made at first use (mode 600).

    Raises InputError if the given file is no unencrypted PEM key on one of the curves P-256, P-384, P-521.
    """
    path = given or ws.scratch("keys") / PRIVATE_KEY
    if given is None and not path.is_file():
        _make_key(path)
    _public_bytes(path)
    return path


def sign_folder(folder: Path, private_key: Path) -> str:
    """Put the public key and the signature into `folder`; returns the SHA-256 of the public key."""
    from model_signing import signing

    (folder / SIGNATURE).unlink(missing_ok=True)
    public = _public_bytes(private_key)
    (folder / PUBLIC_KEY).write_bytes(public)
    config: Any = signing.Config()  # type: ignore[no-untyped-call]
    config.use_elliptic_key_signer(private_key=private_key).set_hashing_config(_all_files())
    config.sign(folder, folder / SIGNATURE)
    return sha256_bytes(public)


def verify_release(folder: Path, public_key: Path | None = None) -> dict[str, Any]:
    """Check every hash of a release folder, then its signature; needs no workspace and no model code.

    Raises InputError if there is no such folder or key, CheckFailed that names the first file that is not as signed.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), fix="give the folder that holds manifest.json")
    if public_key is not None and not public_key.is_file():
        raise InputError("there is no such key", where=str(public_key), fix="give the signer's public key (PEM)")
    manifest = read_manifest(folder)
    wrong = differences(folder, manifest)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise CheckFailed(f"not as released: {wrong[0]}{more}", where=str(folder), fix="get the release again")
    for name in (SIGNATURE, PUBLIC_KEY):
        if not (folder / name).is_file():
            raise CheckFailed(f"not as released: {name} is missing", where=str(folder), fix="get the release again")
    key = public_key or folder / PUBLIC_KEY
    _check_signature(folder, key)
    return {
        "verified": True,
        "release": manifest.get("version"),
        "checkpoint": manifest.get("checkpoint"),
        "files": len(manifest["files"]),
        "manifest_sha256": sha256_file(folder / MANIFEST),
        "public_key_sha256": sha256_file(key),
        "conditions": [] if public_key else ["public key from the release itself: whole, but not proof of its origin"],
    }


def _all_files() -> Any:
    """Every file of the folder is signed but the signature itself."""
    from model_signing import hashing

    config: Any = hashing.Config()  # type: ignore[no-untyped-call]
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _check_signature(folder: Path, key: Path) -> None:
    from model_signing import verifying

    config: Any = verifying.Config()  # type: ignore[no-untyped-call]
    try:
        config.use_elliptic_key_verifier(public_key=key).set_hashing_config(_all_files())
        config.verify(folder, folder / SIGNATURE)
    except Exception as error:  # the library raises its dependencies' own errors for a damaged bundle or key
        raise CheckFailed(
            f"the signature in {SIGNATURE} does not hold: {_reason(error)}",
            where=str(folder),
            fix="get the release and the signer's public key again",
        ) from error


def _reason(error: Exception) -> str:
    """The files that the library names, else its own words."""
    named = re.findall(r"Hash mismatch for \\*'([^'\\]+)\\*'", str(error))
    text = str(error) or type(error).__name__
    return f"not the signed {', '.join(named)}" if named else text[:200]


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    previous = os.umask(0o077)
    try:
        write_atomic(path, pem)
    finally:
        os.umask(previous)


def _public_bytes(private_key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    fix = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
    try:
        key = serialization.load_pem_private_key(private_key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"no private key that can be used: {error}", where=str(private_key), fix=fix) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.key_size not in (256, 384, 521):
        raise InputError("not a key on P-256, P-384 or P-521", where=str(private_key), fix=fix)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
