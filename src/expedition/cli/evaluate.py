"""`expedition evaluate`: scores, nightly evaluation, long context, red team, cases, report."""

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

app = typer.Typer(help="Scores, red team, long context, reports.", no_args_is_help=True)

RunOption = Annotated[str, typer.Option("--run", help="Name of a run in the programme.")]
CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Name of a checkpoint; left out: the newest intact one.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Folder that holds eval/; left out: the one that the voyage recorded.")
]
ItemsOption = Annotated[int | None, typer.Option("--max-items", min=1, help="Only so many items of each task.")]


def _progress(session: Session) -> Callable[[int, int, str], None]:
    def tell(done: int, total: int, text: str) -> None:
        session.output.note(f"{done}/{total}  {text}")

    return tell


@app.command()
def run(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: DataOption = None,
    max_items: ItemsOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Every task with its control, and held-out perplexity; writes evaluations/<run>-<checkpoint>/."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import evaluate

    results = evaluate(
        session.ws, session.programme, run, checkpoint, data, max_items=max_items, progress=_progress(session)
    )
    session.output.result(results)


@app.command()
def nightly(
    run: RunOption = "main",
    data: DataOption = None,
    max_items: ItemsOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Every permanent checkpoint without results, and what got worse; writes reports/nightly.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import evaluate_nightly

    report = evaluate_nightly(
        session.ws, session.programme, run, data, max_items=max_items, progress=_progress(session)
    )
    session.output.result(report)


@app.command()
def needle(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: DataOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Recall by context length and depth; writes reports/long-context.json and .svg."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import long_context

    session.output.result(long_context(session.ws, session.programme, run, checkpoint, data))


@app.command(name="red-team")
def red_team(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The fixed suite beside random weights, refusal and the checkpoint before; writes reports/red-team.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import red_team as ask

    session.output.result(ask(session.ws, session.programme, run, checkpoint))


@app.command()
def cases(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: DataOption = None,
    max_items: ItemsOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Real answers, successes and failures; writes reports/cases.json and a page with the pictures."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import case_studies

    session.output.result(case_studies(session.ws, session.programme, run, checkpoint, data, max_items=max_items))


@app.command()
def report(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: DataOption = None,
    max_items: ItemsOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The evaluation report, after a second evaluation from the same files; writes reports/evaluation.json and .md."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import evaluation_report

    session.output.result(evaluation_report(session.ws, session.programme, run, checkpoint, data, max_items=max_items))


@app.command(name="all")
def everything(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: DataOption = None,
    max_items: ItemsOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Run, needle, red-team, cases and report of one checkpoint in one process."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.evaluate import evaluate_all

    summary = evaluate_all(
        session.ws, session.programme, run, checkpoint, data, max_items=max_items, progress=_progress(session)
    )
    session.output.result(summary)
