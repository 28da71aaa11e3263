"""A run that is killed at any moment ends as one that was not: a dozen seeded kills of the soak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_kills_at_any_moment_change_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TMPDIR": str(tmp_path)}
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.train.soak", "--kills", "12", "--seed", "3", "--out", str(report)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    found = json.loads(report.read_text())["processes"]
    assert found["problems"] == []
    assert found["kills"] >= 12
    assert len(found["by_point"]) >= 4, "the kills should come at several kinds of moments"
