"""Reads every file of a folder in one worker process and prints, for each, its outcome, seconds and peak memory."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from expedition.data.decode import archives, audio, books, driving, html, image, tables, video, webarchive, yaml_safe
from expedition.data.extract import prepare
from expedition.data.sources import read_file

WARM = (archives, audio, books, driving, html, image, tables, video, webarchive, yaml_safe)


def status_bytes(field: str) -> int:
    """VmRSS or VmHWM of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def main() -> None:
    """One JSON line a file."""
    prepare()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        Path("/proc/self/clear_refs").write_text("5")
        idle = status_bytes("VmRSS")
        started, busy = time.perf_counter(), time.process_time()
        outcome = read_file(path)
        row = {
            "file": path.name,
            "wall_s": time.perf_counter() - started,
            "cpu_s": time.process_time() - busy,
            "peak_bytes": status_bytes("VmHWM") - idle,
            "texts": [document.text for document in outcome.documents],
            "inserts": sum(len(document.inserts) for document in outcome.documents),
            "rejects": sorted({str(reject.reason) for reject in outcome.rejects}),
            "rejected": len(outcome.rejects),
            "places": [reject.inner for reject in outcome.rejects],
            "repairs": sorted({str(repair.reason) for repair in outcome.repairs}),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
