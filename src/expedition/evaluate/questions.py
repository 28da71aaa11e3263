"""Items as the model sees them: documents made by the loader's own code, so that training and evaluation agree.

A document is its media, each after its special token, a space, `text_before`, then the choice: the form of training
documents. A file is decoded by the code that decodes training files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from expedition.data.decode.piece import Piece
from expedition.data.decode.reasons import Reason
from expedition.data.decode.route import Raw, decode
from expedition.data.decode.rules import DecodeRules
from expedition.data.loading.expand import ExpandedDocument, Media, expand_document
from expedition.data.loading.prompt import decode_insert, expand_prompt, stored_tokens
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import PLACEHOLDER, Insert
from expedition.data.tokenizer import Tokenizer
from expedition.errors import InputError
from expedition.evaluate.task import Item, MediaFile
from expedition.plan.media import MediaRule

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A prompt and its continuations [each ≥ 1 token]. Questions that share a prompt object share its encoding."""

    prompt: ExpandedDocument
    continuations: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns items into documents."""

    tokenizer: Tokenizer
    media: MediaRule

    def prompt(
        self, item: Item, text_before: str | None = None, decoded: Sequence[Media] | None = None
    ) -> ExpandedDocument:
        """Media and `text_before` of an item (another text, if given). `decoded` are its media, if they are known.

        Raises InputError for a file that is broken.
        """
        text = item.text_before if text_before is None else text_before
        media = (
            [decode_insert(stored_insert(file.path, file.kind, self.media), self.media) for file in item.media]
            if decoded is None
            else decoded
        )
        marks = [mark for file in item.media for mark in _marks(file)]
        lead = PLACEHOLDER * len(marks)
        stored = stored_tokens(lead + (spaced(text) if lead else text), marks, self.tokenizer)
        return expand_document(stored, media, MediaTokenIds.from_special(self.tokenizer.special), self.media)

    def from_tokens(self, tokens: Sequence[int]) -> ExpandedDocument:
        """A prompt of token ids that stand for themselves."""
        ids = MediaTokenIds.from_special(self.tokenizer.special)
        return expand_document(np.asarray(tokens, dtype=np.int32), [], ids, self.media)

    def continuations(self, item: Item) -> tuple[Tokens, ...]:
        """Tokens of each choice as they follow the prompt."""
        first = bool(item.media) and not item.text_before
        return tuple(self._after(item.text_before, spaced(choice) if first else choice) for choice in item.choices)

    def document(self, text: str, media: Sequence[MediaFile] = (), actions: Sequence[int] = ()) -> ExpandedDocument:
        """A whole document with its end: media, text, actions."""
        inserts = [*self.inserts(media), *(Insert("special", action_token(number)) for number in actions)]
        lead = PLACEHOLDER * (len(inserts) - len(actions))
        prompt = (lead + (spaced(text) if lead else text) + PLACEHOLDER * len(actions), inserts)
        return expand_prompt(prompt, self.tokenizer, self.media, end=True)

    def inserts(self, media: Sequence[MediaFile]) -> list[Insert]:
        """Each medium after its special token."""
        found: list[Insert] = []
        for file in media:
            if file.special is not None:
                found.append(Insert("special", file.special))
            found.append(stored_insert(file.path, file.kind, self.media))
        return found

    def actions(self) -> Tokens:
        """Ids of the 256 action tokens."""
        return np.asarray([self.tokenizer.special(action_token(n)) for n in range(self.tokenizer.action_bins)])

    def _after(self, before: str, choice: str) -> Tokens:
        """Tokens of `choice` after `before`: as both are encoded together where the border is a token border."""
        alone = self.tokenizer.encode(before) if before else np.empty(0, dtype=np.int32)
        whole = self.tokenizer.encode(before + choice)
        if len(whole) > len(alone) and np.array_equal(whole[: len(alone)], alone):
            return whole[len(alone) :].astype(np.int64)
        return self.tokenizer.encode(choice).astype(np.int64)


def _marks(file: MediaFile) -> list[Insert]:
    """What stands for a medium in a text: its special token, if it has one, and an insert without its data."""
    special = [Insert("special", file.special)] if file.special is not None else []
    return [*special, Insert(file.kind)]


def spaced(text: str) -> str:
    """A text as it follows its medium: after one space, unless it brings its own or is empty."""
    return text if not text or text[0].isspace() else f" {text}"


def action_token(number: int) -> str:
    """Name of an action bin's special token."""
    return f"<|action_{number:03d}|>"


def stored_insert(path: Path, kind: str, media: MediaRule) -> Insert:
    """A raw file as a shard would store it. Raises InputError with the decoder's reason."""
    rules = replace(DecodeRules.for_media(media), require_text=False)
    reason = "nothing in it"
    for found in decode(Raw(path.name, path=path), rules):
        if isinstance(found, Piece):
            insert = next((insert for insert in found.inserts if insert.kind == kind), None)
            if insert is not None:
                return insert
            reason = f"it holds no {kind}"
        elif found.reason is not Reason.MISSING_TEXT:
            reason = f"{found.reason}: {found.detail}".removesuffix(": ")
    raise InputError(f"the {kind} cannot be used: {reason}", where=str(path))
