"""programme: from the plan and a workspace's artefacts to schedule, cost, documents and verdicts, for the programme lead.

Why a room: a milestone is passed by evidence, never by opinion. Verdicts are computed from artefacts alone; this room
imports no package that made them, and "no evidence" is never a pass.
Verbs (all that other rooms may call):
    evaluate_gates(ws, programme, gate) -> judgements     reads artefacts; "all" writes gates.json
    sign(ws, programme, reviewer, document, who)          a person's review of a document as it is now
    waive(ws, programme, criterion, who, why)             on record; never for compliance
    freeze_approval(ws, who, why, change)                 one approved change to the frozen main run
    write_design / write_schedule / write_cost / write_launch_manual(ws, programme)    reports/
Seams: a criterion is a record of the plan and a query in `criteria/`; a third kind of evidence is one more function.
Imports: errors, workspace, plan.  Imported by: voyage, cli.
Reads / writes in the workspace: everything that criteria name / gates.json, reports/{design,schedule,cost,launch-manual}.
Invariants: the critical path equals an independent longest chain [test_finish_equals_the_longest_chain]; one changed
    byte of evidence fails [test_one_changed_byte_fails]; missing artefacts never pass [test_empty_workspace_passes_nothing].
Read in this order:
    schedule.py    critical path, floats, spread
    gantt.py       the chart
    cost.py        money
    evidence.py    reading artefacts with their hashes
    criteria/      one query a criterion
    gates.py       verdicts
    table.py       the gate table
    reviews.py     who signed, who approved a change
    documents/     design document, launch manual, schedule, cost
Try: expedition gate all; expedition programme gantt; pytest tests/programme
"""

from typing import Any

__all__ = [
    "evaluate_gates",
    "freeze_approval",
    "sign",
    "waive",
    "write_cost",
    "write_design",
    "write_launch_manual",
    "write_schedule",
]

_HOMES = {
    "evaluate_gates": "gates",
    "waive": "gates",
    "sign": "reviews",
    "freeze_approval": "reviews",
    "write_design": "documents.design",
    "write_launch_manual": "documents.launch_manual",
    "write_schedule": "documents.planning",
    "write_cost": "documents.planning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"expedition.programme.{_HOMES[name]}"), name)
