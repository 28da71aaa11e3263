"""The synthetic source: short lessons in recall, counting and order, a JSON object a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from expedition.sampleworld.defects import Role, jaccard, reworded, roles
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text import prose
from expedition.sampleworld.text.needles import echo, lesson
from expedition.sampleworld.text.personal import confession, personal_value
from expedition.sampleworld.truth import Planted, json_line
from expedition.sampleworld.world import stream

Maker = Callable[[np.random.Generator], str]

LESSONS: tuple[tuple[str, Maker], ...] = (
    *(("recall", lesson),) * 12,
    ("echo", echo),
    ("counting", lambda rng: prose.paragraph(rng, 4, (prose.counting_sentence,))),
    ("pictures", lambda rng: prose.paragraph(rng, 4, (prose.scene_sentence, prose.order_sentence))),
)
"""Skill and maker; repeated entries are likelier."""

LINES_PER_FILE = 400
"""Lines of one file of the source."""


def note(rng: np.random.Generator) -> tuple[str, str]:
    """Skill and text of a lesson."""
    skill, make = LESSONS[int(rng.integers(len(LESSONS)))]
    return skill, make(rng)


def write_notes(order: Order) -> Parcel:
    """Lines `start`..`stop` as one file."""
    parcel = Parcel()
    path = f"{order.source}/notes_{order.start // LINES_PER_FILE:05d}.jsonl"
    planted = note_roles(order.seed, order.source, order.size)
    lines = []
    for number in range(order.start, order.stop):
        skill, text, details = _planted_text(order, number, planted.get(number))
        identity = f"note-{number:06d}"
        lines.append(json_line({"id": identity, "text": text, "language": "en", "skill": skill}))
        if details is not None:
            parcel.truth.append(Planted(planted[number].kind, order.source, path, identity, details))
    (order.root / path).write_text("".join(lines), "utf-8")
    return parcel


@lru_cache(maxsize=8)
def note_roles(seed: int, source: str, size: SampleSize) -> dict[int, Role]:
    """The defects of the notes."""
    wanted = (("exact_duplicate", size.planted), ("near_duplicate", size.planted), ("pii", size.planted))
    return roles(seed, source, range(size.notes), wanted)


def _planted_text(order: Order, number: int, role: Role | None) -> tuple[str, str, dict[str, object] | None]:
    origin = number if role is None or role.of is None else role.of
    skill, text = _plain(
        order, origin, long=role is not None or origin in _originals(order.seed, order.source, order.size)
    )
    if role is None:
        return skill, text, None
    rng = stream(order.seed, order.source, "planted", number)
    if role.of is not None:
        changed = text if role.kind == "exact_duplicate" else reworded(text, 1, rng)
        of = {"path": f"{order.source}/notes_{role.of // LINES_PER_FILE:05d}.jsonl", "item": f"note-{role.of:06d}"}
        return skill, changed, {"of": of, "jaccard": jaccard(text, changed)}
    value = personal_value(("email", "phone", "card", "ip")[role.number % 4], rng)
    return skill, f"{text} {confession([value], rng)}", {"type": value.type, "value": value.value}


@lru_cache(maxsize=8)
def _originals(seed: int, source: str, size: SampleSize) -> frozenset[int]:
    planted = note_roles(seed, source, size)
    return frozenset(role.of for role in planted.values() if role.of is not None)


def _plain(order: Order, number: int, long: bool) -> tuple[str, str]:
    """The note before anything is planted; a `long` one is a lesson with four more sentences."""
    rng = stream(order.seed, order.source, "note", number)
    skill = ""

    def make(draw: np.random.Generator) -> str:
        nonlocal skill
        skill, text = note(draw)
        return f"{prose.paragraph(draw, 6)} {text}" if long else text

    text = prose.avoiding(order.forbidden, make, rng)
    return skill, text
