"""The evaluation set: one task an attribute, whose choices differ in that attribute alone, and held-out documents.

A document is its media, then `text_before`, then one of `choices`; the texts are those of training documents, so the
likelihood of each choice can be compared directly. Pictures and clips show combinations that training never has,
words are spoken by speakers that training never hears.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expedition.sampleworld.media import clips, driving, pictures, speech
from expedition.sampleworld.media.cameras import RIG
from expedition.sampleworld.media.sources import drive_frames
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.text.needles import Needle, needle
from expedition.sampleworld.text.prose import fact
from expedition.sampleworld.truth import json_line
from expedition.sampleworld.world import (
    COLOURS,
    COUNTS,
    DIRECTIONS,
    NAMES,
    POSITIONS,
    SHAPES,
    THINGS,
    WORDS,
    Scene,
    movements,
    pick,
    scenes,
    stream,
    successions,
)

SPEAKERS = 20
"""Speakers of the evaluation side."""

Item = dict[str, Any]


def write_task(order: Order) -> Parcel:
    """All items of the task named by the order's source, with their media, under eval/<task>."""
    task = order.source
    folder = order.root / "eval" / task
    (folder / "media").mkdir(parents=True)
    items = [_TASKS[task](order, number, folder) for number in range(order.start, order.stop)]
    (folder / "items.jsonl").write_text("".join(json_line(item) for item in items), "utf-8")
    if task == "needle":
        (folder / "grammar.json").write_text(json.dumps(needle_grammar(), indent=1) + "\n", "utf-8")
    if not any((folder / "media").iterdir()):
        (folder / "media").rmdir()
    return Parcel()


