"""A batch from documents that are in no dataset: how evaluation builds prompts with the loader's own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from expedition.data.loading.batch import Batch, Row, collate
from expedition.data.loading.decode import decode_clip
from expedition.data.loading.expand import ExpandedDocument, Media, Mel, expand_document
from expedition.data.loading.media import decode_image, image_patches
from expedition.data.loading.mel import decode_audio, log_mel
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import PLACEHOLDER, Insert
from expedition.errors import InputError
from expedition.plan.media import MediaRule

Prompt = tuple[str, Sequence[Insert]]
"""Text with one U+FFFC for each insert, and the inserts in order."""

ROUND_TO = 8
"""Rows of a prompt batch are as long as the longest prompt, rounded up to this."""


class TextTokenizer(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """Ids of plain text; special tokens in it are never recognised."""
        ...

    def special(self, name: str) -> int:
        """Id of a special token. Raises KeyError for an unknown name."""
        ...


def stored_tokens(text: str, inserts: Sequence[Insert], tokenizer: TextTokenizer) -> npt.NDArray[np.int32]:
    """Tokens as a shard stores them: text encoded between inserts, one token an insert; no end token.

    Raises InputError if placeholders and inserts differ in number.
    """
    texts = text.split(PLACEHOLDER)
    if len(texts) != len(inserts) + 1:
        raise InputError(f"a text has {len(texts) - 1} placeholders for {len(inserts)} inserts")
    parts: list[npt.NDArray[np.int32]] = []
    for number, piece in enumerate(texts):
        if piece:
            parts.append(np.asarray(tokenizer.encode(piece), dtype=np.int32))
        if number < len(inserts):
            insert = inserts[number]
            name = insert.name if insert.kind == "special" else f"<|{insert.kind}|>"
            parts.append(np.asarray([tokenizer.special(name)], dtype=np.int32))
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)


def decode_insert(insert: Insert, rule: MediaRule) -> Media:
    """Patches or mel frames of an insert of kind image, video or audio. Raises InputError if it does not decode."""
    if insert.kind == "image":
        return image_patches(decode_image(insert.data), rule)
    if insert.kind == "video":
        return decode_clip(insert.data, insert.meta, rule)
    if insert.kind == "audio":
        return Mel(log_mel(decode_audio(insert.data, rule), rule))
    raise InputError(f"an insert of kind {insert.kind!r} holds no medium")


def expand_prompt(prompt: Prompt, tokenizer: TextTokenizer, rule: MediaRule, *, end: bool = False) -> ExpandedDocument:
    """One prompt as the model sees it; `end` adds <|endoftext|>."""
    text, inserts = prompt
    ids = MediaTokenIds.from_special(tokenizer.special)
    stored = stored_tokens(text, inserts, tokenizer)
    if end:
        stored = np.append(stored, np.int32(ids.endoftext))
    media = [decode_insert(insert, rule) for insert in inserts if insert.kind != "special"]
    return expand_document(stored, media, ids, rule)


def make_batch(
    documents: Sequence[Prompt],
    tokenizer: TextTokenizer,
    media: MediaRule,
    *,
    end: bool = False,
    sequence_tokens: int | None = None,
) -> Batch:
    """One row a document, padded at the end to `sequence_tokens` or the longest; kind is -1, sample ids count from 0.

    Raises InputError for a document that is longer than `sequence_tokens`, or whose inserts do not fit its text.
    """
    expanded = [expand_prompt(document, tokenizer, media, end=end) for document in documents]
    longest = max((len(document.tokens) for document in expanded), default=0)
    if sequence_tokens is not None and longest > sequence_tokens:
        raise InputError(f"a prompt has {longest} tokens, {sequence_tokens} are allowed")
    width = sequence_tokens or -(-max(longest, 1) // ROUND_TO) * ROUND_TO
    rows = [Row((document,), (-1,), number) for number, document in enumerate(expanded)]
    return collate(rows, width, media, MediaTokenIds.from_special(tokenizer.special).endoftext)
