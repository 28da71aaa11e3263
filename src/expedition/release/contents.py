"""What a release consists of: `manifest.json` names every file by path, size and hash; a folder is compared with it.

The manifest and the two files of the signature are not listed: the signature covers the manifest, and the key's bytes
differ from voyage to voyage while the release does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from expedition.errors import CheckFailed
from expedition.workspace.hashes import sha256_file, sha256_json

MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "model.sig", "public_key.pem"
UNLISTED = frozenset({MANIFEST, SIGNATURE, PUBLIC_KEY})
SCHEMA = "release.manifest/1"
DOCUMENTS = ("README.md", "technical_report.md", "figures/")
"""What tells of times and costs, which no two voyages share; left out of `content_hash`."""


def list_files(folder: Path) -> list[dict[str, Any]]:
    """[{path, sha256, bytes}] of every file below `folder` that a manifest lists, by path."""
    return [
        {"path": name, "sha256": sha256_file(path), "bytes": path.stat().st_size}
        for name, path in _files(folder)
        if name not in UNLISTED
    ]


def content_hash(files: list[dict[str, Any]]) -> str:
    """One hash over all files but the documents: equal data, programme and code give an equal one."""
    return sha256_json([[file["path"], file["sha256"]] for file in files if not file["path"].startswith(DOCUMENTS)])


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write `manifest.json` into `folder` and return it."""
    files = list_files(folder)
    manifest = {**facts, "schema": SCHEMA, "files": files, "content_hash": content_hash(files)}
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", "utf-8")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a release folder. Raises CheckFailed if there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if not all(isinstance(file["path"], str) and isinstance(file["sha256"], str) for file in manifest["files"]):
            raise TypeError("a file needs path and sha256")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckFailed(
            f"{MANIFEST} cannot be read: {error}", where=str(folder), fix="give the folder that holds the release"
        ) from error
    return dict(manifest)


def differences(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """What `folder` is, other than its manifest says: one sentence a file; empty where they agree."""
    expected = {file["path"]: file["sha256"] for file in manifest["files"]}
    found = dict(_files(folder))
    wrong = [f"{name} is missing" for name in sorted(set(expected) - set(found))]
    for name, path in sorted(found.items()):
        if path.is_symlink():
            wrong.append(f"{name} is a link")
        elif name in expected and sha256_file(path) != expected[name]:
            wrong.append(f"{name} was changed")
        elif name not in expected and name not in UNLISTED:
            wrong.append(f"{name} does not belong to it")
    return wrong


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return [(path.relative_to(folder).as_posix(), path) for path in paths]