def task_items(task: str, items: int) -> int:
    """Items of a task: half as many drives as other items, as each holds six clips."""
    return max(12, items // 2) if task == "trajectory" else items


def needle_item(seed: int, number: int) -> tuple[str, Needle]:
    """Id and content of an item of the recall task; the answers come round evenly."""
    rng = stream(seed, "eval", "needle", number)
    wanted = list(COLOURS)[number % len(COLOURS)]
    while True:
        made = needle(rng, facts=1 + number // len(COLOURS) % 3, hay=int(rng.integers(1, 4)))
        if made.colour == wanted:
            return _identity("needle", number), made


def needle_grammar() -> dict[str, Any]:
    """How facts are said, so that contexts of any length can be made of the held-out texts and these."""
    return {
        "fact": fact("{name}", "{value}"),
        "question": "The box gives {name}",
        "names": list(NAMES),
        "values": list(COLOURS),
    }


def recoloured(scene: Scene) -> list[Scene]:
    """The scene in each colour."""
    return [Scene(scene.count, colour, scene.shape, scene.position) for colour in COLOURS]


def reshaped(scene: Scene) -> list[Scene]:
    """The scene with each shape."""
    return [Scene(scene.count, scene.colour, shape, scene.position) for shape in SHAPES]


def recounted(scene: Scene) -> list[Scene]:
    """The scene with one, two and three shapes."""
    return [Scene(count, scene.colour, scene.shape, scene.position) for count in range(1, len(COUNTS) + 1)]


def moved(scene: Scene) -> list[Scene]:
    """The scene at each position."""
    return [Scene(scene.count, scene.colour, scene.shape, position) for position in POSITIONS]


VARIATIONS: dict[str, Callable[[Scene], list[Scene]]] = {
    "colour": recoloured,
    "shape": reshaped,
    "count": recounted,
    "position": moved,
}
"""Picture tasks: all scenes that differ in the task's attribute alone."""


def _picture_item(order: Order, number: int, folder: Path) -> Item:
    task = order.source
    rng = stream(order.seed, "eval", task, number)
    vary = VARIATIONS[task]
    answer = number % len(vary(scenes(True)[0]))
    scene = pick(rng, [s for s in scenes(True) if vary(s).index(s) == answer])
    media = save(folder, f"media/{number:04d}.png", pictures.encode(pictures.draw(scene, rng), "png"), "image")
    return _choice_item(task, number, "image", media, [f" {other.caption}" for other in vary(scene)], answer)


def _word_item(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "eval", "word", number)
    answer = number % len(WORDS)
    wave = speech.say(list(WORDS)[answer], speech.voice(order.seed, int(rng.integers(SPEAKERS)), held_out=True), rng)
    media = save(folder, f"media/{number:04d}.flac", speech.encode(wave, "flac"), "audio")
    return _choice_item("word", number, "audio", media, [f" {word}" for word in WORDS], answer)


def _direction_item(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "eval", "direction", number)
    answer = number % len(DIRECTIONS)
    thing, direction = pick(rng, [m for m in movements(True) if m[1] == DIRECTIONS[answer]])
    data = clips.encode_mp4(clips.movement_frames(thing, direction, rng))
    media = save(folder, f"media/{number:04d}.mp4", data, "video")
    choices = [f" {clips.movement_text(thing, other)}" for other in DIRECTIONS]
    return _choice_item("direction", number, "video", media, choices, answer)


def _order_item(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "eval", "order", number)
    pair = sorted(pick(rng, successions(True)), key=THINGS.index)
    orders = [pair, pair[::-1]]
    answer = number % 2
    data = clips.encode_mp4(clips.succession_frames(orders[answer], 2, rng))
    media = save(folder, f"media/{number:04d}.mp4", data, "video")
    choices = [" " + "\n".join(cue.text for cue in clips.succession_cues(things, 0.5)) for things in orders]
    return _choice_item("order", number, "video", media, choices, answer)


def _needle_item(order: Order, number: int, folder: Path) -> Item:
    _, made = needle_item(order.seed, number)
    item = _choice_item("needle", number, "text", [], [f" {c}" for c in COLOURS], list(COLOURS).index(made.colour))
    return item | {"text_before": made.question, "facts": len(made.boxes)}


def _trajectory_item(order: Order, number: int, folder: Path) -> Item:
    scene, frames = drive_frames(order.seed, "eval/trajectory", number)
    media = save_drive(folder, f"media/{number:04d}", frames)
    item = _choice_item("trajectory", number, "video", media, [], None)
    return item | {"text_before": f" {scene.description}", "target_actions": driving.actions(scene)}


_TASKS: dict[str, Callable[[Order, int, Path], Item]] = {
    **dict.fromkeys(VARIATIONS, _picture_item),
    "word": _word_item,
    "direction": _direction_item,
    "order": _order_item,
    "needle": _needle_item,
    "trajectory": _trajectory_item,
}
TASKS: tuple[str, ...] = tuple(_TASKS)
"""Names of the tasks, each a folder under eval."""


def _choice_item(
    task: str, number: int, modality: str, media: list[Item], choices: list[str], answer: int | None
) -> Item:
    return {
        "id": _identity(task, number),
        "task": task,
        "attribute": task,
        "modality": modality,
        "media": media,
        "text_before": "",
        "choices": choices,
        "answer": answer,
    }


def _identity(task: str, number: int) -> str:
    return f"{task}-{number:04d}"


def save(folder: Path, name: str, data: bytes, kind: str) -> list[Item]:
    (folder / name).write_bytes(data)
    return [{"kind": kind, "path": name, "special": None}]


def save_drive(folder: Path, name: str, frames: dict[str, list[pictures.Picture]]) -> list[Item]:
    """Six clips below `name`, each with its camera's token."""
    (folder / name).mkdir(parents=True)
    media = []
    for camera in RIG:
        path = f"{name}/{camera.name}.mp4"
        (folder / path).write_bytes(clips.encode_mp4(frames[camera.name], crf=20))
        media.append({"kind": "video", "path": path, "special": f"<|camera_{camera.name}|>"})
    return media
