"""Conversations about the sample world, for supervised fine-tuning: a data folder of its own with one source of kind chat.

Questions about one picture, sound or clip each, two or three turns; only combinations that training may show.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np

from expedition.errors import UsageError
from expedition.sampleworld.media import clips, pictures, speech
from expedition.sampleworld.truth import json_line
from expedition.sampleworld.world import COUNTS, WORDS, movements, pick, scenes, stream

SOURCE: Final = "chats"
SPEAKERS: Final = 24
_DECLARED: Final = "sources:\n  chats: {kind: chat, licence: CC0-1.0}\n"

Conversation = dict[str, Any]


def write_chats(directory: Path, conversations: int = 400, seed: int = 7) -> dict[str, Any]:
    """Write `directory`/chats with its media and sources.yaml; all or nothing. Equal arguments give equal bytes.

    Raises UsageError if the folder is there and not empty.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError("the folder is not empty", where=str(directory), fix="name a new folder")
    aside = directory.with_name(f".{directory.name}.{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    folder = aside / SOURCE
    folder.mkdir(parents=True)
    makers = (_about_picture, _about_sound, _about_clip)
    lines = []
    for number in range(conversations):
        rng = stream(seed, "chats", number)
        lines.append(json_line(makers[number % len(makers)](number, seed, rng, folder)))
    (folder / "chats.jsonl").write_text("".join(lines), "utf-8")
    (aside / "sources.yaml").write_text(_DECLARED, "utf-8")
    directory.parent.mkdir(parents=True, exist_ok=True)
    os.replace(aside, directory)
    return {"directory": str(directory), "conversations": conversations, "source": SOURCE, "kind": "chat"}


def _about_picture(number: int, seed: int, rng: np.random.Generator, folder: Path) -> Conversation:
    scene = pick(rng, scenes(False))
    name = f"{number:05d}.jpg"
    (folder / name).write_bytes(pictures.encode(pictures.draw(scene, rng), "jpg"))
    told = {
        "Which colour do you see?": scene.colour,
        "Which shape do you see?": scene.shape,
        "How many are there?": COUNTS[scene.count - 1],
        "Where are they?": f"at the {scene.position}",
    }
    return _talk("image", name, "What is in this picture?", scene.caption, told, rng)


def _about_sound(number: int, seed: int, rng: np.random.Generator, folder: Path) -> Conversation:
    word = pick(rng, list(WORDS))
    name = f"{number:05d}.flac"
    wave = speech.say(word, speech.voice(seed, int(rng.integers(SPEAKERS)), held_out=False), rng)
    (folder / name).write_bytes(speech.encode(wave, "flac"))
    told = {"How does it begin?": f"with the letter {word[0]}", "How many letters does it have?": str(len(word))}
    return _talk("audio", name, "Which word is said?", word, told, rng)


def _about_clip(number: int, seed: int, rng: np.random.Generator, folder: Path) -> Conversation:
    thing, direction = pick(rng, movements(False))
    name = f"{number:05d}.mp4"
    (folder / name).write_bytes(clips.encode_mp4(clips.movement_frames(thing, direction, rng)))
    told = {"Which colour does it have?": thing.colour, "Where does it go?": direction, "What is it?": thing.phrase}
    return _talk("video", name, "What happens in this clip?", clips.movement_text(thing, direction), told, rng)


def _talk(
    kind: str, name: str, question: str, answer: str, told: dict[str, str], rng: np.random.Generator
) -> Conversation:
    """The first question with its medium, then one or two of the others."""
    asked = list(told)
    order = rng.permutation(len(asked))[: int(rng.integers(1, 3))]
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": kind, kind: name}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": answer},
    ]
    for place in order.tolist():
        turns += [{"role": "user", "content": asked[place]}, {"role": "assistant", "content": told[asked[place]]}]
    return {"id": name, "messages": turns, "language": "en"}
