"""Pairs of near copies with their similarity, in memory and from file to file."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.similar_pairs import write_similar_pairs
from expedition.data.stages.dedup.candidates import ALL_PAIRS
from expedition.data.stages.dedup.fingerprint import Columns
from expedition.data.stages.dedup.pairs import similar_pairs, similarity_as_written
from expedition.data.stages.dedup.tokens import tokens
from expedition.errors import InputError

WORDS = [f"word{number}" for number in range(500)]


def prose(seed: int, length: int = 150) -> list[str]:
    return random.Random(seed).choices(WORDS, k=length)


def columns(texts: list[str], kind: str = "web") -> Columns:
    count = len(texts)
    return Columns(list(map(str, range(count))), [""] * count, [kind] * count, texts, [None] * count)


def pairs_of(texts: list[str], kind: str = "web") -> dict[tuple[int, int], float]:
    a, b, similarity = (column.to_pylist() for column in similar_pairs(columns(texts, kind)).columns)
    return dict(zip(zip(a, b, strict=True), similarity, strict=True))


def jaccard(a: str, b: str) -> float:
    first, second = (set(zip(*(tokens(text)[n:] for n in range(5)), strict=False)) for text in (a, b))
    return len(first & second) / len(first | second)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=2, max_size=10))
def test_pairs_are_those_whose_similarity_reaches_the_threshold(made: list[tuple[int, int]]) -> None:
    """Against all pairs compared by sets; at 0.8 and above, 25 bands of 5 propose all but one pair of 20,000."""
    texts = []
    for seed, changed in made:
        words = prose(seed)
        for place in range(changed):
            words[5 + 20 * place] = "changed"
        texts.append(" ".join(words))
    wanted = {
        (a, b): jaccard(texts[a], texts[b])
        for b in range(len(texts))
        for a in range(b)
        if jaccard(texts[a], texts[b]) >= 0.8
    }
    assert pairs_of(texts) == pytest.approx(wanted)


def test_exact_copies_are_pairs_however_short() -> None:
    assert pairs_of(["two red rings", "Two RED rings!", "two blue rings"]) == {(0, 1): 1.0}
    assert pairs_of(["x = A[0]", "x = a[0]"], kind="code") == {}


def test_a_large_group_of_copies_costs_a_bounded_number_of_pairs() -> None:
    size = 40 * ALL_PAIRS
    found = pairs_of([" ".join(prose(1, 20))] * size)
    assert size - 1 <= len(found) <= 10 * size
    assert {b for _, b in found} == set(range(1, size))


def test_shared_punctuation_counts_in_scripts_without_spaces() -> None:
    text = "".join(random.Random(3).choices("山水日月風雲雷電花草木石魚鳥馬牛羊天地人", k=200))
    marked = "，".join(text[start : start + 4] for start in range(0, 200, 4))
    changed = f"{marked[:60]}甲{marked[61:120]}乙{marked[121:180]}丙{marked[181:]}丁戊己庚辛壬癸"
    assert similarity_as_written(marked, changed) > jaccard(marked, changed)
    assert similarity_as_written("a b c d e f", "a b c d e f") == 0.0


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_of_documents_becomes_a_file_of_pairs(tmp_path: Path) -> None:
    text = " ".join(prose(1))
    rows = [{"id": 7, "text": text}, {"id": "b", "text": f"{text} end"}, {"id": "c", "text": " ".join(prose(2))}]
    told = write_similar_pairs(lines(tmp_path / "in.jsonl", *rows), tmp_path / "out" / "pairs.jsonl")
    assert {name: told[name] for name in ("documents", "pairs", "groups", "copies")} == {
        "documents": 3,
        "pairs": 1,
        "groups": 1,
        "copies": 1,
    }
    found = [json.loads(line) for line in (tmp_path / "out" / "pairs.jsonl").read_text().splitlines()]
    assert [(row["a"], row["b"]) for row in found] == [(7, "b")] and 0.9 < found[0]["similarity"] < 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": "a"}, "text"),
        ({"text": "x"}, "id"),
        ({"id": True, "text": "x"}, "id"),
        ([1], "text"),
        ({"id": "first", "text": "x"}, "line 1"),
        ({"id": "z", "text": "x", "kind": "video-text"}, "video-text"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: object, what: str) -> None:
    path = lines(tmp_path / "in.jsonl", {"id": "first", "text": "x"}, row)
    with pytest.raises(InputError, match=what) as raised:
        write_similar_pairs(path, tmp_path / "out.jsonl")
    assert raised.value.where == f"{path}:2"
    assert not (tmp_path / "out.jsonl").exists()


def test_an_absent_file_and_a_wrong_threshold_are_errors_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        write_similar_pairs(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="threshold"):
        write_similar_pairs(lines(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", threshold=1.5)


def test_labelled_pairs_are_found(open_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    write_similar_pairs(open_data / "dedup" / "docs.jsonl", out)
    found = {frozenset((row["a"], row["b"])) for row in map(json.loads, out.read_text().splitlines())}
    right = wrong = copies = 0
    for row in map(json.loads, (open_data / "dedup" / "pairs.jsonl").read_text("utf-8").splitlines()):
        is_copy = row["similarity"] >= 0.8 or row["kind"] == "whitespace_case_punct"
        hit = frozenset((row["a"], row["b"])) in found
        copies, right, wrong = copies + is_copy, right + (hit and is_copy), wrong + (hit and not is_copy)
    assert right / copies >= 0.97
    assert right / (right + wrong) >= 0.99
