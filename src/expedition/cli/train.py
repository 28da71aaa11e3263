"""`expedition train`: run, resume, pause, stop, rewind, fork, status; profile, proof of concept, performance, distillation."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from expedition.train.control import Said

app = typer.Typer(help="Run, pause, rewind, profile; proof of concept; distillation.", no_args_is_help=True)

RunOption = Annotated[str, typer.Option("--run", help="Name of a run in the programme.")]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="The same as --run, which torchrun takes for its own --run-path.")
]
AfterOption = Annotated[
    str | None, typer.Option("--after-incident", help="Decide that a run paused by a rule goes on: the incident's id.")
]
SkipDataOption = Annotated[
    bool, typer.Option("--skip-data", help="With --after-incident: leave out the data up to the pause.")
]
ByOption = Annotated[str | None, typer.Option("--by", help="Who asks or decides; the system's user if not given.")]
WhyOption = Annotated[str, typer.Option("--why", help="Why; kept on record.")]


def _named(name: str | None, run: str) -> str:
    """The run of the two ways to name it."""
    from expedition.errors import UsageError

    if name is not None and run not in ("main", name):
        raise UsageError(f"two runs are named: {name} and {run}", fix="name one")
    return name or run


def _said(by: str | None, why: str) -> Said:
    from expedition.train.control import Said
    from expedition.watch import system_user

    return Said(by or system_user(), why)


def _sail(session: Session, run: str, said: Said, after_incident: str | None, skip_data: bool, resumed: bool) -> None:
    from expedition.cli.train_progress import TrainProgress
    from expedition.errors import UsageError
    from expedition.train import train_after_incident, train_resume, train_run

    ws, programme = session.ws, session.programme
    if skip_data and after_incident is None:
        raise UsageError("--skip-data needs --after-incident", fix="add --after-incident ID")
    with TrainProgress(run) as progress:
        if after_incident is not None:
            summary = train_after_incident(
                ws, programme, run, after_incident, skip_data=skip_data, said=said, progress=progress
            )
        elif resumed:
            summary = train_resume(ws, programme, run, said=said, progress=progress)
        else:
            summary = train_run(ws, programme, run, progress)
    session.output.result(summary)


@app.command()
def run(
    name: NameArgument = None,
    run: RunOption = "main",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, and where it would go on; write nothing.")
    ] = False,
    after_incident: AfterOption = None,
    skip_data: SkipDataOption = False,
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Train a run to its end; the same command goes on after a kill. Exit 3: paused, 4: stopped, saved, to be resumed.

    SIGTERM and SIGINT save and stop, a second SIGINT ends at once, SIGUSR1 saves and goes on.
    """
    session = open_session(workspace, programme, preset, sets, json)
    if dry_run:
        from expedition.train import outlook_of

        session.output.result(outlook_of(session.ws, session.programme, _named(name, run)))
        return
    _sail(session, _named(name, run), _said(by, why), after_incident, skip_data, False)


