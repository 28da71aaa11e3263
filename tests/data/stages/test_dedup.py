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
from expedition.data.stages.dedup.near import band_keys, jaccard, signatures, sketched
from expedition.data.stages.dedup.tokens import fine_tokens, hashed, is_unspaced, token_hashes, tokens
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


def test_code_files_are_near_copies_of_code_only() -> None:
    lines = [
        f"def step_{number}(state_{number}, delta):\n    return state_{number} + delta * {number}"
        for number in range(20)
    ]
    file, other = "\n".join(lines), "\n".join([*lines[:19], "# the last one went"])
    rows = table([("a", file), ("b", other)], kind="code")
    assert [(item.id, item.reason, item.of) for item in find_duplicates(rows)] == [("b", "near duplicate", "a")]
    assert find_duplicates(rows.set_column(2, "kind", pa.array(["code", "web"]))) == []


def test_proposals_follow_the_curve_of_bands_and_values() -> None:
    """At similarity 0.5, 25 bands of 5 propose 0.55 of all pairs: neither hashes nor bands depend on each other."""
    chance, proposed, rule = random.Random(5), 0, NearRule()
    for seed in range(200):
        shared = prose(seed, 84).split()
        pair = [" ".join([*chance.choices(WORDS, k=40), *shared]), " ".join([*shared, *chance.choices(WORDS, k=40)])]
        bands = [band_keys(signatures(sketched(next(hashed([text])), rule), rule), rule) for text in pair]
        proposed += bool((bands[0] == bands[1]).any())
    assert 0.55 * 200 - 30 < proposed < 0.55 * 200 + 30


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


MIXED = st.text(st.one_of(st.characters(), st.sampled_from("aB -_,é山水กิ\u0301\u200b\u00ad\n")), max_size=60)


def hashes_of(texts: list[str], *, fine: bool = False) -> list[list[int]]:
    return [
        block.hashes[start:end].tolist()
        for block in hashed(texts, fine=fine)
        for start, end in zip(block.offsets[:-1], block.offsets[1:], strict=True)
    ]


@given(st.lists(MIXED, max_size=5), st.booleans())
def test_hashes_of_many_texts_are_those_of_their_tokens(texts: list[str], fine: bool) -> None:
    split = fine_tokens if fine else tokens
    assert hashes_of(texts, fine=fine) == [token_hashes(split(text)).tolist() for text in texts]


def test_long_texts_are_read_in_pieces_to_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expedition.data.stages.dedup.tokens._BLOCK", 5000)
    texts = [prose(1, 5000), "short", "".join(random.Random(3).choices("山水日月風雲雷電", k=12_000))]
    assert hashes_of(texts) == [token_hashes(tokens(text)).tolist() for text in texts]
    written = [content for block in hashed(texts) for content in block.contents]
    monkeypatch.setattr("expedition.data.stages.dedup.tokens._BLOCK", 1 << 17)
    assert [content for block in hashed(texts) for content in block.contents] == written


@given(MIXED, MIXED)
def test_contents_are_equal_where_tokens_are(a: str, b: str) -> None:
    first, second, again = next(hashed([a, b, f" {a.upper()}?!"])).contents
    assert (first == second) == ((tokens(a), is_unspaced(a)) == (tokens(b), is_unspaced(b)))
    if a.isascii():
        assert again == first


def test_invisible_characters_do_not_count() -> None:
    assert tokens("un\u00adseen\u200b thing") == ["unseen", "thing"]


def test_foreign_letters_of_a_chinese_text_count_as_characters() -> None:
    assert tokens("用Rust寫的引擎在此") == [*"用rust寫的引擎在此"]


def test_tokens_and_hashes_are_stable() -> None:
    """Signatures of earlier versions are compared with later ones: these values may not change."""
    assert tokens("Café, 2 BOATS!") == ["café", "2", "boats"]
    assert tokens("村里的船") == ["村", "里", "的", "船"]
    assert token_hashes(["a", "café"]).tolist() == [5537455719683724536, 11958641202540577735]
    rule, text = NearRule(), " ".join(f"word{number}" for number in range(60))
    sketches = sketched(next(hashed([text])), rule)
    assert sketches.hashes[:2].tolist() == [157284332, 219682993]
    keys = band_keys(signatures(sketches, rule), rule)
    assert keys[0, :2].tolist() == [8526930418693403437, 7149172097388018867]
