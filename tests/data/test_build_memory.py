"""What the building process holds does not grow with the documents: they pass through it in row groups or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SLACK_BYTES = 2 << 20


def built(documents: int, folder: Path) -> dict[str, Any]:
    probe = Path(__file__).with_name("build_memory_probe.py")
    command = [sys.executable, str(probe), str(documents), str(folder), "1024"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_memory_of_the_building_process_is_flat_whatever_the_documents(tmp_path: Path) -> None:
    few, many = (built(documents, tmp_path / str(documents)) for documents in (3_000, 12_000))
    assert many["dropped"]["dedup"] > 3 * few["dropped"]["dedup"]
    assert many["steps"].keys() == few["steps"].keys() >= {"gather_dropped", "seal", "prepare"}
    for step, peak in many["steps"].items():
        assert peak <= few["steps"][step] + SLACK_BYTES, step
    assert many["arrow_peak_bytes"] <= few["arrow_peak_bytes"] + SLACK_BYTES
