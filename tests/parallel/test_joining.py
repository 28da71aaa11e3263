"""Ranks that join: all of them, or a clear end for those that came when one did not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.parallel.processes import ROOT, free_port


def start(world: int, ranks: list[int], timeout_s: float) -> list[subprocess.Popen[str]]:
    """Processes of some ranks of a world; the others never come."""
    port = free_port()
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.parallel.join", str(world), str(timeout_s)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ranks
    ]


@pytest.fixture(scope="module")
def ended() -> dict[str, list[tuple[int, str]]]:
    """Exit code and output of two worlds that started together."""
    worlds = {"no last rank": start(2, [0], 2), "no first rank": start(2, [1], 2)}
    found = {}
    for name, jobs in worlds.items():
        found[name] = [(job.returncode, output) for job in jobs for output in [job.communicate(timeout=120)[1]]]
    return found


def test_ranks_that_wait_for_one_that_died_end_and_name_it(ended: dict[str, list[tuple[int, str]]]) -> None:
    [(code, output)] = ended["no last rank"]
    assert code == 4, output
    assert "rank 0 of 2 waited 2 s" in output and "rank 1 did not come" in output and "Traceback" not in output


def test_a_rank_ends_when_the_first_one_is_not_there(ended: dict[str, list[tuple[int, str]]]) -> None:
    [(code, output)] = ended["no first rank"]
    assert code == 4, output
    assert "rank 1 of 2 waited 2 s" in output and "the store does not answer" in output and "Traceback" not in output
