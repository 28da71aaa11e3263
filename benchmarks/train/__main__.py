"""The table of training speed: python -m benchmarks.train (make bench-train)

    [--only ROW …] [--sides ours transformers_models …] [--states w26 bf16] [--rounds 2] [--steps 8] [--peer-path NAME=DIR …]
    [--sketch FILE] [--ours="…"] [--limit-s 600] [--budget-s S] [--out DIR] [--append] [--source DIR]
    [--table] [--write docs/performance.md]

Peaks of the card first, then each row: ours and the peers in turn (A B A B), a process each, so that nobody inherits memory
or a warm cache but its own. Every finished process is written down at once in one document of this call; a table is made
of such documents alone (`--table` measures nothing). Needs a CUDA device.

    --bf16        rows that are measured with bf16 states too, whatever --states says
    --ours        adds arguments to our own rows: python -m benchmarks.train.step_bench --help
    --peer-path   where a peer's packages lie
    --sketch      a file that is run with the arguments of benchmarks.train.sketch
    --source      the package of another tree than this one: before and after
    --append      goes on with the newest document of --out, where it is of the same sources on the same card
    --together    all of our rows in one process, not in turn with the peers: for little time
    --budget-s    no process is started after it
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.data.__main__ import put_between_marks
from benchmarks.train.device import ROOT, UNKNOWN, describe_code, driver, versions
from benchmarks.train.rows import ROWS, pairs
from benchmarks.train.sketch import ARGUMENTS, figures_of
from benchmarks.train.table import MARKS, as_page, load_documents

SIDES = ("ours", *sorted({peer.program for work in ROWS.values() for peer in work.peers}), "sketch")
RESULTS = Path(__file__).parent / "results"
LEAST_S = 5.0
"""Of a budget, for which a process is still started."""
NO_DEVICE = 77
"""As `benchmarks.__main__` wants it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One process, and what it is to measure: pairs of row and states."""

    side: str
    command: tuple[str, ...]
    measures: tuple[tuple[str, str], ...]


def calls(options: argparse.Namespace) -> Iterator[Call]:
    """Every process, in order: for each row sides in turn, round by round; or all of our rows at once."""
    if options.together and "ours" in options.sides:
        for _ in range(options.rounds):
            yield _our_call(options.only, options)
    for name in options.only:
        for _ in range(options.rounds):
            if "ours" in options.sides and not options.together:
                yield from (_our_call([name], options, states) for states in options.states)
            yield from _other_calls(name, options)


def _steps(options: argparse.Namespace) -> list[str]:
    return ["--steps", str(options.steps), "--warmup", str(options.warmup)]


def _our_call(rows: Sequence[str], options: argparse.Namespace, *states: str) -> Call:
    which = states or tuple(options.states)
    also = [row for row in options.bf16 if row in rows]
    given = [
        *rows,
        "--states",
        *which,
        *_steps(options),
        *(["--bf16", *also] if also else []),
        *shlex.split(options.ours),
    ]
    program = (sys.executable, "-m", "benchmarks.train.step_bench")
    return Call("ours", (*program, *given), tuple(pairs(rows, which, also)))


def _other_calls(name: str, options: argparse.Namespace) -> Iterator[Call]:
    for peer in ROWS[name].peers:
        if peer.program in options.sides:
            program = (sys.executable, "-m", f"benchmarks.train.peers.{peer.program}", name)
            yield Call(peer.program, (*program, *_steps(options), *peer.arguments), ((name, "bf16"),))
    if options.sketch is not None and name in ARGUMENTS and "sketch" in options.sides:
        given = (*ARGUMENTS[name], "--steps", str(options.steps))
        yield Call("sketch", (sys.executable, str(options.sketch), *given), ((name, "bf16"),))


def run_call(call: Call, options: argparse.Namespace, limit_s: float) -> list[dict[str, Any]]:
    """A document for each thing that a process was to measure: figures, or {"error": its last words}."""
    said, words = run_process(call.side, call.command, options, limit_s)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    if call.side == "sketch":
        try:
            found[call.measures[0]] = figures_of(said)
        except ValueError as error:
            words = words or str(error)
    else:
        for line in said.splitlines():
            if line.startswith("{"):
                document = json.loads(line)
                found[document["row"], document["states"]] = document
    return [
        {**found.get((row, states), {"error": words[-600:]}), "row": row, "states": states, "side": call.side,
         "command": list(call.command[1:])}
        for row, states in call.measures
    ]  # fmt: skip


def run_process(side: str, command: Sequence[str], options: argparse.Namespace, limit_s: float) -> tuple[str, str]:
    """What a process printed, also one that is stopped at the limit, and the last words of one that failed."""
    paths = [str(options.source), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    if side in options.peer_path:
        paths.insert(0, options.peer_path[side])
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        try:
            done = subprocess.run(
                command, stdout=out, stderr=log, text=True, cwd=ROOT, timeout=limit_s, env=environment, check=False
            )
            last = f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            last = f"not done after {limit_s:.0f} s"
        out.seek(0)
        log.seek(0)
        words = log.read().strip()
        if options.verbose:
            sys.stderr.write(words[-40_000:] + "\n")
        return out.read(), f"{words[-500:]} {last}".strip()


def measure(options: argparse.Namespace) -> Path:
    """Run everything; the path of the document, which is whole after every process."""
    began = time.perf_counter()
    path, document = _document(options)
    if options.peaks:
        said, words = run_process("peaks", [sys.executable, "-m", "benchmarks.train.peaks"], options, options.limit_s)
        document["peaks"] = json.loads(said) if said.startswith("{") else {"error": words}
        sys.stdout.write(f"peaks {json.dumps(document['peaks'])}\n")
    for call in calls(options):
        left = options.budget_s - (time.perf_counter() - began)
        if left < LEAST_S:
            error = f"not started: the budget of {options.budget_s:.0f} s was spent"
            found = [{"row": row, "states": states, "side": call.side, "error": error} for row, states in call.measures]
        else:
            found = run_call(call, options, min(options.limit_s, left))
        document["runs"] += found
        _write(path, document)
        for run in found:
            figures = {key: value for key, value in run.items() if key not in ("command", "row", "side")}
            sys.stdout.write(f"{run['row']} {run['side']} {json.dumps(figures)}\n")
        sys.stdout.flush()
    _write(path, document)
    return path


def _document(options: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The document of this call: a new one, or the newest with this call added."""
    now, command, code = (
        datetime.now(UTC),
        ["python", "-m", "benchmarks.train", *sys.argv[1:]],
        describe_code(options.source),
    )
    known = load_documents(options.out) if options.append else []
    if known and known[-1]["code"] == code and known[-1]["driver_clock_power"] == driver():
        document = known[-1]
        document["commands"].append(command)
        return options.out / f"bench-train-{document['name']}.json", document
    name = f"{now:%Y%m%dT%H%M%S}"
    return options.out / f"bench-train-{name}.json", {
        "name": name,
        "at": now.isoformat(timespec="seconds"),
        "commands": [command],
        "code": code,
        "versions": versions(),
        "driver_clock_power": driver(),
        "peaks": {},
        "runs": [],
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _peer_path(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=DIR")
    return name, folder


def main() -> int:
    """0 measured or printed, 1 a goal is missed or a row has no figure, 77 no CUDA device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--states", nargs="+", choices=("w26", "bf16"), default=["w26"])
    parser.add_argument("--quick", action="store_true", help="one round of few steps, no peers")
    parser.add_argument("--bf16", nargs="+", choices=list(ROWS), default=[], metavar="ROW")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--ours", default="")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--no-peaks", dest="peaks", action="store_false")
    parser.add_argument("--peer-path", nargs="+", type=_peer_path, default=[])
    parser.add_argument("--sketch", type=Path)
    parser.add_argument("--limit-s", type=float, default=600.0)
    parser.add_argument("--budget-s", type=float, default=1e9)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    parser.add_argument("--append", action="store_true")
    parser.add_argument("--together", action="store_true")
    parser.add_argument(
        "--verbose", action="store_true", help="each process's error stream, its last 40,000 characters"
    )
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    options.peer_path = dict(options.peer_path)
    if options.quick:
        options.rounds, options.steps, options.warmup, options.sides = 1, 4, 2, ["ours"]
    if not options.table:
        if driver() == UNKNOWN:
            sys.stderr.write("no CUDA device here: nothing to measure; --table prints what was measured elsewhere\n")
            return NO_DEVICE
        measure(options)
    documents = load_documents(options.out)
    page, missed = as_page(documents)
    sys.stdout.write(page + "\n")
    if options.write is not None:
        put_between_marks(options.write, page, MARKS)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
