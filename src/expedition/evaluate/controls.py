"""Controls: the same items with their evidence taken from other items. What then stays above chance is a shortcut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from expedition.data.loading.expand import ExpandedDocument
from expedition.evaluate.questions import Writer
from expedition.evaluate.task import Item

SENTENCE_ENDS = (". ", "\n", "。")


def derangement(n: int, seed: int) -> list[int]:
    """A random order in which nobody keeps his place (n ≥ 2): one random cycle (Sattolo 1986). n < 2: as it is."""
    order = list(range(n))
    generator = np.random.Generator(np.random.PCG64(seed))
    for place in range(n - 1, 0, -1):
        other = int(generator.integers(0, place))
        order[place], order[other] = order[other], order[place]
    return order


def control_kind(items: Sequence[Item]) -> str:
    """What is taken from other items."""
    return "shuffled media" if items[0].media else "shuffled context"


def control_prompts(
    writer: Writer, items: Sequence[Item], prompts: Sequence[ExpandedDocument], seed: int
) -> list[ExpandedDocument]:
    """For each item a prompt with the evidence of another one. Where the whole prompt is evidence it is that very
    object, so that its encoding is shared."""
    made = []
    for item, other in zip(items, derangement(len(items), seed), strict=True):
        if not item.media:
            made.append(writer.prompt(item, swapped_context(items[other].text_before, item.text_before)))
        elif item.text_before or items[other].text_before:
            made.append(writer.prompt(replace(item, media=items[other].media), decoded=prompts[other].media))
        else:
            made.append(prompts[other])
    return made


def swapped_context(evidence: str, question: str) -> str:
    """`evidence` without its last sentence, then the last sentence of `question`; `evidence` as it is if it has one."""
    (context, _), (own, asked) = _parted(evidence), _parted(question)
    return context + asked if own and context else evidence


def _parted(text: str) -> tuple[str, str]:
    """What is before the last sentence (its border included), and the last sentence."""
    border = max(text.rfind(end) + len(end) if end in text else 0 for end in SENTENCE_ENDS)
    return text[:border], text[border:]
