"""Books: plain text in chapters, English and Chinese, with a title page."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from expedition.sampleworld.defects import Role, jaccard, reworded, roles
from expedition.sampleworld.parcel import Order, Parcel
from expedition.sampleworld.sizes import SampleSize
from expedition.sampleworld.text import prose
from expedition.sampleworld.text.tongues import TONGUES
from expedition.sampleworld.truth import Planted
from expedition.sampleworld.world import NAMES, pick, stream

_CHINESE = next(tongue for tongue in TONGUES if tongue.tag == "zh")
_NUMBERS = "一二三四五六七八九十"


def chapter(rng: np.random.Generator) -> str:
    """Three paragraphs of a story, more prose than pictures."""
    return "\n\n".join(prose.paragraph(rng, int(rng.integers(3, 6))) for _ in range(3))


def write_books(order: Order) -> Parcel:
    """Books `start`..`stop`, a text file each."""
    parcel = Parcel()
    planted = book_roles(order.seed, order.source, order.size)
    for number in range(order.start, order.stop):
        role = planted.get(number)
        origin = number if role is None or role.of is None else role.of
        text = _book(order, origin)
        path = f"{order.source}/book_{number:05d}.txt"
        if role is None:
            (order.root / path).write_text(text, "utf-8")
            continue
        rng = stream(order.seed, order.source, "planted", number)
        if role.of is not None:
            changed = text if role.kind == "exact_duplicate" else _second_edition(text, rng)
            of = {"path": f"{order.source}/book_{role.of:05d}.txt", "item": None}
            details: dict[str, object] = {"of": of, "jaccard": jaccard(text, changed)}
            data = changed.encode()
        else:
            data = rng.integers(0, 256, size=4000).astype(np.uint8).tobytes()
            details = {"reason": "not text"}
        (order.root / path).write_bytes(data)
        parcel.truth.append(Planted(role.kind, order.source, path, None, details))
    return parcel


@lru_cache(maxsize=8)
def book_roles(seed: int, source: str, size: SampleSize) -> dict[int, Role]:
    """The defects of the books; Chinese books stay whole."""
    english = [number for number in range(size.books) if not _is_chinese(number)]
    few = max(1, size.planted // 8)
    wanted = (("corrupt", few), ("exact_duplicate", few), ("near_duplicate", few))
    return roles(seed, source, english, wanted)


def _is_chinese(number: int) -> bool:
    return number % 6 == 2


def _book(order: Order, number: int) -> str:
    rng = stream(order.seed, order.source, "book", number)
    author = f"{pick(rng, NAMES)} {pick(rng, NAMES)}"
    if _is_chinese(number):
        parts = [f"小世界的故事（{number}）\n\n{author} 著"]
        for place in range(order.size.chapters):
            body = "\n\n".join(text for _ in range(2) for text in _CHINESE.paragraphs(rng))
            parts.append(f"第{_NUMBERS[place % 10]}章\n\n{body}")
        return "\n\n".join(parts) + "\n"
    parts = [f"{prose.title(rng)}\n\nby {author}"]
    for place in range(order.size.chapters):
        parts.append(f"CHAPTER {place + 1}\n\n{prose.avoiding(order.forbidden, chapter, rng)}")
    return "\n\n".join(parts) + "\n"


def _second_edition(text: str, rng: np.random.Generator) -> str:
    """One word in 120 changed."""
    return reworded(text, max(1, len(prose.words_of(text)) // 120), rng)
