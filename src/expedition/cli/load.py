"""expedition loader: look at what a step trains on, join data, measure loading and storage."""

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

app = typer.Typer(help="Look at batches; measure loading and storage.", no_args_is_help=True)

RunOption = Annotated[str, typer.Option("--run", help="Run of the programme.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Threads that make batches.")]


@app.command()
def show(
    step: Annotated[int, typer.Option(min=0, help="Step of the run, from 0.")] = 0,
    run: RunOption = "main",
    ranks: Annotated[int, typer.Option(min=1, help="Also say which of this many ranks works on each sequence.")] = 1,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Say what a step trains on: each sequence's kind, documents, tokens, and the rank that works on it."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import describe_step

    description = describe_step(session.ws, session.programme, run, step, ranks)
    columns = ["index", "kind", "version", "epoch", "documents", "tokens", "patches", "mel_frames", "rank"]
    rows = [[sample[column] for column in columns] for sample in description["samples"]]
    session.output.table(f"{run} step {step}: {description['tokens']} tokens", columns, rows, description)


@app.command()
def segments(
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """List the segments on record: which data, mix and seed hold from which index on, and who decided."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import describe_segments

    session.output.result(describe_segments(session.ws, run))


@app.command()
def join(
    version: Annotated[str, typer.Option(help="Dataset version that is read from the step on.")],
    from_step: Annotated[int, typer.Option(min=1, help="First step that reads it.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    who: Annotated[str, typer.Option(help="Who decided; it is recorded.")],
    run: RunOption = "main",
    exclude: Annotated[list[str] | None, typer.Option(help="Source or document id left out from then on.")] = None,
    trained: Annotated[int, typer.Option(min=0, help="Steps that are done already.")] = 0,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Record the decision that a run reads another dataset version from a step on."""
    session = open_session(workspace, programme, preset, sets, json)
    from dataclasses import asdict

    from expedition.data.loading import Decision, add_segment

    decision = Decision(version, from_step, reason, who, excluded=tuple(exclude or ()), trained_steps=trained)
    session.output.result(asdict(add_segment(session.ws, session.programme, run, decision)))


@app.command()
def bench(
    run: RunOption = "main",
    batches: Annotated[int, typer.Option(min=1, help="Global batches to load.")] = 64,
    workers: WorkersOption = 1,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast batches are made, beside what the 1B needs; writes reports/load-test.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import load_test

    session.output.result(load_test(session.ws, session.programme, run, batches=batches, workers=workers))


@app.command()
def storage(
    version: Annotated[str, typer.Option(help="Dataset version whose shards are read.")] = "v0.1",
    megabytes: Annotated[int, typer.Option(min=1, help="MiB to read in sequence.")] = 64,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure reading shards, beside the six-camera estimate; writes reports/io.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import io_report

    session.output.result(io_report(session.ws, session.programme, version=version, megabytes=megabytes))
