"""Held-out documents of each kind, for perplexity: made like training documents, from streams of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from expedition.sampleworld.evaluation.tasks import SPEAKERS, Item, needle_item, save, save_drive
from expedition.sampleworld.media import clips, driving, pictures, speech
from expedition.sampleworld.media.sources import drive_frames
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text import books, notes, programs, prose
from expedition.sampleworld.truth import json_line
from expedition.sampleworld.world import WORDS, movements, pick, scenes, stream

TEXT_KINDS: tuple[str, ...] = ("web", "code", "books", "synthetic")
MEDIA_KINDS: tuple[str, ...] = ("image-text", "video-text", "audio-text", "driving")


def heldout_text(seed: int, kind: str, number: int) -> str:
    """Held-out text `number` of a text kind."""
    rng = stream(seed, "heldout", kind, number)
    if kind == "web":
        return "\n".join(prose.article(rng))
    if kind == "books":
        return books.chapter(rng)
    if kind == "code":
        return programs.program(rng, programs.DIALECTS[number % len(programs.DIALECTS)], 3)
    return notes.note(rng)[1]


def forbidden_sequences(seed: int, size: SampleSize) -> frozenset[str]:
    """Every guarded word sequence of the evaluation set's longer texts: training text must hold none of them."""
    texts = [heldout_text(seed, kind, n) for kind in TEXT_KINDS if kind != "code" for n in range(size.heldout)]
    for number in range(size.items):
        made = needle_item(seed, number)[1]
        texts.append(f"{made.question} {made.colour}.")
    return frozenset(sequence for text in texts for sequence in prose.sequences(text))


def write_heldout(order: Order) -> Parcel:
    """eval/heldout/<kind>.jsonl for the kind named by the order's source, its media beside it."""
    kind = order.source
    folder = order.root / "eval" / "heldout"
    (folder / kind).mkdir(parents=True)
    lines = []
    for number in range(order.start, order.stop):
        item: Item = {"id": f"heldout-{kind}-{number:04d}", "kind": kind, "text": "", "media": []}
        if kind in TEXT_KINDS:
            item["text"] = heldout_text(order.seed, kind, number)
        else:
            item |= _MEDIA[kind](order, number, folder)
        lines.append(json_line(item))
    if kind in TEXT_KINDS:
        (folder / kind).rmdir()
    (folder / f"{kind}.jsonl").write_text("".join(lines), "utf-8")
    return Parcel()


def _image(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "heldout", "image-text", number)
    scene = pick(rng, scenes(False))
    data = pictures.encode(pictures.draw(scene, rng), "jpg")
    return {"text": f" {scene.caption}", "media": save(folder, f"image-text/{number:04d}.jpg", data, "image")}


def _video(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "heldout", "video-text", number)
    thing, direction = pick(rng, movements(False))
    data = clips.encode_mp4(clips.movement_frames(thing, direction, rng))
    text = f" {clips.movement_text(thing, direction)}"
    return {"text": text, "media": save(folder, f"video-text/{number:04d}.mp4", data, "video")}


def _audio(order: Order, number: int, folder: Path) -> Item:
    rng = stream(order.seed, "heldout", "audio-text", number)
    word = pick(rng, list(WORDS))
    wave = speech.say(word, speech.voice(order.seed, int(rng.integers(SPEAKERS)), held_out=True), rng)
    media = save(folder, f"audio-text/{number:04d}.flac", speech.encode(wave, "flac"), "audio")
    return {"text": f" {word}", "media": media}


def _drive(order: Order, number: int, folder: Path) -> Item:
    scene, frames = drive_frames(order.seed, "heldout/driving", number)
    media = save_drive(folder, f"driving/{number:04d}", frames)
    return {"text": f" {scene.description}", "media": media, "actions": driving.actions(scene)}


_MEDIA: dict[str, Callable[[Order, int, Path], Item]] = {
    "image-text": _image,
    "video-text": _video,
    "audio-text": _audio,
    "driving": _drive,
}
