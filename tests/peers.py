"""Programs of other people in environments of their own under .cache/peers, made when first asked for.

They read what we write, with dependencies that do not fit ours (tfrecord wants protobuf 3).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).resolve().parents[1] / ".cache" / "peers"


def peer(name: str, *requirements: str) -> str:
    """The Python of an environment with these requirements; skips the test if it cannot be made here."""
    python = PEERS / name / "bin" / "python"
    make = [sys.executable, "-m", "venv", "--clear", str(PEERS / name)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    _made(name, requirements, make, install)
    return str(python)


def peer_package(name: str, requirement: str) -> str:
    """A folder for PYTHONPATH with one package, without what it depends on: that is taken from this environment."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _made(name, (requirement,), [*install, "--upgrade", "--target", str(PEERS / name), requirement])
    return str(PEERS / name)


def _made(name: str, requirements: tuple[str, ...], *commands: list[str]) -> None:
    ready, wanted = PEERS / f"{name}.ready", "\n".join(requirements)
    if ready.is_file() and ready.read_text() == wanted and (PEERS / name).is_dir():
        return
    PEERS.mkdir(parents=True, exist_ok=True)
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            pytest.skip(f"the environment of {name} cannot be made here: {done.stderr.strip()[-200:]}")
    ready.write_text(wanted)
