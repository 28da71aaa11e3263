"""`expedition data`: one cleaning step at a time over a file of texts, without a workspace."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from expedition.cli.options import JsonOption

app = typer.Typer()


class ExtractSetting(StrEnum):
    """Settings of main-text extraction."""

    fast = "fast"
    precise = "precise"


@app.command()
def extract(
    folder: Annotated[Path, typer.Option("--html", help="Folder of pages: .html, .htm, .xhtml, also gzipped.")],
    out: Annotated[Path, typer.Option("--out", help='Texts as JSON lines {"file", "text", "title", "language"}.')],
    setting: Annotated[
        ExtractSetting, typer.Option("--setting", help="fast, or precise at a fraction of its speed.")
    ] = (ExtractSetting.fast),
    json: JsonOption = False,
) -> None:
    """Extract the main text of web pages: paragraphs, lists, tables, code and formulas, without menus and the like."""
    from expedition.cli.output import Output
    from expedition.data.extract import extract_folder

    Output(json=json).result(extract_folder(folder, out, setting.value))


@app.command("identify-language")
def identify_language(
    lines: Annotated[Path, typer.Option("--lines", help="Text file, UTF-8, a text a line.")],
    out: Annotated[Path, typer.Option("--out", help="File of BCP-47 tags, one a line in the same order.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Profiles of `train-language` (.npz), or a fastText model (.bin, .ftz) beside ours."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Name the language of each line: en, zh-Hant, yue, wuu, bo …; und for a line that is in none."""
    from expedition.cli.output import Output
    from expedition.data.stages.language import identify_file

    Output(json=json).result(identify_file(lines, out, model))


@app.command("train-language")
def train_language(
    lines: Annotated[Path, typer.Option("--lines", help="Labelled lines: label TAB text [TAB group].")],
    out: Annotated[Path, typer.Option("--out", help="Model file (.npz), for --model and data.language.model.")],
    max_n: Annotated[int, typer.Option("--max-n", min=1, max=5, help="Longest n-gram, characters.")] = 4,
    per_profile: Annotated[int, typer.Option("--per-profile", min=50, help="N-grams that a language may add.")] = 700,
    json: JsonOption = False,
) -> None:
    """Train character n-gram profiles on labelled lines; the card says how well they tell groups not seen."""
    from expedition.cli.output import Output
    from expedition.data.stages.language import TrainingSettings, train_model

    Output(json=json).result(train_model(lines, out, TrainingSettings(max_n=max_n, per_profile=per_profile)))


@app.command()
def dedup(
    source: Annotated[Path, typer.Option("--input", help='Documents as JSON lines {"id", "text"[, "kind"]}.')],
    out: Annotated[Path, typer.Option("--out", help='Pairs as JSON lines {"a", "b", "similarity"}.')],
    threshold: Annotated[float, typer.Option("--threshold", help="Least similarity of a pair, 0 to 1.")] = 0.8,
    kind: Annotated[str, typer.Option("--kind", help="Of documents that name none: web, books, code.")] = "web",
    json: JsonOption = False,
) -> None:
    """Find the near copies among documents: pairs whose 5-grams of words (Chinese: characters) are alike."""
    from expedition.cli.output import Output
    from expedition.data.similar_pairs import write_similar_pairs

    Output(json=json).result(write_similar_pairs(source, out, threshold=threshold, kind=kind))


@app.command("train-quality")
def train_quality(
    good: Annotated[Path, typer.Option("--good", help='Texts to keep: JSON lines {"text"}, or a text a line.')],
    bad: Annotated[Path, typer.Option("--bad", help="Texts to drop, in the same form.")],
    out: Annotated[Path, typer.Option("--out", help="Model file, for data.quality.model of a programme.")],
    name: Annotated[str, typer.Option("--name", help="Name on the model's card.")] = "quality",
    json: JsonOption = False,
) -> None:
    """Train a learned quality score on texts of two kinds; the card says how well it tells those it has not seen."""
    from expedition.cli.output import Output
    from expedition.data.stages.text import train_quality_model

    Output(json=json).result(train_quality_model(good, bad, out, name=name))


@app.command()
def pii(
    source: Annotated[Path, typer.Option("--input", help='Texts as JSON lines {"text"}.')],
    out: Annotated[Path, typer.Option("--out", help='Findings as JSON lines {"spans": [{"start", "end", "type"}]}.')],
    names: Annotated[
        bool, typer.Option("--names", help="Names, places, organisations, titles and dates too, by the names model.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find personal data in texts: addresses, numbers of phones, cards, accounts and identities; offsets in characters."""
    from expedition.cli.output import Output
    from expedition.data.stages.pii import label_file

    Output(json=json).result(label_file(source, out, names=names))


@app.command("train-names")
def train_names(
    out: Annotated[Path, typer.Option("--out", help="Model file (.npz).")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed and packages give the same file.")] = 20,
    json: JsonOption = False,
) -> None:
    """Train the names model from templates and lists of names; needs the extra names-training, takes two minutes."""
    from expedition.cli.output import Output
    from expedition.data.stages.pii import train_names as train

    Output(json=json).result(train(out, seed=seed))


@app.command()
def toxicity(
    source: Annotated[Path, typer.Option("--input", help='Texts as JSON lines {"text"}, also gzipped.')],
    out: Annotated[Path, typer.Option("--out", help='Scores as JSON lines {"score"}, 0 to 1, in the same order.')],
    model: Annotated[
        str,
        typer.Option("--model", help="packaged; a .json of train-toxicity; an .onnx file; or an entry point's name."),
    ] = "packaged",
    explain: Annotated[
        bool, typer.Option("--explain", help="Also, by sentence: terms by category and the features that weighed most.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Score texts for hate and abuse: the probability that the worst sentence is toxic. English, Chinese, German."""
    from expedition.cli.output import Output
    from expedition.data.stages.toxicity import score_lines

    Output(json=json).result(score_lines(source, out, model, reasons=explain))


@app.command("train-toxicity")
def train_toxicity(
    out: Annotated[Path, typer.Option("--out", help="Model file (.json), for --model and data.toxicity.model.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            help='Labelled JSON lines {"text", "label" 0 to 1, "group"?}: lines of a group stay together in '
            "cross-validation. Without it: the made sentences of the packaged model.",
        ),
    ] = None,
    words: Annotated[
        bool, typer.Option("--words/--no-words", help="Also learn from character sequences of the texts themselves.")
    ] = True,
    json: JsonOption = False,
) -> None:
    """Train a toxicity model on labelled lines; says what cross-validation over groups gives."""
    from expedition.cli.output import Output
    from expedition.data.stages.toxicity import train_lines

    Output(json=json).result(train_lines(source, out, characters=words))
