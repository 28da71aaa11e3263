"""Copies over a whole build: the exchange finds what the in-memory comparison finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expedition.data.engine import Limits
from expedition.data.engine.tables import write_batches
from expedition.data.records import DOCUMENT_SCHEMA, PLACEHOLDER, Document, Insert, document_batch
from expedition.data.stages.dedup import NearRule
from expedition.data.versions.repeats import Repeats, find_repeats

from .worldlet import document

WORDS = [f"word{number}" for number in range(300)]


def text(seed: int, changed: int = 0) -> str:
    order = np.random.Generator(np.random.PCG64(seed)).integers(0, len(WORDS), 120).tolist()
    words = [WORDS[place] for place in order]
    for place in range(changed):
        words[20 + 50 * place] = "changed"
    return " ".join(words)


def documents() -> list[Document]:
    made = [document(n, "old", "web", text(n)) for n in range(30)]
    made += [document(n, "new", "web", text(n)) for n in range(5)]
    made += [document(100 + n, "new", "web", text(n + 10, changed=1)) for n in range(5)]
    made += [document(200 + n, "new", "code", text(n)) for n in range(5)]
    for number in range(4):
        insert = Insert("image", data=b"jpeg", meta={"width": 8, "height": 8})
        picture = document(300 + number, "pictures", "image-text", f"{PLACEHOLDER} one ship", insert)
        fingerprint = f"{'0' * 64}-{'0' * 48}"
        made.append(Document(**{**_fields(picture), "meta": {"phash": fingerprint}}))
    return made


def _fields(item: Document) -> dict[str, object]:
    return {name: getattr(item, name) for name in Document.__slots__}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    every = documents()
    for part in range(3):
        write_batches(tmp_path / f"{part}.arrow", DOCUMENT_SCHEMA, [document_batch(every[part::3])])
    return [tmp_path / f"{part}.arrow" for part in range(3)]


def test_exchange_finds_what_memory_finds(paths: list[Path], tmp_path: Path) -> None:
    found = []
    for name, memory_bytes in (("memory", 1 << 30), ("exchange", 0)):
        repeats = Repeats(NearRule(), ("old", "new", "pictures"), memory_bytes)
        found.append(find_repeats(paths, 1, repeats, tmp_path / name, Limits(workers=0)))
    assert found[0] == found[1]
    by_source = {item.id: item.source for item in documents()}
    assert sum(by_source[item.id] == "new" for item in found[0]) == 10
    assert sum(by_source[item.id] == "pictures" for item in found[0]) == 3
    assert not any(by_source[item.id] == "old" for item in found[0])


def test_order_of_files_does_not_matter(paths: list[Path], tmp_path: Path) -> None:
    repeats = Repeats(NearRule(), ("old", "new"))
    forward = find_repeats(paths, 1, repeats, tmp_path / "a", Limits(workers=0))
    assert forward == find_repeats(paths[::-1], 1, repeats, tmp_path / "b", Limits(workers=0))
