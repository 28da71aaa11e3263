"""A small folder of raw files of five kinds for build tests, written by hand: no audio and no clips, so it is quick."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from expedition.data.compliance import Statement, append
from expedition.workspace import Workspace

SOURCES = ("books", "code", "forum", "later", "notes", "pages", "pictures")
YAML = """\
sources:
  pages: {kind: web, licence: CC0-1.0}
  code: {kind: code}
  books: {kind: books, licence: CC0-1.0}
  pictures: {kind: image-text, licence: CC0-1.0}
  notes: {kind: synthetic, licence: CC0-1.0}
  forum: {kind: web}
  later: {kind: web, licence: CC0-1.0, since: v0.2}
"""
_THINGS = ("harbour", "lighthouse", "river", "market", "orchard", "bridge", "library", "garden")
_WORDS = [
    "the",
    "old",
    "keeper",
    "walked",
    "along",
    "the",
    "quiet",
    "shore",
    "and",
    "counted",
    "every",
    "lamp",
    "before",
    "the",
    "evening",
    "fog",
    "came",
    "in",
]


def write(folder: Path) -> Path:
    """Write the folder and return it."""
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "items.jsonl").write_text(json.dumps({"question": sentence(999), "answer": "no"}) + "\n")
    (folder / "sources.yaml").write_text(YAML)
    for number in range(24):
        page(folder / "pages" / f"{number:02d}.html", number)
    page(folder / "pages" / "copy.html", 3)
    for number in range(6):
        page(folder / "later" / f"{number:02d}.html", 100 + number)
        page(folder / "forum" / f"{number:02d}.html", 200 + number)
    put(
        folder / "code" / "boats" / "LICENSE",
        "MIT License\n\nPermission is hereby granted, free of charge, to any person",
    )
    for number in range(6):
        body = "".join(f"    total += {n} * weight  # {sentence(500 + 10 * number + n)}\n" for n in range(3))
        put(
            folder / "code" / "boats" / f"load_{number}.py", f"def load_{number}(weight):\n    total = {number}\n{body}"
        )
    put(folder / "books" / "log.txt", "\n\n".join(sentence(300 + n) * 3 for n in range(60)))
    put(folder / "notes" / "notes.jsonl", "".join(json.dumps({"text": sentence(400 + n)}) + "\n" for n in range(40)))
    put(folder / "notes" / "empty.jsonl", "")
    pictures(folder / "pictures")
    return folder


def sentence(seed: int) -> str:
    """A few sentences that no other seed gives."""
    order = np.random.Generator(np.random.PCG64(seed)).integers(0, len(_WORDS), 40)
    thing = _THINGS[seed % len(_THINGS)]
    return f"At the {thing} number {seed}, " + " ".join(_WORDS[place] for place in order) + f" near the {thing}. "


def page(path: Path, seed: int) -> None:
    text = "".join(f"<p>{sentence(1000 * seed + n)}</p>" for n in range(4))
    put(path, f"<html><body><nav>Home</nav><main><h1>Page {seed}</h1>{text}</main></body></html>")


def pictures(folder: Path) -> None:
    rows = []
    folder.mkdir()
    for number in range(12):
        pixels = np.random.Generator(np.random.PCG64(number)).integers(0, 255, (6, 6, 3)).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((48, 48), Image.Resampling.NEAREST).save(buffer, "PNG")
        (folder / f"{number:02d}.png").write_bytes(buffer.getvalue())
        rows.append(
            {"image": f"{number:02d}.png", "caption": f"a square pattern of the {_THINGS[number % 8]} {number}"}
        )
    put(folder / "captions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def workspace(place: Path | str, *, refused: tuple[str, ...] = ("forum",)) -> Workspace:
    """A workspace with an approval for every source that is not among `refused`."""
    ws = Workspace.open(place, create=True)
    for source in SOURCES:
        if source not in refused:
            append(ws, Statement("approve", source, "Ada", "made for tests"))
    return ws
