"""kill -9 within the rounds of an exchange: the same call again ends in the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from expedition.data.engine.tables import write_table

from .test_local import tree_hash

ROOT = Path(__file__).parents[3]


def run(what: str, inputs: Path, work: Path, kill: str = "") -> int:
    """How the process ended: 0, or the negative number of a signal."""
    count = work.parent / "calls"
    count.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.data.engine.exchange_kills", what, str(inputs), str(work)]
    environ = {**os.environ, "KILL": kill, "KILL_COUNT": str(count)}
    return subprocess.run(command, env=environ, cwd=ROOT, timeout=120, check=False).returncode


def result(work: Path, pattern: str) -> list[tuple[str, str]]:
    return [(str(folder.relative_to(work)), tree_hash(folder)) for folder in sorted(work.glob(pattern))]


def test_kill_in_scatter_and_gather_ends_in_the_same_bytes(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    chance = np.random.default_rng(3)
    for number in range(6):
        keys = [f"k{value:03d}" for value in chance.integers(0, 90, 400)]
        table = pa.table({"key": keys, "value": chance.integers(0, 1000, 400)})
        write_table(inputs / f"{number}.arrow", table, batch_rows=100)
    assert run("exchange", inputs, tmp_path / "whole") == 0
    for kill in ("scatter:3", "scatter:9", "gather:3", "gather:1"):
        assert run("exchange", inputs, tmp_path / "killed", kill) == -signal.SIGKILL, kill
    assert run("exchange", inputs, tmp_path / "killed") == 0
    assert result(tmp_path / "killed", "gather/part-*") == result(tmp_path / "whole", "gather/part-*") != []


def test_kill_in_the_rounds_of_stars_ends_in_the_same_bytes(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    chain = np.random.default_rng(4).permutation(120)
    write_table(inputs / "0.arrow", pa.table({"a": chain[:-1], "b": chain[1:]}))
    assert run("stars", inputs, tmp_path / "whole") == 0
    for kill in ("large_star:2", "small_star:1", "small_star:8", "large_star:7"):
        assert run("stars", inputs, tmp_path / "killed", kill) == -signal.SIGKILL, kill
    assert run("stars", inputs, tmp_path / "killed") == 0
    pattern = "*/gather/part-*"
    assert result(tmp_path / "killed", pattern) == result(tmp_path / "whole", pattern) != []
    assert len(list((tmp_path / "whole").glob("*-large"))) > 2
