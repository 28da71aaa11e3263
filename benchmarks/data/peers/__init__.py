"""Peers of the loader, each run in an environment of its own under .cache/peers/<name>, made from <name>.txt.

A peer is one script of two verbs that prints one JSON document: `write SOURCE TARGET` turns a folder of WebDataset tars
into the peer's own format, `read TARGET …` reads all of it once. Scripts import nothing of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parents[2] / ".cache" / "peers"
NAMES = ("webdataset", "mosaicml", "litdata", "energon")


def environment(name: str) -> Path:
    """The interpreter of a peer's environment, made at its first use by pip."""
    folder = ENVIRONMENTS / name
    python, mark = folder / "bin" / "python", folder / "complete"
    if not mark.exists():
        sys.stderr.write(f"making .cache/peers/{name} (once)\n")
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(HERE / f"{name}.txt")]
        with (folder / "pip.log").open("wb") as log:
            subprocess.run(install, check=True, stdout=log, stderr=log)
        mark.touch()
    return python


def run(name: str, *arguments: str, cpu: int | None = None, timeout_s: float = 300.0, **environ: str) -> dict[str, Any]:
    """Run a peer's script, on one core if `cpu` is given. Raises RuntimeError with its last words if it fails."""
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    command = [*pin, str(environment(name)), str(HERE / f"peer_{name}.py"), *arguments]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, env={**os.environ, **one, **environ}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip()[-600:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
