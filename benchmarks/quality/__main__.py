"""Every figure of data quality in one table: python -m benchmarks.quality [--quick] [--only NAME …] [--write FILE.md]

Runs the subjects of this folder that are there (extract, beyond_news, language, pii, toxicity, dedup, licence, media,
tokenizer, rules, pipeline) one after the other, each in a process of its own, and prints one table: what, ours, peer, ratio or
figure, goal, met. `--open DIR` is where the labelled sets lie; a subject whose sets are absent says "unknown", and the exit
is 0. `--out` (default .cache/bench-quality) gets each one's JSON document and log, table.json and table.md. `--reuse` takes
the document that an earlier run left there. `--write` puts the table and its conditions between the marks of a page
(docs/performance.md), with what earlier runs left of the subjects that `--only` leaves out. Exit: 1 if a goal is missed or
a subject failed though its sets are there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.data.__main__ import commit, machine, put_between_marks
from benchmarks.data.table import as_markdown
from benchmarks.quality.open_set import DEFAULT, VARIABLE, open_set
from benchmarks.quality.table import SUBJECTS, as_written, rows_of

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
LIMIT_S = {True: 900.0, False: 3600.0}
"""A subject that takes longer is stopped: quick, full."""
MARKS = ("<!-- bench-quality: written by `python -m benchmarks.quality --write` -->", "<!-- /bench-quality -->")
FREE_OF_SETS = ("beyond_news", "pipeline", "tokenizer")
"""Subjects that have rows without the labelled sets."""


def present() -> list[str]:
    """The subjects that have a module here, or a package."""
    return [name for name in SUBJECTS if (HERE / f"{name}.py").exists() or (HERE / name / "__main__.py").exists()]


def run_one(subject: str, options: argparse.Namespace) -> dict[str, Any]:
    """One subject's document, or {"error": its last words}."""
    if open_set(options.open) is None and subject not in FREE_OF_SETS:
        return {"error": f"no labelled sets in {options.open}: give --open DIR", "absent": True}
    kept = options.out / f"{subject}.json"
    kept.unlink(missing_ok=True)
    arguments = ["--quick"] if options.quick else []
    command = [sys.executable, "-m", f"benchmarks.quality.{subject}", *arguments, "--out", str(kept)]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ = {**os.environ, "PYTHONPATH": paths, VARIABLE: str(options.open)}
    load, started = os.getloadavg()[0], time.perf_counter()
    log = options.out / f"{subject}.log"
    with log.open("w") as errors:
        try:
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environ,
                timeout=LIMIT_S[options.quick],
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {LIMIT_S[options.quick]:.0f} s"}
    try:
        text = kept.read_text() if kept.exists() else done.stdout[done.stdout.index("{") :]
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"error": log.read_text(errors="replace").strip()[-400:] or f"exit {done.returncode}, no document"}
    found["around"] = {
        "load_average": round(max(load, os.getloadavg()[0]), 1),
        "wall_s": round(time.perf_counter() - started, 1),
        "arguments": arguments,
        "commit": commit(),
    }
    kept.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return found


def main() -> int:
    """Run, print, write."""
    subjects = present()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="parts of the sets, fewer rounds")
    parser.add_argument("--only", nargs="+", choices=subjects, default=subjects)
    parser.add_argument("--open", type=Path, default=Path(os.environ.get(VARIABLE) or DEFAULT), help="labelled sets")
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "bench-quality")
    parser.add_argument("--reuse", action="store_true", help="run only what has no document in --out")
    parser.add_argument("--write", type=Path, help="page to put the table into")
    options = parser.parse_args()
    options.open, options.out = options.open.resolve(), options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, dict[str, Any]] = {}
    for name in subjects:
        kept = options.out / f"{name}.json"
        asked = name in options.only
        if not asked and (options.write is None or not kept.exists()):
            continue
        reused = kept.exists() and (options.reuse or not asked)
        parts[name] = json.loads(kept.read_text()) if reused else run_one(name, options)
        told = f"{parts[name]['around']['wall_s']:.0f} s" if "around" in parts[name] else parts[name].get("error", "")
        sys.stderr.write(f"{name}: {'kept, ' if reused else ''}{told}\n")
    rows = [row for name, found in parts.items() for row in rows_of(name, found)]
    table, around = as_markdown(rows), {**machine(), "commit": commit(), "quick": options.quick}
    document = {"conditions": around, "rows": [dataclasses.asdict(row) for row in rows]}
    (options.out / "table.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    (options.out / "table.md").write_text(table)
    if options.write is not None:
        put_between_marks(options.write, as_written(table, around, parts), MARKS)
    print(table)
    print(json.dumps(around, indent=1))
    failed = any("error" in found and not found.get("absent") for found in parts.values())
    return int(failed or any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
