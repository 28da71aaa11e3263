"""A source of conversations for tests: texts, a picture, a sound and a clip, as people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.data.decode.test_media import clip, picture, sound_file

_THINGS = ("kite", "harbour", "lantern", "orchard", "bridge", "violin", "compass", "meadow")
_COLOURS = ("red", "green", "blue", "yellow", "white")


def row(number: int) -> dict[str, Any]:
    """A conversation of two questions that no other number gives."""
    thing, colour = _THINGS[number % len(_THINGS)], _COLOURS[number % len(_COLOURS)]
    return {
        "messages": [
            {"role": "system", "content": "You answer questions in short sentences."},
            {"role": "user", "content": f"What do you see at place number {number}, dear friend?"},
            {"role": "assistant", "content": f"I see the {colour} {thing} number {number}."},
            {"role": "user", "content": "  And which colour does it have?\n"},
            {"role": "assistant", "content": f"It is {colour}, like most of what stands there."},
        ],
        "language": "en",
    }


def media_rows() -> list[dict[str, Any]]:
    """One conversation in each of the three ways in which people name media."""
    asked = {"type": "text", "text": "What is in this picture, and how does it sound?"}
    parts = [{"type": "image", "image": "square.jpg"}, asked, {"type": "audio", "audio": {"path": "tone.wav"}}]
    return [
        {
            "messages": [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": "A pattern of coloured squares, and one long tone."},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "<image>\nIs this a pattern?"},
                {"role": "assistant", "content": "Yes, it is a pattern of squares."},
            ],
            "images": ["square.jpg"],
        },
        {
            "conversations": [
                {"from": "human", "value": "<video>\nDoes it become brighter or darker?"},
                {"from": "gpt", "value": "It becomes brighter from frame to frame."},
            ],
            "video": "light.mp4",
        },
    ]


def write(folder: Path, conversations: int) -> Path:
    """A data folder with the one source `talks`; returns it."""
    talks = folder / "talks"
    talks.mkdir(parents=True)
    (folder / "sources.yaml").write_text("sources:\n  talks: {kind: chat, licence: CC0-1.0}\n")
    (talks / "square.jpg").write_bytes(picture("JPEG", "RGB", (64, 64)))
    (talks / "tone.wav").write_bytes(sound_file("WAV", 16_000, 0.5))
    (talks / "light.mp4").write_bytes(clip(1.0))
    rows = [*media_rows(), *(row(number) for number in range(conversations))]
    (talks / "talks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    return folder
