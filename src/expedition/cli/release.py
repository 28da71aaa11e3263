"""`expedition release`: build, export, verify, the stranger's test, the model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, WorkspaceOption, open_session

app = typer.Typer(help="Build, export, sign, verify; the stranger's test.", no_args_is_help=True)

RunOption = Annotated[str, typer.Option("--run", help="Name of a run in the programme.")]
CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Checkpoint; the newest intact if not given.")
]


@app.command()
def build(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder of raw files with eval/; the voyage's own.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key (PEM, EC) to sign with; else the voyage's.")
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Weights, tokenizer, card, report, kit, manifest and signature; writes release/<version>/."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.release import build_release

    def tell(done: int, total: int, text: str) -> None:
        session.output.note(f"{done}/{total}  {text}")

    session.output.result(build_release(session.ws, session.programme, run, checkpoint, data, tell, key=key))


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="Name of a checkpoint, or newest for the newest intact one.")],
    out: Annotated[Path, typer.Argument(help="Folder to write: new, empty, or an earlier export.")],
    run: RunOption = "main",
    dtype: Annotated[str, typer.Option("--dtype", help="Of the weights: float32, bfloat16, float16.")] = "float32",
    shard_bytes: Annotated[
        int | None, typer.Option("--shard-bytes", help="Largest weights file; the programme's if not given.", min=1)
    ] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """A checkpoint as a folder that transformers, vLLM and SGLang load with their own class; unsigned."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.release import export_checkpoint

    name = None if checkpoint == "newest" else checkpoint
    found = export_checkpoint(session.ws, session.programme, run, name, out, dtype=dtype, shard_bytes=shard_bytes)
    session.output.result(found)


@app.command()
def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of a release; the workspace's own if not given.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option("--public-key", help="The signer's public key (PEM).")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Check every hash and the signature. Exit 1, with the file's name, where something was changed."""
    from expedition.cli.output import Output
    from expedition.release import verify_release

    if folder is not None:
        Output(json=json).result(verify_release(folder, public_key))
        return
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.release.stranger import verify_published

    session.output.result(verify_published(session.ws, session.programme, public_key))


@app.command()
def stranger(
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Run the kit in an empty folder with a bare environment; writes reports/stranger.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.release import stranger_test

    session.output.result(stranger_test(session.ws, session.programme))


@app.command()
def card(
    run: RunOption = "main",
    checkpoint: CheckpointOption = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """The model card as the evidence has it now; writes reports/model-card.md."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.release import write_card

    found = write_card(session.ws, session.programme, run, checkpoint)
    session.output.result(found, text=found["text"])
