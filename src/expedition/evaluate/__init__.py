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
Seams: EvalBackend (native.py: our class; transformers_class.py: transformers' from an export); a task is a folder
    eval/<task>/items.jsonl of the data.
Imports: errors, workspace, plan, data.decode, data.loading, data.tokenizer, model, train.  Imported by: release.
Reads / writes in the workspace: runs/<run>/checkpoints, data/heldout; writes evaluations/, reports/.
Invariants: a prompt that serves many choices gives what separate rows give [test_shared_prompts_change_nothing];
    tests equal scipy's [test_tail_equals_scipy]; a second evaluation has the same digest
    [test_second_evaluation_has_the_same_digest]; transformers' class agrees [test_transformers_class_agrees].
Read in this order:
    task.py  statistics.py              nouns, tests
    tasks/  questions.py                items → documents
    backends/                           who answers
    subject.py                          a checkpoint, opened
    controls.py  scoring.py  perplexity.py  runner.py     the evaluation
    nightly.py  needle.py  redteam/  cases.py  gallery.py  drawing.py  report.py  session.py
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
