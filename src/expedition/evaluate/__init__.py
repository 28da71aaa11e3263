"""evaluate: a checkpoint into scores with intervals against chance, controls, and reports, for evaluation and the lead.

Why a room: whether a model knows something is decided here, by items that differ in one attribute, exact tests and
controls that must fall to chance. It trains nothing, and what it cannot measure it calls no evidence.
Verbs (all that other rooms may call; each writes what it returns, blocking, safe to repeat):
    evaluate(ws, programme, run, checkpoint, data_dir) -> results     evaluations/<run>-<checkpoint>/
    evaluate_nightly(ws, programme, run, …)     every permanent checkpoint, regressions; reports/nightly.json
    long_context(ws, programme, run, …)         long context; reports/long-context.json, .svg
    red_team(ws, programme, run, …)             suite and controls; reports/red-team.json, .md
    case_studies(ws, programme, run, …)         gallery; reports/cases.json, evaluations/…/cases.html
    evaluation_report(ws, programme, run, …)    reports/evaluation.json, .md; evaluates a second time
    evaluate_all(ws, programme, run, …)         all but nightly in one process
    open_subject, measure                       a checkpoint opened once; asking without writing (the stranger's test)
Seams: EvalBackend (our class; transformers' from an export); a task is a folder eval/<task>/items.jsonl of the data.
Imports: errors, workspace, plan, data.decode, data.loading, data.tokenizer, model, train.  Imported by: release.
Reads / writes in the workspace: runs/<run>/checkpoints, data/heldout; writes evaluations/, reports/.
Invariants: shared prompts change nothing [test_shared_prompts_change_nothing]; tests equal scipy's
    [test_tail_equals_scipy]; a second evaluation has the same digest [test_second_evaluation_has_the_same_digest];
    a revoked source's held-out documents are not read [test_a_revoked_source_is_left_out_of_perplexity];
    transformers' class agrees [test_transformers_class_agrees].
Read in this order:
    task.py         the nouns
    statistics.py   exact tests, intervals
    tasks/          items from a data folder
    questions.py    items → documents
    backends/       who answers
    subject.py      a checkpoint, opened
    controls.py     evidence from other items
    scoring.py      items → results
    perplexity.py   held-out documents
    runner.py       one evaluation
    nightly.py      every permanent checkpoint
    needle.py       long context
    redteam/        suite, measures, report
    cases.py        which answers to show
    gallery.py      their page
    drawing.py      SVG, thumbnails
    report.py       the report
    session.py      verbs, all in one process
Try: expedition evaluate --help; pytest tests/evaluate
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "case_studies": "session",
    "evaluate": "runner",
    "evaluate_all": "session",
    "evaluate_nightly": "nightly",
    "evaluation_report": "session",
    "long_context": "session",
    "measure": "runner",
    "open_subject": "subject",
    "red_team": "session",
}

__all__ = [
    "case_studies",
    "evaluate",
    "evaluate_all",
    "evaluate_nightly",
    "evaluation_report",
    "long_context",
    "measure",
    "open_subject",
    "red_team",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
