"""Copies: exact, near, of pictures; which one stays."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.stages.dedup import (
    NearRule,
    candidate_pairs,
    dedup_plan,
    find_duplicates,
)
from expedition.data.stages.dedup.candidates import LEADERS, Work, distinct, pairs_of_pieces
from expedition.data.stages.dedup.near import jaccard
from expedition.data.stages.dedup.tokens import ngram_hashes, token_hashes, token_pieces, tokens
from expedition.data.stages.image import perceptual_hash
from tests.data.stages.documents import picture

WORDS = [f"word{number}" for number in range(500)]


def prose(seed: int, length: int = 120) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def table(rows: list[tuple[str, str]], kind: str = "web", phash: list[str | None] | None = None) -> pa.Table:
    return pa.table(
        {
            "id": [row[0] for row in rows],
            "source": ["s"] * len(rows),
            "kind": [kind] * len(rows),
            "text": [row[1] for row in rows],
            "length": [len(row[1]) for row in rows],
            "phash": pa.array(phash or [None] * len(rows), pa.string()),
        }
    )


def edited(text: str, share: float, seed: int = 0) -> str:
    words = text.split()
    chosen = random.Random(seed)
    start = chosen.randrange(int(len(words) * (1 - share)))
    words[start : start + int(len(words) * share)] = chosen.choices(WORDS, k=int(len(words) * share))
    return " ".join(words)


def test_exact_copies_ignore_case_space_and_punctuation() -> None:
    found = find_duplicates(
        table([("a", "The boats, at dawn!"), ("b", "the  BOATS at\ndawn"), ("c", "other words here")])
    )
    assert [(item.id, item.reason, item.of) for item in found] == [("a", "exact duplicate", "b")] or [
        (item.id, item.reason, item.of) for item in found
    ] == [("b", "exact duplicate", "a")]


def test_code_keeps_case_and_punctuation() -> None:
    assert find_duplicates(table([("a", "x = A[0]"), ("b", "x = a[0]")], kind="code")) == []


def test_near_copies_are_found_and_the_longest_stays() -> None:
    text = prose(1)
    found = find_duplicates(table([("a", edited(text, 0.1)), ("b", text + " and a little more"), ("c", prose(2))]))
    assert [(item.id, item.reason, item.of) for item in found] == [("a", "near duplicate", "b")]


def test_chinese_copies_are_found_by_characters() -> None:
    text = "".join(random.Random(3).choices("山水日月風雲雷電花草木石魚鳥馬牛羊天地人大小上下左右東西南北", k=200))
    changed = text[:100] + "甲乙丙" + text[103:]
    found = find_duplicates(table([("a", text), ("b", changed)]))
    assert [item.reason for item in found] == ["near duplicate"]


def test_unrelated_texts_are_never_dropped() -> None:
    assert find_duplicates(table([(str(seed), prose(seed)) for seed in range(150)])) == []


def test_short_texts_are_no_near_copies() -> None:
    assert (
        find_duplicates(table([("a", "two red rings at the left side"), ("b", "two red rings at the right side")]))
        == []
    )


def test_equal_captions_are_no_copies_but_equal_pictures_are() -> None:
    hashes = [perceptual_hash(picture(seed, 128)) for seed in (1, 1, 2)]
    rows = [("a", "\ufffc a square"), ("b", "\ufffc a square"), ("c", "\ufffc a square")]
    found = find_duplicates(table(rows, "image-text", list(hashes)))
    assert [(item.id, item.of) for item in found] == [("b", "a")]
    assert find_duplicates(table(rows, "audio-text")) == []


def test_preferred_source_stays() -> None:
    text = prose(5)
    rows = table([("a", text), ("b", text)]).set_column(1, "source", pa.array(["web", "books"]))
    assert dedup_plan(rows, source_order=("books", "web")).to_pylist() == [
        {"id": "a", "duplicate_of": "b", "reason": "exact duplicate"}
    ]


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_does_not_matter(chance: random.Random) -> None:
    rows = [(f"d{seed}", prose(seed % 5) if seed < 8 else edited(prose(seed % 5), 0.1, seed)) for seed in range(14)]
    wanted = find_duplicates(table(rows))
    chance.shuffle(rows)
    assert find_duplicates(table(rows)) == wanted


def test_a_large_group_costs_a_bounded_number_of_pairs_a_row() -> None:
    work, size = Work(), 5000
    numbers = np.arange(size, dtype=np.int64)
    fine = (numbers % 40).astype(np.uint32)
    pairs = candidate_pairs(np.zeros(size, np.uint64), numbers, fine, work)
    assert len(pairs) <= (LEADERS + 1) * size
    assert (work.capped_groups, work.capped_rows) == (1, size)
    # Rows that share the next band as well meet, though they are not among the group's first.
    assert (pairs == [39, 4999]).all(axis=1).any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**32))
def test_a_group_in_pieces_gives_the_pairs_of_the_whole(size: int, piece: int, different: int, seed: int) -> None:
    numbers = np.arange(size, dtype=np.int64) * 3
    fine = np.random.default_rng(seed).integers(0, different, size).astype(np.uint32)
    whole = candidate_pairs(np.zeros(size, np.uint64), numbers, fine, Work())
    pieces = ((numbers[n : n + piece], fine[n : n + piece]) for n in range(0, size, piece))
    found = [pairs for pairs in pairs_of_pieces(pieces, Work()) if len(pairs)]
    assert distinct(np.concatenate(found) if found else whole[:0]).tolist() == whole.tolist()


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, 400), max_size=120), st.sets(st.integers(0, 400), max_size=120))
def test_similarity_of_whole_sketches_is_jaccard(a: set[int], b: set[int]) -> None:
    arrays = [np.array(sorted(each), np.uint32) for each in (a, b)]
    assert jaccard(arrays[0], arrays[1], NearRule()) == pytest.approx(len(a & b) / max(len(a | b), 1))


def test_similarity_of_cut_sketches_is_near_jaccard() -> None:
    rule, numbers = NearRule(sketch=512), np.random.default_rng(3).permutation(2**24)[:20_000].astype(np.uint32)
    a, b = np.sort(numbers[:15_000])[:512], np.sort(numbers[5_000:])[:512]
    assert jaccard(a, b, rule) == pytest.approx(0.5, abs=3 * (0.25 / 512) ** 0.5)


@given(st.text(max_size=200))
def test_ascii_takes_a_short_way_to_the_same_tokens(text: str) -> None:
    for each in (text, text.encode("ascii", "ignore").decode()):
        assert [token.decode() for piece in token_pieces(each) for token in piece] == tokens(each)


def test_long_texts_are_read_in_pieces_to_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.data.stages.dedup.tokens._PIECE_CHARACTERS", 5000)
    text = prose(1, 5000)
    assert len(list(token_pieces(text))) > 5
    assert [token.decode() for piece in token_pieces(text) for token in piece] == tokens(text)


def test_tokens_and_hashes_are_stable() -> None:
    """Signatures of earlier versions are compared with later ones: these values may not change."""
    assert tokens("Café, 2 BOATS!") == ["café", "2", "boats"]
    assert tokens("村里的船") == ["村", "里", "的", "船"]
    assert (
        ngram_hashes(token_hashes(["a", "b", "c"]), 2).tolist()
        == ngram_hashes(token_hashes(["a", "b", "c"]), 2).tolist()
    )
    assert token_hashes(["a"]).tolist() == [16629034431890738719]
