"""Which tokens of a conversation are learnt: the assistant's answers, each with the token that ends it.

A text can never spell a special token (only an insert becomes one), so turns are found in the stored tokens alone:
<|im_start|>, the tokens of "assistant" and a line end, the answer, <|im_end|>.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from expedition.data.loading.expand import IGNORED, ExpandedDocument
from expedition.workspace import Workspace, layout

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TurnTokens:
    """Token ids that mark turns."""

    start: int
    end: int
    answer: tuple[int, ...]
    """What follows `start` where an answer begins."""

    @classmethod
    def from_tokenizer(cls, special: Callable[[str], int], encode: Callable[[str], Any]) -> Self:
        """By a tokenizer's methods."""
        return cls(
            special("<|im_start|>"), special("<|im_end|>"), tuple(int(number) for number in encode("assistant\n"))
        )

    @classmethod
    def of_version(cls, ws: Workspace, version: str, dataset: str = layout.DATASET) -> Self:
        """From the tokenizer that a dataset version was built with. Raises InputError if it is damaged."""
        from expedition.data.tokenizer import Tokenizer

        folder = f"{layout.dataset(version, dataset)}/tokenizer"
        files = [ws.store.local(key) for key in ws.store.list(folder)]
        tokenizer = Tokenizer.load(files[0].parent)
        return cls.from_tokenizer(tokenizer.special, tokenizer.encode)


def answer_mask(tokens: Ints, turns: TurnTokens) -> npt.NDArray[np.bool_]:
    """[n] True on the tokens of answers and on the <|im_end|> that ends each; an answer without an end runs to the
    document's. Pure."""
    mask = np.zeros(len(tokens), dtype=np.bool_)
    starts, ends = np.flatnonzero(tokens == turns.start), np.flatnonzero(tokens == turns.end)
    head = np.asarray(turns.answer, dtype=tokens.dtype)
    for start in starts.tolist():
        first = start + 1 + len(head)
        if np.array_equal(tokens[start + 1 : first], head):
            place = int(np.searchsorted(ends, first))
            mask[first : int(ends[place]) + 1 if place < len(ends) else len(tokens)] = True
    return mask


def learn_answers(document: ExpandedDocument, turns: TurnTokens) -> ExpandedDocument:
    """The same document with labels on answers only; one without turns is left as it is. Pure."""
    if not (document.tokens == turns.start).any():
        return document
    learnt = answer_mask(document.tokens, turns)
    labels = np.where(np.append(learnt[1:], False), document.labels, IGNORED)
    return ExpandedDocument(document.tokens, labels, document.positions, document.media)
