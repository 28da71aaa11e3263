"""Ed25519 signatures in DSSE envelopes, with a key that a workspace makes for itself or one that is given.

The envelope is that of https://github.com/secure-systems-lab/dsse (v1.0.2): what is signed is the pre-authentication
encoding of payload type and payload, so a signature over one kind of statement never passes for another. Ed25519 is
deterministic: the same payload and key give the same envelope. A key proves who signed only if it came another way
than what it signed.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expedition.errors import CheckFailed, InputError
from expedition.workspace.atomic import create_atomic
from expedition.workspace.hashes import sha256_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from expedition.workspace.workspace import Workspace

KEY_VARIABLE = "EXPEDITION_SIGNING_KEY"
"""Environment variable with the path of a private key (PEM, Ed25519) to sign with instead of the workspace's own."""

PRIVATE_KEY = "signing-private-key.pem"
_FIX = "make one with: openssl genpkey -algorithm ed25519 -out key.pem"


def signing_key(ws: Workspace) -> Ed25519PrivateKey:
    """The key that $EXPEDITION_SIGNING_KEY names, else the workspace's own, made at first use (mode 600).

    The private key lies in the workspace's scratch space on this machine: it never gets into an object store. Raises
    InputError if the file holds no unencrypted Ed25519 key.
    """
    given = os.environ.get(KEY_VARIABLE)
    path = Path(given) if given else ws.scratch("keys") / PRIVATE_KEY
    if not given and not path.is_file():
        _make_key(path)
    return load_key(path)


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises InputError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"no private key that can be used: {error}", where=str(path), fix=_FIX) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("not an Ed25519 key", where=str(path), fix=_FIX)
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half of a key, as PEM."""
    from cryptography.hazmat.primitives import serialization

    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    """A DSSE envelope around `payload`; its key id is the SHA-256 of the public key's PEM."""
    signature = key.sign(_encoding(payload_type, payload))
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": sha256_bytes(public_pem(key)), "sig": base64.b64encode(signature).decode()},
        ],
    }


def key_ids(envelope: dict[str, Any]) -> list[str]:
    """The key ids that an envelope names; empty for what is no envelope."""
    signatures = envelope.get("signatures")
    found = signatures if isinstance(signatures, list) else []
    return [str(item.get("keyid")) for item in found if isinstance(item, dict)]


def opened(envelope: dict[str, Any], payload_type: str, public_key_pem: bytes) -> bytes:
    """The payload, if one of the envelope's signatures is by this key. Raises CheckFailed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(public_key_pem)
    except ValueError as error:
        raise CheckFailed("the public key cannot be read (PEM, Ed25519)") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CheckFailed("the public key is not an Ed25519 key")
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(item["sig"], validate=True) for item in envelope["signatures"]]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise CheckFailed("this is no DSSE envelope") from error
    if envelope.get("payloadType") != payload_type:
        raise CheckFailed(f"a {envelope.get('payloadType')!r} is signed, not a {payload_type!r}")
    for signature in signatures:
        try:
            key.verify(signature, _encoding(payload_type, payload))
        except InvalidSignature:
            continue
        return payload
    raise CheckFailed("the signature does not hold under this key")


def _encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    previous = os.umask(0o077)
    try:
        create_atomic(path, pem)
    finally:
        os.umask(previous)
