"""The nouns of evaluation: what is asked, and what came out. All are values; nothing here reads or computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Metric = Literal["accuracy", "mean absolute bin error"]


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A picture, clip or sound of an item: its file, and the special token that stands before it, if any."""

    kind: str
    path: Path
    special: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One question: media, then `text_before`, then one of `choices`; or, for a drive, `target_actions`."""

    id: str
    media: tuple[MediaFile, ...] = ()
    text_before: str = ""
    choices: tuple[str, ...] = ()
    answer: int | None = None
    """Number of the right choice."""
    target_actions: tuple[int, ...] = ()
    """Action bins (0..255) that the driver took."""


@dataclass(frozen=True, slots=True)
class Task:
    """Items that differ in one attribute, and how they are scored."""

    name: str
    attribute: str
    modality: str
    metric: Metric
    items: tuple[Item, ...]
    digest: str
    """SHA-256 of the file that the items came from."""
    items_in_file: int
    """Items there are; `items` may be the first of them."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a model did with one item."""

    id: str
    prediction: Any
    """Number of the likeliest choice; or the predicted action bins, -1 for a token that is no action."""
    correct: bool | None
    """None where there is no right or wrong."""
    value: float
    """1 or 0 for a choice, bins for an error."""
    log_probs: tuple[float, ...] = ()
    """Nats of each choice given all that is before it."""


@dataclass(frozen=True, slots=True)
class Control:
    """The same task with its evidence taken from other items: it must fall to chance."""

    kind: str
    value: float
    n: int
    ci_low: float
    ci_high: float
    p_value: float
    """Two-sided against chance; for an error one-sided: better than the best constant."""
    at_chance: bool
    """Whether the corrected interval holds chance (errors: not better than the best constant)."""


@dataclass(frozen=True, slots=True)
class Result:
    """A task's score with what it takes to read it."""

    name: str
    attribute: str
    modality: str
    metric: Metric
    value: float
    n: int
    chance: float | None
    """Expected value without any knowledge; None for an error."""
    ci_low: float
    ci_high: float
    p_value: float
    """One-sided: better than chance, or for an error better than the best constant answer."""
    above_chance: bool
    """After Holm's correction over all tasks of this evaluation."""
    control: Control | None
    baseline: float | None
    """Value of always giving the same best answer, chosen on these very items: no constant does better."""
    well_formed: float | None = None
    """Share of generated tokens that are actions; None where nothing is generated."""
