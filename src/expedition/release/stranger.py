"""The stranger's test: the release copied to an empty folder, its kit run with a bare environment, timed.

The same Python interpreter is used, isolated (`-I`): no variables, no user packages, no connection, and an import of
this package fails. That the pinned packages can be installed afresh is not shown by it; the conditions say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expedition.errors import CheckFailed, UsageError
from expedition.plan.models import Programme
from expedition.release.contents import MANIFEST, SIGNATURE
from expedition.release.sign import verify_release
from expedition.workspace import Workspace, layout
from expedition.workspace.hashes import sha256_file
from expedition.workspace.store import FolderStore

SCHEMA = "release.stranger/1"
LIMIT_S = 3600.0
"""A kit command that takes longer has failed: the chapter gives a stranger one hour to the first answer."""
GUARD = """
import os, runpy, socket, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'expedition':
            raise ImportError('the kit asked for a package of the project')
def refuse(*_):
    raise OSError('the kit asked for a connection')
sys.meta_path.insert(0, Absent())
socket.socket.connect = refuse
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """One command of the kit. `result` is its JSON document, None where it gave none."""

    command: str
    wall_s: float
    code: int
    result: dict[str, Any] | None
    problem: str

    def told(self) -> dict[str, Any]:
        return {"command": self.command, "wall_s": round(self.wall_s, 3), "exit": self.code}


def stranger_test(ws: Workspace, programme: Programme) -> dict[str, Any]:
    """Run the kit of the programme's release as a stranger would; writes and returns reports/stranger.json.

    Raises UsageError without a release, CheckFailed where its signature, its first answer or its number fails.
    """
    place = _published(ws, programme)
    with tempfile.TemporaryDirectory(prefix="stranger-") as temporary:
        folder, home = Path(temporary) / "release", Path(temporary) / "home"
        home.mkdir()
        started = time.monotonic()
        copy_release(ws, place, folder)
        verify_release(folder)
        copy_s = time.monotonic() - started
        first = _run(folder, home, "kit/inference.py")
        metric = _run(folder, home, "kit/reproduce.py") if (folder / "kit/sample_data/metric.json").is_file() else None
        report = _report(programme, sha256_file(folder / MANIFEST), copy_s, first, metric)
    ws.write_json(layout.report("stranger"), report, schema=SCHEMA)
    for ran in (first, metric):
        if ran is not None and ran.code != 0:
            raise CheckFailed(
                f"{ran.command} failed: {ran.problem or report['metric']}", where=layout.report("stranger")
            )
    return ws.read_json(layout.report("stranger"))


def verify_published(ws: Workspace, programme: Programme, public_key: Path | None = None) -> dict[str, Any]:
    """`verify_release` of the programme's release in the workspace. Raises UsageError without one, CheckFailed."""
    place = _published(ws, programme)
    if isinstance(ws.store, FolderStore):
        return verify_release(ws.path(place), public_key)
    with tempfile.TemporaryDirectory(prefix="release-") as temporary:
        copy_release(ws, place, Path(temporary))
        return verify_release(Path(temporary), public_key)


def _published(ws: Workspace, programme: Programme) -> str:
    place = layout.release(programme.release.version)
    if not ws.store.exists(f"{place}/{SIGNATURE}"):
        raise UsageError(
            f"{programme.release.version} is not released", where=place, fix="expedition release build --run main"
        )
    return place


def copy_release(ws: Workspace, place: str, folder: Path) -> None:
    """All files under the key `place` into `folder`."""
    for key in ws.store.list(place):
        target = folder / key.removeprefix(f"{place}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for piece in ws.bytes_of(key):
                file.write(piece)


def _run(folder: Path, home: Path, script: str) -> Ran:
    environment = {
        "PATH": os.defpath,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    command = [sys.executable, "-I", "-B", "-c", GUARD, script, "--json"]
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran(f"python {script}", time.monotonic() - started, 124, None, f"took more than {LIMIT_S:g} s")
    wall_s = time.monotonic() - started
    result = _last_json(done.stdout)
    problem = "" if result is not None else " ".join(done.stderr.split()[-60:])
    return Ran(
        f"python {script}", wall_s, done.returncode if result is not None else done.returncode or 1, result, problem
    )


def _last_json(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        return value if isinstance(value, dict) else None
    return None


def _report(
    programme: Programme, manifest_sha256: str, copy_s: float, first: Ran, metric: Ran | None
) -> dict[str, Any]:
    answered = first.result if first.code == 0 else None
    found = None if metric is None else metric.result
    fields = ("name", "published", "reproduced", "tolerance", "ok", "items")
    device = None if answered is None else answered["device"]
    return {
        "release": programme.release.version,
        "manifest_sha256": manifest_sha256,
        "first_inference_s": None if answered is None else round(copy_s + first.wall_s, 3),
        "answers": None if answered is None else answered["answers"],
        "metric": None if found is None else {field: found[field] for field in fields},
        "metric_s": None if found is None or metric is None else round(metric.wall_s, 3),
        "copy_and_verify_s": round(copy_s, 3),
        "commands": [ran.told() for ran in (first, metric) if ran is not None],
        "device": device,
        "problem": first.problem or (metric.problem if metric is not None else "") or None,
        "conditions": [*([] if device == "cuda" else ["cpu"]), "same interpreter", "containers not built"],
    }
