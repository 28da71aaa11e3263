"""Starts real processes that find each other as torchrun's do."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300
"""Of a world of processes that hangs; a busy machine takes a minute for the largest."""


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections: it stays free."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().randrange(20_000, 32_000)))
            return int(probe.getsockname()[1])


def run_ranks(world: int, arguments: list[str], timeout_s: float = TIMEOUT_S) -> None:
    """Run `python -m ARGUMENTS` as `world` ranks to the end; fails with the output of one that failed or hung."""
    port = free_port()
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    path = f"{ROOT / 'src'}:{ROOT}"
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(world)
    ]
    try:
        for rank, job in enumerate(jobs):
            output, _ = job.communicate(timeout=timeout_s)
            assert job.returncode == 0, f"rank {rank}: {output.decode()[-3000:]}"
    finally:
        for job in jobs:
            job.kill()
            job.wait()
