"""The reproduction kit: from the release alone, an answer within the hour and one published number within the day."""

from __future__ import annotations

import platform
from importlib import metadata, resources
from pathlib import Path
from string import Template

from expedition.model.processor import call_arguments
from expedition.plan.media import MediaRule
from expedition.plan.models import Programme
from expedition.release.reproduction import Reproduction

FOLDER, SAMPLE = "kit", "sample_data"
SCRIPTS = ("documents.py", "inference.py", "reproduce.py", "benchmark.py")
PINNED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "Pillow")
PARTS: dict[str, tuple[str, ...]] = {
    "inference_example": ("README.md", "documents.py", "inference.py", "requirements.txt"),
    "benchmark_scripts": ("reproduce.py", "benchmark.py"),
    "dockerfile": ("Dockerfile", "apptainer.def"),
    "sample_data": (f"{SAMPLE}/metric.json", f"{SAMPLE}/items.jsonl"),
}
"""What the chapter asks of a kit → the files that are it."""


def write_kit(
    release: Path, programme: Programme, metric: Reproduction | None, picture: tuple[str, bytes] | None
) -> dict[str, bool]:
    """Write `kit/` into the release folder; returns which of PARTS are there. Equal input gives equal bytes."""
    folder = release / FOLDER
    (folder / SAMPLE).mkdir(parents=True, exist_ok=True)
    files = resources.files("expedition.release") / "kit_files"
    for name in SCRIPTS:
        (folder / name).write_bytes((files / name).read_bytes())
    _write_sample(folder / SAMPLE, metric, picture)
    words = _words(programme, metric, picture)
    for source, target in (("readme", "README.md"), ("dockerfile", "Dockerfile"), ("apptainer", "apptainer.def")):
        text = (files / f"{source}.txt").read_text("utf-8")
        (folder / target).write_text(Template(text).substitute(words), "utf-8")
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()), "utf-8")
    return {part: all((folder / name).is_file() for name in names) for part, names in PARTS.items()}


def requirements() -> list[str]:
    """Pinned packages of this very environment; one that is not installed is named without a version."""
    lines = []
    for name in PINNED:
        try:
            lines.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            lines.append(name)
    return lines


def _write_sample(folder: Path, metric: Reproduction | None, picture: tuple[str, bytes] | None) -> None:
    if picture is not None:
        (folder / picture[0]).write_bytes(picture[1])
    if metric is None:
        return
    import json

    (folder / "metric.json").write_text(json.dumps(metric.metric_json(), indent=1, sort_keys=True) + "\n", "utf-8")
    (folder / "items.jsonl").write_bytes(metric.item_lines())
    for name, data in metric.pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _processor_call(media: MediaRule) -> str:
    """The arguments that transformers' processor needs beside the media, as Python, indented."""
    arguments = call_arguments(media, media.video_fps)["videos_kwargs"]
    arguments["fps"] = round(arguments["fps"], 12)
    lines = [f"            {name!r}: {value!r}," for name, value in arguments.items()]
    return "\n".join(lines)


def _words(programme: Programme, metric: Reproduction | None, picture: tuple[str, bytes] | None) -> dict[str, str]:
    name = programme.release.name
    if metric is None:
        number = "No number can be computed again: the data had neither an evaluation task nor held-out texts."
        sample = "None."
    else:
        kind = "relative" if metric.kind == "perplexity" else "absolute"
        number = (
            f"Published: **{metric.name} = {metric.published:.4f}** on {metric.origin}, by the project's own code; "
            f"accepted difference {metric.tolerance:g} ({kind})."
        )
        sample = f"`kit/{SAMPLE}`: {metric.origin}, {len(metric.items)} in all."
    command = f"    venv/bin/python kit/inference.py --image kit/{SAMPLE}/{picture[0]}\n" if picture else ""
    return {
        "name": name,
        "image": "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name.lower()),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "image_command": command,
        "metric": number,
        "sample": sample,
        "processor_call": _processor_call(programme.media),
    }
