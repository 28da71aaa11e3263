"""Ids of the tokens that expansion needs, by name, from a tokenizer or from a version's `tokenizer/tokenizer.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from expedition.errors import InputError
from expedition.workspace import Workspace, layout

VOCABULARY_FILE = "vocabulary.json"
"""The tokenizer's own description beside its tokenizer.json."""


@dataclass(frozen=True, slots=True)
class MediaTokenIds:
    """`image`, `video`, `audio` stand for one insert in stored tokens; the rest is what they expand to."""

    image: int
    video: int
    audio: int
    vision_start: int
    vision_end: int
    image_pad: int
    video_pad: int
    audio_start: int
    audio_end: int
    audio_pad: int
    endoftext: int

    @classmethod
    def from_special(cls, special: Callable[[str], int]) -> Self:
        """Look each name up; `special` is a tokenizer's method."""
        return cls(**{name: special(f"<|{name}|>") for name in cls.__slots__})

    @classmethod
    def of_version(cls, ws: Workspace, version: str, dataset: str = layout.DATASET) -> Self:
        """From the tokenizer that a dataset version was built with. Raises InputError if a name is missing there."""
        key = f"{layout.dataset(version, dataset)}/tokenizer/tokenizer.json"
        added = {entry["content"]: int(entry["id"]) for entry in json.loads(ws.store.read(key))["added_tokens"]}
        try:
            return cls.from_special(added.__getitem__)
        except KeyError as error:
            raise InputError(f"the tokenizer has no special token {error}", where=key) from error

    @property
    def pads(self) -> tuple[int, int, int]:
        """Tokens that are never trained on: their place is filled by an encoder's output."""
        return self.image_pad, self.video_pad, self.audio_pad

    @property
    def inserts(self) -> tuple[int, int, int]:
        """Stored tokens that stand for an insert."""
        return self.image, self.video, self.audio


def vocabulary_size(ws: Workspace, version: str, dataset: str = layout.DATASET) -> int:
    """Rows of the embedding that the version's tokenizer asks for: every stored token is below it."""
    key = f"{layout.dataset(version, dataset)}/tokenizer/{VOCABULARY_FILE}"
    try:
        return int(ws.read_json(key)["padded_size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the tokenizer's description has no padded_size: {error!r}", where=key) from error
