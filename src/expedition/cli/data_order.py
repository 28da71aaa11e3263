"""`expedition data`: what a run trains on when, and in which mix; the decisions that change it."""

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
from expedition.errors import CheckFailed, UsageError

app = typer.Typer()
order = typer.Typer(help="What a run trains on when, why, and the decisions that change it.", no_args_is_help=True)
app.add_typer(order, name="order")

RunOption = Annotated[str, typer.Option("--run", help="Run of the programme.")]


@order.command()
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


@order.command()
def explain(
    step: Annotated[int | None, typer.Option(min=0, help="Step of the run, from 0.")] = None,
    index: Annotated[
        int | None, typer.Option(min=0, help="Sequence of the step; without --step: global index of the run.")
    ] = None,
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a sample is where it is: decision, mixture, pass, window, shard, documents."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import explain_order

    answer = explain_order(session.ws, session.programme, run, step=step, index=index)
    session.output.result(answer, text="\n".join(f"{n}. {line}" for n, line in enumerate(answer["words"], 1)))


@order.command()
def segments(
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """List the segments on record: which data, mix and seed hold from which step on, and who decided."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import describe_segments

    description = describe_segments(session.ws, session.programme, run)
    columns = ["from_step", "first_index", "version", "seed", "decided_by", "reason", "mix", "excluded"]
    rows = [
        [
            *(segment[column] for column in columns[:6]),
            " ".join(f"{kind}={share:.3g}" for kind, share in segment["mix"].items()),
            " ".join(segment["excluded"]),
        ]
        for segment in description["segments"]
    ]
    session.output.table(f"Segments of {run}", columns, rows, description)


@order.command()
def add(
    from_step: Annotated[int, typer.Option(min=1, help="First step that it holds for.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    who: Annotated[str, typer.Option(help="Who decided; it is recorded.")],
    version: Annotated[str | None, typer.Option(help="Dataset version read from then on; not given: the same.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Source, shard or document id left out from then on.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="Shares by kind, such as web=0.5,code=0.5; not given: the mix in force.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the order; not given: a new one.")] = None,
    trained: Annotated[int, typer.Option(min=0, help="Steps that are done already.")] = 0,
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Record a decision: other data, a revocation, a quarantine or another mix from a step on."""
    session = open_session(workspace, programme, preset, sets, json)
    from dataclasses import asdict

    from expedition.data.loading import Decision, add_segment

    decision = Decision(version, from_step, reason, who, _mix(mix), seed, tuple(exclude or ()), trained)
    session.output.result(asdict(add_segment(session.ws, session.programme, run, decision)))


@app.command()
def mix(
    version: Annotated[str, typer.Argument(help="Version, such as v0.1.")],
    run: RunOption = "main",
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Planned against achieved shares of a run on a version, by kind, source, language and modality; exit 1 if the mix
    cannot be."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import describe_mix

    found = describe_mix(session.ws, session.programme, version, run)
    if session.output.json:
        session.output.result(found)
    else:
        columns = ["name", "tokens", "planned", "scaled", "achieved", "epochs"]
        for part in ("kind", "source", "language", "modality"):
            rows = [
                [row["name"], row["tokens"], *(f"{row[name]:.4g}" for name in columns[2:])]
                for row in found[f"by_{part}"]
            ]
            session.output.table(f"{run} on {version} by {part}", columns, rows, found)
        for note in found["notes"]:
            session.output.note(note)
    if found["problems"]:
        raise CheckFailed(
            "; ".join(found["problems"]), where=f"data.mix, {version}", fix="change the mix, caps or data"
        )


def _mix(text: str | None) -> dict[str, float] | None:
    """`kind=share,…` as shares. Raises UsageError."""
    if text is None:
        return None
    try:
        return {kind.strip(): float(share) for kind, share in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise UsageError(
            f"--mix {text!r} is not kind=share,kind=share", fix="for example --mix web=0.2,code=0.8"
        ) from error
