"""voyage: the whole programme, W0 to W26, as a list of steps in commands that anybody can type, and its sailor.

Why a room: the order of the programme lives here and nowhere else. It decides nothing about data, models or verdicts:
each step is a command line of another room.
Verbs (all that other rooms may call):
    rehearse(ws, programme, orders, execute, listener) -> records    blocking; goes on where it was after any kill
    plan_voyage(ws, programme, orders) -> steps, mark       what would be done
    approve_for_rehearsal(ws, folders, data_dir)            a ledger record a source, for this voyage only
    local_object_store(folder) -> {place, env, conditions}  with: an S3 server on this machine, else a folder
    handle_incident(ws, programme, run)                     post-mortem of the newest incident
    go_on(ws, programme, run, kill_after_step)              a run to its end, through a kill -9
    planned_cost(ws, programme)                             reports/cost with the planner's rate
    Orders                                                  what the user asked for
Seams: a step is a `Step` in steps.py; a new one is a new entry of the list.
Imports: every room below.  Imported by: cli.
Reads / writes in the workspace: everything, through commands / voyage/, programme.yaml, data/sources.json.
Invariants: a voyage killed anywhere goes on to the same hashes [test_killed_voyage_reaches_the_same_hashes]; a finished
    step is not done again [test_finished_steps_are_reused]; another programme is refused [test_one_workspace_one_voyage].
Read in this order:
    steps.py       W0 to W26
    step.py        what a step is
    rehearsal.py   begin or go on
    runner.py      run, record, resume
    service.py     what runs beside a step
    approvals.py   decisions before W3
    object_server.py    an S3 server on this machine
    incident.py    the on-call engineer's part
    main_run.py    a run to its end, through a kill
    cost.py        what the rehearsal costs
    view.py        progress for people
Try: expedition rehearse --size smoke; pytest tests/voyage
"""

from typing import Any

__all__ = [
    "Orders",
    "approve_for_rehearsal",
    "go_on",
    "handle_incident",
    "local_object_store",
    "plan_voyage",
    "planned_cost",
    "rehearse",
]

_HOMES = {
    "Orders": "rehearsal",
    "plan_voyage": "rehearsal",
    "rehearse": "rehearsal",
    "approve_for_rehearsal": "approvals",
    "handle_incident": "incident",
    "go_on": "main_run",
    "local_object_store": "object_server",
    "planned_cost": "cost",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    import importlib

    return getattr(importlib.import_module(f"expedition.voyage.{_HOMES[name]}"), name)
