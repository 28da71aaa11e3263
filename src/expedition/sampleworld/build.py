"""Builds a sample: units of work that depend on seed and numbers alone, joined in order, made visible by one rename."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from expedition.errors import UsageError
from expedition.sampleworld.catalogue import SOURCES, SourceCard, Work, items_of
from expedition.sampleworld.evaluation import heldout, tasks
from expedition.sampleworld.media import sources
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize, size_named
from expedition.sampleworld.text import books, forum, notes, pages, programs
from expedition.sampleworld.truth import Planted, json_line
from expedition.workspace.atomic import storage_errors

SCHEMA = "sampleworld.sample/1"
GENERATOR = 2
"""Raised whenever the same seed gives other bytes."""

SUMMARY = "sample.json"
"""Written last: a folder with it is complete."""

_UNIT = {"image-text": 250, "video-text": 60, "audio-text": 150, "driving": 12, "books": 4, "code": 4}


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """What a sample holds. `items` by source, `tasks` items by task, `truth` lines by kind."""

    directory: str
    seed: int
    size: str
    items: dict[str, int]
    tasks: dict[str, int]
    truth: dict[str, int]
    files: int
    bytes: int
    content_hash: str
    made: bool
    """False where a complete sample was there already."""


def build_sample(directory: Path, seed: int, size: str, processes: int | None = None) -> SampleSummary:
    """Write the sample world's raw files, evaluation set and truth to `directory`; idempotent, all or nothing.

    Equal seed and size give equal bytes, whatever `processes` (None: one a core, at most 8) is. Raises UsageError for
    an unknown size, or when the folder holds something else; StorageError when the disk refuses.
    """
    chosen = size_named(size)
    directory = Path(directory).absolute()
    there = _existing(directory, seed, size)
    if there is not None:
        return there
    with storage_errors(directory), _aside(directory) as root:
        truth = _fill(root, seed, chosen, processes)
        summary = _summarise(root, directory, seed, chosen, truth)
        os.rename(root, directory)
    return summary


@dataclass(frozen=True, slots=True)
class _Unit:
    """One unit of work and the source whose manifest its rows join."""

    card: SourceCard | None
    work: Work
    order: Order

    def __call__(self) -> Parcel:
        return self.work(self.order)


def _fill(root: Path, seed: int, size: SampleSize, processes: int | None) -> list[Planted]:
    units = _units(root, seed, size)
    for card in SOURCES:
        (root / card.name).mkdir()
    truth: list[Planted] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    for unit, parcel in zip(units, _run(units, size, processes), strict=True):
        truth += parcel.truth
        if unit.card is not None:
            rows.setdefault(unit.card.name, []).extend(parcel.rows)
    for card in SOURCES:
        if card.manifest is not None:
            text = "".join(json_line(row) for row in rows.get(card.name, []))
            (root / card.name / card.manifest).write_text(text, "utf-8")
    entries = {"sources": {card.name: card.entry() for card in SOURCES}}
    (root / "sources.yaml").write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), "utf-8")
    (root / "truth.jsonl").write_text("".join(planted.line() + "\n" for planted in truth), "utf-8")
    return truth


def _units(root: Path, seed: int, size: SampleSize) -> list[_Unit]:
    """Everything that is to be made, largest first as far as the order of sources allows."""
    forbidden = heldout.forbidden_sequences(seed, size)
    leaks = tuple(tasks.needle_item(seed, number) for number in range(min(size.planted, size.items)))
    works: dict[str, Work] = {
        "web": partial(pages.write_pages, leaks=leaks),
        "code": programs.write_repositories,
        "books": books.write_books,
        "image-text": sources.write_pictures,
        "video-text": sources.write_clips,
        "audio-text": sources.write_utterances,
        "driving": sources.write_drives,
        "synthetic": notes.write_notes,
    }
    units: list[_Unit] = []
    for card in SOURCES:
        whole = Order(root, seed, size, card.name, card.wave, 0, items_of(card, size), forbidden)
        if card.kind not in ("web", "books", "synthetic"):
            whole = replace(whole, forbidden=frozenset())
        work = forum.write_threads if card.name == "scraped_forum" else works[card.kind]
        units += [_Unit(card, work, part) for part in _split(whole, card, size)]
        if card.name == "common_crawl":
            units.append(_Unit(card, pages.write_broken_warc, whole))
    for task in tasks.TASKS:
        count = tasks.task_items(task, size.items)
        units.append(_Unit(None, tasks.write_task, Order(root, seed, size, task, 1, 0, count)))
    for kind in (*heldout.TEXT_KINDS, *heldout.MEDIA_KINDS):
        units.append(_Unit(None, heldout.write_heldout, Order(root, seed, size, kind, 1, 0, size.heldout)))
    return units


def _split(whole: Order, card: SourceCard, size: SampleSize) -> Iterator[Order]:
    step = {"web": size.pages_per_warc, "synthetic": notes.LINES_PER_FILE, **_UNIT}[card.kind]
    for start in range(0, whole.stop, step):
        yield replace(whole, start=start, stop=min(start + step, whole.stop))


def _run(units: list[_Unit], size: SampleSize, processes: int | None) -> Iterator[Parcel]:
    workers = min(processes or os.cpu_count() or 1, 8)
    if workers == 1 or size.name == "smoke":
        yield from (unit() for unit in units)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_call, units)


def _call(unit: _Unit) -> Parcel:
    return unit()


def _summarise(root: Path, directory: Path, seed: int, size: SampleSize, truth: list[Planted]) -> SampleSummary:
    whole, files, total = hashlib.sha256(), 0, 0
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        whole.update(f"{path.relative_to(root).as_posix()} {hashlib.sha256(data).hexdigest()}\n".encode())
        files, total = files + 1, total + len(data)
    summary = SampleSummary(
        directory=str(directory),
        seed=seed,
        size=size.name,
        items={card.name: items_of(card, size) for card in SOURCES},
        tasks={task: tasks.task_items(task, size.items) for task in tasks.TASKS},
        truth=dict(sorted(Counter(planted.kind for planted in truth).items())),
        files=files,
        bytes=total,
        content_hash=whole.hexdigest(),
        made=True,
    )
    stored = {"schema": SCHEMA, "generator": GENERATOR, **_stored(summary)}
    (root / SUMMARY).write_text(json.dumps(stored, indent=1) + "\n", "utf-8")
    return summary


def _stored(summary: SampleSummary) -> dict[str, Any]:
    fields = ("seed", "size", "items", "tasks", "truth", "files", "bytes", "content_hash")
    return {name: getattr(summary, name) for name in fields}


def _existing(directory: Path, seed: int, size: str) -> SampleSummary | None:
    """The sample that is there, None if the folder is free. Raises UsageError if it holds anything else."""
    if directory.is_dir() and not any(directory.iterdir()):
        return None
    if not directory.exists():
        return None
    fix = "name another folder, or remove this one"
    try:
        stored = json.loads((directory / SUMMARY).read_text("utf-8"))
        found = (stored["schema"], stored["generator"], stored["seed"], stored["size"])
        if found == (SCHEMA, GENERATOR, seed, size):
            fields = {k: v for k, v in stored.items() if k not in ("schema", "generator")}
            return SampleSummary(directory=str(directory), made=False, **fields)
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError("this folder exists and is not a sample", where=str(directory), fix=fix) from None
    raise UsageError(
        f"this folder holds another sample (seed {found[2]}, size {found[3]}, generator {found[1]})",
        where=str(directory),
        fix=fix,
    )


@contextmanager
def _aside(directory: Path) -> Iterator[Path]:
    """A new sibling folder of this process; what dead processes left is removed first, and it too on an error."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{directory.name}.partial-"
    for left in directory.parent.glob(f"{prefix}*"):
        if not _alive(left.name.removeprefix(prefix)):
            shutil.rmtree(left, ignore_errors=True)
    root = directory.parent / f"{prefix}{os.getpid()}"
    root.mkdir()
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()
