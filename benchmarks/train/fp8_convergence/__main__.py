"""python -m benchmarks.train.fp8_convergence corpus FILE | run | cell ARM SEED | stress | report; each has --help."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.train.fp8_convergence.arms import ARMS, STEPS
from benchmarks.train.fp8_convergence.cells import Cell, run_missing, write_cell
from benchmarks.train.fp8_convergence.stress import run_stress
from benchmarks.train.fp8_convergence.text import make_corpus, read_corpus
from expedition.workspace.atomic import write_atomic


def main() -> None:
    given = _parser().parse_args()
    out = given.out
    if given.what == "corpus":
        print(json.dumps(make_corpus(given.file).about, indent=1))
    elif given.what == "cell":
        write_cell(Cell(given.arm, given.seed), given.corpus, out, given.steps)
    elif given.what == "run":
        left = run_missing(given.corpus, out, given.steps, minutes=given.minutes, together=given.together)
        print(f"{len(left)} runs are left" if left else "all runs are done")
        raise SystemExit(1 if left else 0)
    elif given.what == "stress":
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / "stress.json", json.dumps(run_stress(read_corpus(given.corpus))).encode())
    else:
        from benchmarks.train.fp8_convergence.page import write_page, write_results

        results = write_results(out)
        if given.write is not None:
            write_page(results, given.write)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train.fp8_convergence", description=__doc__)
    verbs = parser.add_subparsers(dest="what", required=True)
    corpus = verbs.add_parser("corpus", help="make the tokens that the runs read")
    corpus.add_argument("file", type=Path)
    run = verbs.add_parser("run", help="run what has no result yet; exit 1 if some is left after --minutes")
    run.add_argument("--minutes", type=float, default=60.0)
    run.add_argument("--together", type=int, default=3, help="runs at one time on the device")
    cell = verbs.add_parser("cell", help="one run")
    cell.add_argument("arm", choices=list(ARMS))
    cell.add_argument("seed", type=int)
    stress = verbs.add_parser("stress", help="force SwiGLU outliers into a trained model")
    report = verbs.add_parser("report", help="figures of the results, picture, table")
    report.add_argument("--write", type=Path, help="a page with the marks that the table goes between")
    for verb in (run, cell, stress):
        verb.add_argument("--corpus", type=Path, required=True)
    for verb in (run, cell):
        verb.add_argument("--steps", type=int, default=STEPS)
    for verb in (corpus, run, cell, stress, report):
        verb.add_argument("--out", type=Path, default=Path("build/fp8_convergence"), help="folder of results")
    return parser


if __name__ == "__main__":
    main()
