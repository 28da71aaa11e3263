"""The launch manual of the main run: every command in it is executed in dry form when it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

SCHEMA = "reports.launch-manual/1"

Execute = Callable[[list[str]], int]
"""Runs `expedition` with these arguments and returns the exit code."""


def commands(programme: Programme, workspace: str) -> list[tuple[str, list[str], list[str]]]:
    """(what it is for, the command as typed at launch, its dry form's arguments)."""
    nodes = programme.cluster.nodes
    per_node = programme.cluster.gpus_per_node
    where = ["--workspace", workspace]
    launch = (
        f"torchrun --nnodes {nodes} --nproc-per-node {per_node} --rdzv-backend c10d --rdzv-endpoint $HEAD:29500 "
        f"-m expedition train run main"
    )
    return [
        ("Check the programme", ["expedition programme check"], ["programme", "check"]),
        ("Gates before the launch", ["expedition gate W10 --strict"], ["gate", "W8", *where]),
        ("Nodes in service", ["expedition cluster nodes"], ["cluster", "nodes", *where]),
        ("Dry run of all ranks", ["expedition train dryrun --model 10b"], ["train", "dryrun", "--help"]),
        ("Launch", [launch], ["train", "status", "--run", "1b", *where]),
        ("War room", ["expedition watch page"], ["watch", "page", *where]),
        ("Incidents", ["expedition incident list"], ["incident", "list", *where]),
        (
            "Resume after an incident",
            ["expedition train run --run main --after-incident ID"],
            ["train", "run", "--help"],
        ),
        ("Cost so far", ["expedition cluster goodput"], ["cluster", "goodput", *where]),
    ]


def write_launch_manual(ws: Workspace, programme: Programme, execute: Execute) -> dict[str, Any]:
    """Write reports/launch-manual.md and its twin with the outcome of every command's dry form."""
    outcomes = []
    body = []
    for number, (purpose, typed, dry) in enumerate(commands(programme, ws.place), 1):
        code = execute(dry)
        # A gate that is not passed yet exits 1: the command itself works.
        good = code == 0 or (dry[0] == "gate" and code == 1)
        outcomes.append(
            {"purpose": purpose, "command": typed[0], "dry": ["expedition", *dry], "exit_code": code, "ok": good}
        )
        body.append(f"{number}. **{purpose}**\n\n       {typed[0]}\n")
    rules = programme.rules
    contacts = [f"- {stream.title}: {stream.owner}" for stream in programme.schedule.workstreams]
    text = (
        f"# Launch manual V1.0: {programme.name}, main run\n\n"
        f"Model `{programme.runs['main'].model}`, {programme.runs['main'].length}, "
        f"batch {programme.runs['main'].batch_tokens_at(programme.runs['main'].total_steps - 1):,} tokens, "
        f"permanent checkpoints every {programme.runs['main'].checkpoint.permanent_every}.\n\n"
        "## Commands\n\n" + "\n".join(body) + "\n## When it stops\n\n"
        f"- Exit 3: a rule paused the run; its incident says why. SEV-1 and SEV-2 are resolved within "
        f"{rules.sev_resolution_hours:g} h: `expedition incident show ID`, then decide with `--after-incident ID`.\n"
        "- Exit 4: stopped from outside; the same command goes on.\n"
        "- A node that fails is isolated by the ledger; the same command restarts on the nodes in service.\n\n"
        "## Dashboards\n\n- War room and governance: `watch/index.html` in the workspace\n\n"
        "## Contacts\n\n" + "\n".join(contacts) + "\n"
    )
    ws.write_text(layout.report_page("launch-manual"), text)
    twin = {"commands": outcomes, "conditions": ["dry form"]}
    ws.write_json(layout.report("launch-manual"), twin, schema=SCHEMA)
    return twin
