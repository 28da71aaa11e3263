"""expedition tokenizer: make, show and check the vocabulary and its special tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expedition.cli.options import JsonOption, PresetOption, ProgrammeOption, SetOption, open_programme
from expedition.cli.output import Output

if TYPE_CHECKING:
    from expedition.data.tokenizer import Tokenizer

app = typer.Typer(help="Make, show and check the vocabulary and its special tokens.", no_args_is_help=True)

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="Folder of a tokenizer (of a version: DATASET/VERSION/tokenizer); the whole vocabulary if none."
    ),
]
Texts = Annotated[list[Path] | None, typer.Option("--texts", help="Files or folders of text. May be repeated.")]


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    texts: Texts = None,
    entries: Annotated[
        int | None, typer.Option("--entries", help="Keep so many entries at most, those that --texts use.", min=256)
    ] = None,
    programme: ProgrammeOption = None,
    preset: PresetOption = None,
    sets: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write a tokenizer's folder: the whole Qwen vocabulary, or the part of it that texts use.

    Ids, padded size and action bins are the programme's. The folder loads in transformers.
    """
    from expedition.data.tokenizer import Tokenizer, qwen_vocabulary
    from expedition.data.tokenizer.from_texts import compact_from_texts
    from expedition.errors import UsageError

    if (entries is None) != (not texts):
        raise UsageError("a compact vocabulary needs both --entries and --texts", fix="--entries 4096 --texts DIR")
    plan = open_programme(None, programme, preset or "w26", sets).data.tokenizer
    if entries is not None and texts:
        made = compact_from_texts(texts, entries, plan.action_bins)
    else:
        made = Tokenizer(qwen_vocabulary(), action_bins=plan.action_bins, padded_size=plan.padded_size)
    made.save(out)
    Output(json=json).result({"folder": str(out), **_described(made)})


@app.command()
def show(folder: Folder = None, json: JsonOption = False) -> None:
    """The ids of the vocabulary and of every special token."""
    from expedition.data.tokenizer import special_table

    tokenizer = _opened(folder)
    rows = special_table(tokenizer.action_bins, len(tokenizer.vocabulary))
    used = len(tokenizer.vocabulary) + len(tokenizer.added)
    text = {"first": 0, "last": len(tokenizer.vocabulary) - 1, "token": "text: bytes and merges", "origin": "qwen"}
    reserved = {"first": used, "last": tokenizer.size - 1, "token": "reserved: never written", "origin": "ours"}
    rows = [text, *rows, *([reserved] if used < tokenizer.size else [])]
    Output(json=json).table(
        f"{tokenizer.size} ids, {tokenizer.fingerprint[:16]}",
        ["first", "last", "token", "origin"],
        [(row["first"], row["last"], row["token"], row["origin"]) for row in rows],
        {**_described(tokenizer), "ranges": rows},
    )


@app.command()
def check(folder: Folder = None, texts: Texts = None, json: JsonOption = False) -> None:
    """Check a tokenizer: genuine entries, the reference's ids on every script and on your texts, no injection.

    Exits 1 if a check fails; one that cannot be made here says why.
    """
    from expedition.data.tokenizer import check_tokenizer
    from expedition.data.tokenizer.from_texts import texts_of

    tokenizer = _opened(folder)
    found = check_tokenizer(tokenizer, texts_of(texts or []))
    verdict = {True: "pass", False: "fail", None: "unknown"}
    Output(json=json).table(
        f"tokenizer {tokenizer.fingerprint[:16]}",
        ["check", "", "detail"],
        [(one.check, verdict[one.passed], one.detail) for one in found],
        {
            **_described(tokenizer),
            "checks": [{"check": one.check, "passed": one.passed, "detail": one.detail} for one in found],
        },
    )
    if any(one.passed is False for one in found):
        raise typer.Exit(1)


def _opened(folder: Path | None) -> Tokenizer:
    from expedition.data.tokenizer import Tokenizer, qwen_vocabulary

    return Tokenizer.load(folder) if folder is not None else Tokenizer(qwen_vocabulary(), padded_size=152_064)


def _described(tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "entries": len(tokenizer.vocabulary),
        "size": tokenizer.size,
        "fingerprint": tokenizer.fingerprint,
        "encoder": tokenizer.encoder_name,
    }
