"""`expedition data`: the order in which versions are read, and how fast."""

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

app = typer.Typer()


@app.command("bench-load")
def bench_load(
    version: Annotated[str | None, typer.Argument(help="Dataset version; none: what the run has on record.")] = None,
    run: Annotated[str, typer.Option("--run", help="Run whose batch, mix and sequence length are used.")] = "main",
    batches: Annotated[int, typer.Option(min=1, help="Global batches of each setting.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads that make batches where no processes do.")] = 1,
    processes: Annotated[
        list[int] | None, typer.Option(min=0, help="Worker processes of a setting; may be repeated. 0: threads.")
    ] = None,
    gpu_tokens_per_s: Annotated[
        float | None, typer.Option(min=1, help="What one GPU eats; none: the model at 40 % MFU.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model whose need is stated.")] = "1b",
    cache: Annotated[str | None, typer.Option(help="Folder of the shard cache ($EXPEDITION_CACHE).")] = None,
    cache_bytes: Annotated[int | None, typer.Option(min=0, help="Its limit in bytes; 0: no cache.")] = None,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how fast batches are made, by source and kind and as a whole, beside what GPUs eat; writes
    reports/load-test.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import LoadingConfig, LoadTest, load_test

    test = LoadTest(
        run=run,
        version=version,
        batches=batches,
        threads=threads,
        processes=tuple(processes or (0,)),
        model=model,
        gpu_tokens_per_s=gpu_tokens_per_s,
        config=LoadingConfig(cache_dir=cache, cache_bytes=cache_bytes),
    )
    session.output.result(load_test(session.ws, session.programme, test))


@app.command("bench-storage")
def bench_storage(
    version: Annotated[str, typer.Argument(help="Dataset version whose shards are read.")] = "v0.1",
    run: Annotated[str, typer.Option("--run", help="Run whose order sizes the cache.")] = "main",
    megabytes: Annotated[int, typer.Option(min=1, help="MiB to read in sequence.")] = 64,
    workspace: WorkspaceOption = "voyage",
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure reading shards, beside the six-camera estimate and the cache that the order needs; writes
    reports/io.json."""
    session = open_session(workspace, programme, preset, sets, json)
    from expedition.data.loading import io_report

    session.output.result(io_report(session.ws, session.programme, version=version, run=run, megabytes=megabytes))
