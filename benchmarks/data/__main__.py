"""Every figure of the data engine in one table: python -m benchmarks.data [--quick] [--only NAME …] [--write FILE.md]

Runs the benchmarks of this folder one after the other, each in a process of its own, and prints one table: what, ours,
peer, ratio, goal, met. `--out` (default .cache/bench-data) gets each one's JSON document and log, table.json and table.md;
a benchmark that fails is named with its last words, and its rows are "unknown". Peers live in environments of their own
below .cache/peers, made at their first use. `--pages DIR` has real HTML files for the rows that read pages. `--reuse` takes
the document that an earlier run left in `--out` where there is one. `--write` puts the table and its conditions between the
marks of a page (docs/performance.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.data import peers
from benchmarks.data.table import ROWS, Row, as_markdown

ROOT = Path(__file__).resolve().parents[2]
QUICK: dict[str, list[str]] = {
    "loader": ["--samples", "800", "--rounds", "3"],
    "loader_s3": ["--samples", "2000", "--rounds", "3"],
    "order": ["--quick"],
    "engine_warc": ["--megabytes", "60", "--rounds", "3"],
    "push": ["--files-mib", "16", "16", "16", "64", "--rounds", "3", "--threads", "2", "4"],
    "soak": ["--faults", "60", "--minutes", "1.5"],
    "cameras": ["--quick"],
    "engine_overhead": ["--tasks", "6", "--pages-per-task", "20"],
    "dedup_scale": ["--gigabytes", "0.1", "--memory-mib", "64"],
}
FULL: dict[str, list[str]] = {
    "soak": ["--faults", "600", "--minutes", "8"],
    "dedup_scale": ["--gigabytes", "1", "--memory-mib", "128"],
}
LIMIT_S = {True: 900.0, False: 1800.0}
"""A benchmark that takes longer is stopped: quick, full. Far above what idle cores need: others may use the machine too."""
MARKS = ("<!-- bench-data: written by `python -m benchmarks.data --write` -->", "<!-- /bench-data -->")
PAGED = ("engine_warc", "engine_overhead")
OURS = ("expedition-programme", "numpy", "pyarrow", "torch", "simplejpeg", "isal", "obstore", "resiliparse")
PEERS = {"mosaicml": "mosaicml-streaming", "energon": "megatron-energon"}
"""Distribution names of peers whose environment is called otherwise."""


def run_one(name: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """One benchmark's document, or {"error": its last words}."""
    arguments = QUICK[name] if options.quick else FULL.get(name, [])
    pages = ["--pages", str(options.pages)] if options.pages and name in PAGED else []
    command = [sys.executable, "-m", f"benchmarks.data.{name}", *arguments, *pages]
    load = os.getloadavg()[0]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with (out / f"{name}.log").open("w") as log:
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                timeout=LIMIT_S[options.quick],
                env={**os.environ, "PYTHONPATH": paths},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {LIMIT_S[options.quick]:.0f} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        return {"error": (out / f"{name}.log").read_text(errors="replace").strip()[-400:] or f"exit {done.returncode}"}
    found["around"] = {
        "load_average": round(max(load, os.getloadavg()[0]), 1),
        "arguments": [*arguments, *pages],
        "commit": commit(),
    }
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def machine() -> dict[str, Any]:
    """Cores, processor, memory, system, interpreter."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = {line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")}
    return {
        "cores": os.cpu_count(),
        "processor": ", ".join(sorted(models)) or platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def conditions(quick: bool) -> dict[str, Any]:
    """The machine, the versions on both sides, and the code."""
    return {
        **machine(),
        "commit": commit(),
        "quick": quick,
        "versions": {name: _version(name) for name in OURS},
        "peers": {name: peer_version(name) for name in (*peers.NAMES, "datatrove")},
    }


def commit() -> str:
    """The code's commit, and whether the working tree has changes to it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + (" with changes" if changed.stdout.strip() else "")


def written(table: str, around: dict[str, Any], parts: dict[str, dict[str, Any]], missing: dict[str, str]) -> str:
    """The part of a page between its marks: table, conditions, and what each row's benchmark was run with."""
    listed = {**around["versions"], **{f"{name} (peer)": text for name, text in around["peers"].items()}}
    lines = [
        f"{around['cores']} cores ({around['processor']}), {around['memory_gib']} GiB, {around['system']}, Python "
        f"{around['python']}. " + ", ".join(f"{name} {text}" for name, text in listed.items()) + ".",
        "",
        table,
        "",
        "Measured so (load average: of all processes on the machine, ours included):",
        "",
        "| benchmark | arguments | load average | commit |",
        "|---|---|---:|---|",
        *(
            f"| {name} | {' '.join(found['around']['arguments'])} | {found['around']['load_average']} | "
            f"{found['around']['commit']} |"
            for name, found in parts.items()
            if "around" in found
        ),
        *(["", "Peers that did not run:", ""] if missing else []),
        *(f"- {peer}: {' '.join(why.split())[-160:]}" for peer, why in missing.items()),
    ]
    return "\n".join(lines)


def put_between_marks(path: Path, text: str, marks: tuple[str, str] = MARKS) -> None:
    """Replace what lies between the marks of a page. Raises ValueError where it has none."""
    page = path.read_text(encoding="utf-8")
    start, end = page.index(marks[0]) + len(marks[0]), page.index(marks[1])
    path.write_text(f"{page[:start]}\n\n{text}\n\n{page[end:]}", encoding="utf-8")


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:
        return "not installed"


def peer_version(name: str) -> str:
    """Version of a peer in its environment, made if need be, or why there is none."""
    try:
        python = peers.environment(name)
        code = f"from importlib.metadata import version; print(version({PEERS.get(name, name)!r}))"
        done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"not installed: {error}"[:300]
    return done.stdout.strip()


def rows_of(name: str, found: dict[str, Any]) -> list[Row]:
    """A benchmark's rows; one "unknown" row with the reason where it has no document."""
    if "error" not in found:
        try:
            return list(ROWS[name](found))
        except (KeyError, TypeError, ValueError) as error:
            found = {"error": f"{type(error).__name__}: {error}"}
    return [Row(name, "unknown", str(found["error"]).replace("\n", " ")[-200:], None, "as in the issue", None)]


def main() -> int:
    """Run, print, write. 1 if a goal is missed or a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, all within 8 minutes on two cores")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--pages", type=Path, help="folder of HTML files")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "bench-data")
    parser.add_argument("--reuse", action="store_true", help="run only what has no document in --out")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    around = conditions(options.quick)
    parts: dict[str, dict[str, Any]] = {}
    for name in (name for name in ROWS if name in options.only):
        started, kept = time.perf_counter(), options.out / f"{name}.json"
        reused = options.reuse and kept.exists()
        parts[name] = json.loads(kept.read_text()) if reused else run_one(name, options, options.out)
        sys.stderr.write(f"{name}: {'kept' if reused else f'{time.perf_counter() - started:.0f} s'}\n")
    rows = [row for name, found in parts.items() for row in rows_of(name, found)]
    missing = {
        f"{name}, {peer}": why
        for name, found in parts.items()
        for peer, why in found.get("peers_that_did_not_run", {}).items()
    }
    table = as_markdown(rows)
    document = {
        "conditions": around,
        "rows": [dataclasses.asdict(row) for row in rows],
        "peers_that_did_not_run": missing,
    }
    (options.out / "table.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (options.out / "table.md").write_text(table)
    if options.write is not None:
        put_between_marks(options.write, written(table, around, parts, missing))
    print(table)
    print(json.dumps({**around, "peers_that_did_not_run": missing}, indent=1))
    return int(any(row.goal and not row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())
