"""What a row of ids says besides text: driving actions and phonemes, as they were written into it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from expedition.data.tokenizer.specials import action

if TYPE_CHECKING:
    from expedition.data.tokenizer.tokenizer import Tokenizer

__all__ = ["read_actions", "read_phonemes"]


def read_actions(tokenizer: Tokenizer, ids: Iterable[int]) -> list[int]:
    """Bins of the first run of action tokens; empty where there is none. Pure.

    `ActionCode.decode` turns them into curvature and speed.
    """
    bins = {tokenizer.special(action(number)): number for number in range(tokenizer.action_bins)}
    found: list[int] = []
    for token in ids:
        if (number := bins.get(int(token))) is not None:
            found.append(number)
        elif found:
            break
    return found


def read_phonemes(tokenizer: Tokenizer, ids: Iterable[int]) -> list[str]:
    """Text of each IPA span: from its opening token to its end token, the next added token, or the end. Pure."""
    added = set(tokenizer.specials.values())
    opening = tokenizer.special("<|ipa_phoneme|>")
    spans: list[list[int]] = []
    inside = False
    for token in map(int, ids):
        if token == opening:
            spans.append([])
            inside = True
        elif token in added:
            inside = False
        elif inside:
            spans[-1].append(token)
    return [tokenizer.decode(span) for span in spans]
