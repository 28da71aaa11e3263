"""`expedition cluster`: burn-in, drills, nodes, goodput, planner."""

from __future__ import annotations

from typing import Annotated

import typer

from expedition.cli.options import (
    JsonOption,
    PresetOption,
    ProgrammeOption,
    SetOption,
    WorkspaceOption,
    open_session,
)

app = typer.Typer(help="Burn-in, drills, nodes, goodput, planner.", no_args_is_help=True)


@app.command()
def burnin(
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Local processes that stand for nodes.")] = 4,
    rounds: Annotated[int, typer.Option("--rounds", min=0, help="Rounds of the load; 0 = the plan's hours.")] = 8,
    plant: Annotated[
        list[str] | None, typer.Option("--plant", help="NODE=wrong|slow|dead: plant a fault. May be repeated.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Load all nodes, isolate those that fail twice; writes cluster/burnin/ and cluster/nodes/."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.cluster import Burnin, planted_faults, run_burnin

    names = tuple(f"local-{number}" for number in range(nodes))
    faults = planted_faults(plant or [], names)
    report = run_burnin(session.ws, session.programme.cluster, Burnin(names, rounds, faults=faults))
    rows = [
        (m["node"], m["rounds"], m["compute_cpu_s"], "; ".join(m["problems"]) or "passed")
        for m in report["measurements"]
    ]
    session.output.table(
        f"{report['id']}: {report['wall_s']:.1f} s", ["node", "rounds", "CPU s", "result"], rows, report
    )


@app.command()
def drill(
    run: Annotated[str, typer.Option("--run", help="Run to break and restart.")] = "1b",
    kind: Annotated[str, typer.Option("--kind", help="kill or hang.")] = "kill",
    after_step: Annotated[int, typer.Option("--after-step", min=0, help="Break it at or after this step.")] = 0,
    silence_s: Annotated[float, typer.Option("--silence-s", min=0.1, help="Silence that means hanging.")] = 60.0,
    node: Annotated[str, typer.Option("--node", help="Node that the broken process stands for.")] = "local-0",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Kill or freeze a training run, restart it, measure; writes reports/drill.json. Exit 1 if it fails."""
    session = open_session(workspace, programme, preset, sets, json)
    from dataclasses import asdict

    from expedition.cluster import DrillPlan, drill_kind, run_drill, train_command
    from expedition.errors import CheckFailed

    plan = DrillPlan(
        run=run,
        command=train_command(run, workspace, programme, preset, sets or ()),
        kind=drill_kind(kind),
        after_step=after_step,
        silence_s=silence_s,
        bound_s=session.programme.cluster.drill_bound_s,
        node=node,
    )
    result = run_drill(session.ws, plan)
    session.output.result(asdict(result))
    if not result.ok:
        raise CheckFailed(f"the drill failed: {result.problem}", where="reports/drill.json")


@app.command("nodes")
def nodes_list(
    give_back: Annotated[str | None, typer.Option("--return", help="Return this node from isolation.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why it may serve again.")] = "repaired",
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """The ledger of nodes; `--return NODE` puts a repaired one back to be tested."""
    session = open_session(workspace, json=json)
    from expedition.cluster import list_nodes, return_node

    if give_back is not None:
        return_node(session.ws, give_back, reason)
    found = list_nodes(session.ws)
    rows = [(n["node"], n["state"], n["history"][-1]["time"], n["history"][-1]["reason"]) for n in found]
    session.output.table("nodes", ["node", "state", "since", "reason"], rows, found)


@app.command()
def links(
    ranks: Annotated[int, typer.Option("--ranks", min=2, max=16, help="Local processes.")] = 4,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Measure the bandwidth between local processes; writes cluster/links.json."""
    session = open_session(workspace, json=json)
    from expedition.cluster import measure_links

    report = measure_links(session.ws, ranks)
    rows = [
        (f"rank {n}", *("–" if v is None else f"{v / 1e9:.2f} GB/s" for v in row))
        for n, row in enumerate(report["bytes_per_s"])
    ]
    session.output.table("; ".join(report["conditions"]), ["from \\ to", *map(str, range(ranks))], rows, report)


@app.command()
def goodput(workspace: WorkspaceOption = "voyage", json: JsonOption = False) -> None:
    """Where the hours of training went; writes cluster/goodput.json."""
    session = open_session(workspace, json=json)
    from expedition.cluster import write_goodput

    report = write_goodput(session.ws)
    rows = [(name, f"{seconds:.1f}") for name, seconds in report["buckets"].items()]
    share = "unknown" if report["ratio"] is None else f"{report['ratio']:.1%}"
    session.output.table(f"productive: {share} of {report['wall_s']:.1f} s", ["bucket", "seconds"], rows, report)


@app.command()
def plan(
    model: Annotated[str | None, typer.Option("--model", help="Model shape; default: the main run's.")] = None,
    mfu: Annotated[float, typer.Option("--mfu", min=0.01, max=1, help="Planned MFU.")] = 0.5,
    weeks: Annotated[float, typer.Option("--weeks", min=0.1, help="Weeks of the window (W11 to W18: 8).")] = 8,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Do the main run's tokens fit its weeks? Days, slack, needed MFU, parallel choice, storage."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.cluster import main_run_demand, plan_cluster

    demand = main_run_demand(session.programme, model, mfu, weeks)
    session.output.result(plan_cluster(session.programme.models, session.programme.cluster, demand))
