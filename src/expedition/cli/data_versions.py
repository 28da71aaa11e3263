"""`expedition data`: compare, check, copy and export finished versions; their known issues."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expedition.cli.options import JsonOption, WorkspaceOption, open_session

if TYPE_CHECKING:
    from expedition.cli.output import Output
    from expedition.data.versions.verification import BytesProgress

app = typer.Typer()

VersionArgument = Annotated[str, typer.Argument(help="Version, such as v0.1.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="One data set of the version; all if not given.")]
PublicKeyOption = Annotated[
    Path | None, typer.Option("--public-key", help="The signer's public key (PEM), if it came another way.")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="Files under way at once.")]


@app.command()
def verify(
    version: VersionArgument,
    at: Annotated[
        str | None, typer.Option("--at", help="Folder or s3://… of a copy, instead of the workspace.")
    ] = None,
    dataset: DatasetOption = None,
    public_key: PublicKeyOption = None,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Hash everything of a version again and check its signature; lists all that is wrong and exits 1.

    With --at, what the workspace knows of the version is held against the copy; without a workspace the copy alone is
    checked.
    """
    from expedition.cli.output import Output
    from expedition.data.versions import examine_version
    from expedition.errors import UsageError
    from expedition.workspace import Workspace

    output = Output(json=json)
    try:
        ws = Workspace.open(workspace)
    except UsageError:
        if at is None:
            raise
        ws = None
    found = examine_version(
        version,
        ws=ws,
        at=at,
        dataset=dataset,
        public_key=public_key,
        threads=threads,
        progress=_transferred(output, "verified"),
    )
    problems = [{"where": item.where, "what": item.what} for part in found for item in part.problems]
    output.result({"version": version, "whole": not problems, "datasets": [part.row() for part in found]})
    if problems:
        raise typer.Exit(1)


@app.command()
def push(
    version: VersionArgument,
    place: Annotated[str, typer.Argument(help="Folder, or s3://bucket/prefix?endpoint=…")],
    verify: Annotated[
        str, typer.Option("--verify", help="read: every byte is read back and hashed; head: size and ETag only.")
    ] = "read",
    dataset: DatasetOption = None,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Copy a version to another place, the manifest last; a push that was stopped goes on where it was."""
    from expedition.data.versions import push_version
    from expedition.errors import UsageError

    if verify not in ("read", "head"):
        raise UsageError(f"--verify {verify!r}", fix="read or head")
    session = open_session(workspace, json=json)
    session.output.result(
        push_version(
            session.ws,
            version,
            place,
            dataset=dataset,
            check="head" if verify == "head" else "read",
            threads=threads,
            progress=_transferred(session.output, "pushed"),
        )
    )


@app.command()
def pull(
    version: VersionArgument,
    place: Annotated[str, typer.Argument(help="Folder, or s3://bucket/prefix?endpoint=…")],
    dataset: DatasetOption = None,
    public_key: PublicKeyOption = None,
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Copy a version from another place into the workspace, every byte checked on the way."""
    from expedition.data.versions import pull_version

    session = open_session(workspace, json=json, create=True)
    session.output.result(
        pull_version(
            session.ws,
            version,
            place,
            dataset=dataset,
            public_key=public_key,
            threads=threads,
            progress=_transferred(session.output, "pulled"),
        )
    )


@app.command()
def export(
    version: VersionArgument,
    folder: Annotated[Path, typer.Argument(help="A new folder, or one with the same export unfinished.")],
    format: Annotated[str, typer.Option("--format", help="tfrecord, webdataset or parquet.")] = "tfrecord",
    dataset: Annotated[str, typer.Option("--dataset", help="Data set of the version.")] = "dataset",
    threads: ThreadsOption = None,
    workspace: WorkspaceOption = "voyage",
    json: JsonOption = False,
) -> None:
    """Write a version in a format of other trainers, one file a shard."""
    from expedition.data.versions import export_version

    session = open_session(workspace, json=json)
    session.output.result(
        export_version(
            session.ws,
            version,
            folder,
            format,
            dataset=dataset,
            threads=threads,
            progress=_transferred(session.output, "exported"),
        )
    )


def _transferred(output: Output, what: str) -> BytesProgress:
    """A line on stderr at each tenth of the bytes."""
    said = [0]

    def show(done: int, total: int) -> None:
        tenth = 10 * done // total if total else 10
        if tenth > said[0]:
            said[0] = tenth
            output.note(f"{what}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB")

    return show
