"""`expedition train`: run, status, proof of concept, performance, dry run, distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from expedition.cli.options import (
    JsonOption,
    PresetOption,
    ProgrammeOption,
    Session,
    SetOption,
    WorkspaceOption,
    open_session,
)

app = typer.Typer(help="Run, resume, profile; proof of concept; distillation.", no_args_is_help=True)

RunOption = Annotated[str, typer.Option("--run", help="Name of a run in the programme.")]


def _progress(session: Session) -> Callable[[int, int, str], None]:
    def tell(done: int, total: int, text: str) -> None:
        session.output.note(f"step {done}/{total}  {text}")

    return tell


@app.command()
def run(
    run: RunOption = "main",
    after_incident: Annotated[
        str | None, typer.Option("--after-incident", help="Decide that a paused run goes on: the incident's id.")
    ] = None,
    skip_data: Annotated[
        bool, typer.Option("--skip-data", help="With --after-incident: leave out the data up to the pause.")
    ] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train a run to its end; the same command goes on after a kill. Exit 3: paused by a rule, 4: interrupted."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.errors import UsageError
    from expedition.train import train_after_incident, train_run

    if after_incident is not None:
        summary = train_after_incident(
            session.ws, session.programme, run, after_incident, skip_data=skip_data, progress=_progress(session)
        )
    elif skip_data:
        raise UsageError("--skip-data needs --after-incident", fix="add --after-incident ID")
    else:
        summary = train_run(session.ws, session.programme, run, _progress(session))
    session.output.result(summary)


@app.command()
def status(
    run: RunOption = "main",
    check: Annotated[bool, typer.Option("--check", help="Hash every checkpoint.")] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Steps, loss, pause and checkpoints of a run."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import train_status

    session.output.result(train_status(session.ws, session.programme, run, check=check))


@app.command()
def poc(
    run: RunOption = "poc",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Proof of concept: loader, router, FP8, repeatability; writes reports/poc.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import proof_of_concept

    session.output.result(proof_of_concept(session.ws, session.programme, run, _progress(session)))


@app.command()
def performance(
    run: RunOption = "1b",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Where a run's time went; writes reports/performance.json and .md."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import performance_report

    session.output.result(performance_report(session.ws, session.programme, run))


@app.command()
def distill(
    run: RunOption = "student",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train a student with and without its teacher and compare; writes reports/distillation.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import distil

    session.output.result(distil(session.ws, session.programme, run, _progress(session)))


@app.command()
def dryrun(
    model: Annotated[str, typer.Option("--model", help="Name of a model shape in the programme.")] = "10b",
    replicate: Annotated[int, typer.Option("--dp-replicate", min=1, help="Copies of the sharded model.")] = 32,
    shard: Annotated[int, typer.Option("--dp-shard", min=1, help="Ranks that share one copy.")] = 8,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """One rank's view of a large run without any device or network; writes reports/dryrun.json."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.parallel import dry_run
    from expedition.plan.runs import ParallelPlan

    plan = ParallelPlan(dp_replicate=replicate, dp_shard=shard)
    session.output.result(dry_run(session.ws, session.programme, model, plan))