@app.command()
def resume(
    name: NameArgument = None,
    run: RunOption = "main",
    after_incident: AfterOption = None,
    skip_data: SkipDataOption = False,
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Go on with a run that was paused, stopped or killed; takes a person's pause back. A rule's needs --after-incident."""
    session = open_session(workspace, programme, preset, sets, json)
    _sail(session, _named(name, run), _said(by, why), after_incident, skip_data, True)


@app.command()
def pause(
    run: RunOption = "main",
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Have a run saved and ended after its step (exit 3), and not begun again before `train resume`."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import ask_run

    session.output.result(asdict(ask_run(session.ws, run, "pause", _said(by, why))))


@app.command()
def stop(
    run: RunOption = "main",
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Have the process that trains a run save and end after its step (exit 4)."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import ask_run

    session.output.result(asdict(ask_run(session.ws, run, "stop", _said(by, why))))


@app.command()
def save(
    run: RunOption = "main",
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Have the process that trains a run save after its step and go on."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import ask_run

    session.output.result(asdict(ask_run(session.ws, run, "save", _said(by, why))))


@app.command()
def rewind(
    to: Annotated[str, typer.Option("--to", help="Name or step of a kept checkpoint.")],
    run: RunOption = "main",
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="Leave out what steps FIRST-LAST have read. May be repeated.")
    ] = None,
    skip_samples: Annotated[
        list[str] | None, typer.Option("--skip-samples", help="The same by sequences' indices: their whole steps.")
    ] = None,
    abandon: Annotated[bool, typer.Option("--abandon", help="Remove permanent checkpoints after it, too.")] = False,
    by: ByOption = None,
    why: WhyOption = "",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Decide that a run goes on from an earlier checkpoint, without some of its data; `train run` then does."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import Skip, rewind_run

    left_out = Skip.from_text(session.programme, run, skip or (), skip_samples or ())
    session.output.result(asdict(rewind_run(session.ws, run, to, left_out, _said(by, why), abandon=abandon)))


@app.command()
def fork(
    run: Annotated[str, typer.Option("--run", help="Name of the new run.")],
    from_run: Annotated[str, typer.Option("--from-run", help="Run that it comes from.")] = "main",
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Name or step of a kept checkpoint; the newest intact.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--change", help="What differs from the parent's plan: a.b=c. May be repeated.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """A new run that goes on from another's checkpoint, with its weights, moments and place in the data order."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import fork_run

    session.output.result(fork_run(session.ws, session.programme, run, from_run, checkpoint, change or ()))


@app.command()
def status(
    run: RunOption = "main",
    check: Annotated[bool, typer.Option("--check", help="Hash every checkpoint.")] = False,
    attempts: Annotated[
        bool, typer.Option("--attempts", help="Every process's part of the metrics, also what was done again.")
    ] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Who trains a run, steps, loss, pause, requests, decisions and checkpoints."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import train_status

    found = train_status(session.ws, session.programme, run, check=check, attempts=attempts)
    session.output.result(found if json else {name: value for name, value in found.items() if value is not None})


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
    from expedition.cli.train_progress import TrainProgress
    from expedition.train import proof_of_concept

    with TrainProgress(run) as progress:
        report = proof_of_concept(session.ws, session.programme, run, progress)
    session.output.result(report)


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
def profile(
    name: NameArgument = None,
    run: RunOption = "main",
    steps: Annotated[
        int,
        typer.Option("--steps", min=1, help="Steps timed by the clock; up to 3 more are recorded with the profiler."),
    ] = 8,
    warm_up: Annotated[int, typer.Option("--warm-up", min=1, help="Steps before them that do not count.")] = 3,
    layers: Annotated[bool, typer.Option("--layers", help="Name every layer and encoder in the trace.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Measure a checkpoint too, into a scratch folder.")] = False,
    nsight: Annotated[
        bool, typer.Option("--nsight", help="NVTX ranges for Nsight Systems, no report; the report says the command.")
    ] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Where a step's time goes: a few real steps on from the newest checkpoint; the run itself stays as it is.

    Writes runs/RUN/profile/: profile.md, profile.html, profile.json and a trace for ui.perfetto.dev.
    """
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import Wanted, profile_run
    from expedition.train.profiling.page import markdown_page

    wanted = Wanted(steps, warm_up, layers=layers, save=save, nsight=nsight)
    report = profile_run(session.ws, session.programme, _named(name, run), wanted, tell=session.output.note)
    if report:
        session.output.result(report, text=None if nsight else markdown_page(report))


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
    from expedition.cli.train_progress import TrainProgress
    from expedition.train import distil

    with TrainProgress(run) as progress:
        report = distil(session.ws, session.programme, run, progress)
    session.output.result(report)


@app.command()
def teach(
    run: RunOption = "student",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write down the teacher's `top_k` largest probabilities over a run's batches; goes on after a kill."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.train import teach as write_down

    def tell(done: int, total: int, text: str) -> None:
        session.output.note(f"{done}/{total}  {text}")

    session.output.result(write_down(session.ws, session.programme, run, tell))


@app.command()
def phases(
    train: Annotated[bool, typer.Option("--train", help="Train every phase that is not finished, in order.")] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The programme's phases: what each starts from, its data, schedule and length, and how far it is."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.cli.train_progress import TrainProgress
    from expedition.train import describe_phases, train_phases

    if not train:
        session.output.result({"phases": describe_phases(session.ws, session.programme)})
        return
    with TrainProgress("phases") as progress:
        rows = train_phases(session.ws, session.programme, progress)
    session.output.result({"phases": rows})


@app.command()
def dryrun(
    model: Annotated[str, typer.Option("--model", help="Name of a model shape in the programme.")] = "10b",
    replicate: Annotated[int, typer.Option("--dp-replicate", min=1, help="Copies of the sharded model.")] = 32,
    shard: Annotated[int, typer.Option("--dp-shard", min=1, help="Ranks that share one copy.")] = 8,
    mesh: Annotated[
        list[str] | None,
        typer.Option("--mesh", help="A setting of `parallel`: ep=8, tp=2, recompute=layers. Repeatable."),
    ] = None,
    sequence_length: Annotated[int, typer.Option("--sequence-length", min=1, help="Positions of the row.")] = 4096,
    run: Annotated[str, typer.Option("--run", help="Whose optimiser's states are counted.")] = "main",
    memory: Annotated[bool, typer.Option("--memory", help="Follow every allocation too (minutes).")] = False,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The view of one rank, or of one of each pipeline stage, without device or network; writes reports/dryrun.json."""
    session = open_session(workspace, programme, preset, sets, json, create=True)
    from expedition.parallel import dry_run, layout_from

    plan = layout_from(mesh or [], dp_replicate=replicate, dp_shard=shard)
    session.output.result(dry_run(session.ws, session.programme, model, plan, sequence_length, run=run, memory=memory))
