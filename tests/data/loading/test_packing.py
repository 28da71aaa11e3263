import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.index import load_index
from expedition.data.loading.packing import best_fit, cut, kept_prefix
from expedition.data.records import KINDS

lengths = st.lists(st.integers(1, 64), max_size=200)


@given(lengths, st.integers(1, 16))
@settings(max_examples=150, deadline=None)
def test_every_item_is_packed_once_and_no_sequence_overflows(items: list[int], open_limit: int) -> None:
    packed = best_fit(items, 64, open_limit)
    assert sorted(item for sequence in packed for item in sequence) == list(range(len(items)))
    assert all(sum(items[item] for item in sequence) <= 64 for sequence in packed)
    assert all(sequence == sorted(sequence) for sequence in packed)


@given(lengths)
@settings(max_examples=60, deadline=None)
def test_no_two_open_sequences_could_be_one(items: list[int]) -> None:
    rooms = [64 - sum(items[item] for item in sequence) for sequence in best_fit(items, 64, 10_000)]
    used = sorted(64 - room for room in rooms)
    assert len(used) < 2 or used[0] + used[1] > 64 or len(used) < 2, "best fit never opens a sequence in vain"


def test_an_item_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="item 1 has length 65"):
        best_fit([3, 65], 64)


@given(st.integers(1, 1000), st.integers(1, 100))
def test_a_long_text_is_cut_without_loss(stored: int, sequence_tokens: int) -> None:
    pieces = cut(5, stored, sequence_tokens)
    assert [piece.start for piece in pieces] == list(range(0, stored, sequence_tokens))
    assert sum(piece.tokens for piece in pieces) == stored
    assert all(piece.tokens == piece.end - piece.start <= sequence_tokens for piece in pieces)


def test_media_are_kept_whole_and_text_is_cut() -> None:
    assert kept_prefix([0], [10], stored=100, sequence_tokens=32) == (21, 32)
    assert kept_prefix([0, 5], [10, 10], stored=100, sequence_tokens=32) == (10, 32)


def test_media_without_room_for_a_token_after_them_are_dropped() -> None:
    assert kept_prefix([0], [30], stored=2, sequence_tokens=32) is None
    assert kept_prefix([0], [29], stored=2, sequence_tokens=32) == (2, 32)


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
    st.lists(st.integers(0, 10), min_size=6, max_size=6),
    st.integers(8, 80),
)
def test_a_kept_prefix_fits_and_holds_all_media(sizes: list[int], texts: list[int], sequence_tokens: int) -> None:
    places, position = [], 0
    for text, _ in zip(texts, sizes, strict=False):
        position += text
        places.append(position)
        position += 1
    stored = position + texts[-1] + 1
    kept = kept_prefix(places, sizes, stored, sequence_tokens)
    if kept is not None:
        assert places[-1] + 1 < kept[0] + 1 <= stored + 1
        assert kept[1] == kept[0] + sum(size + 1 for size in sizes) <= sequence_tokens


def test_expanded_lengths_follow_the_media_rule(data, programme) -> None:
    index = load_index(data, "v0.1")
    expansion = index.expansion(programme.media)
    for document in np.flatnonzero(index.kind == KINDS.index("driving")).tolist():
        spans = index.media(document)
        tokens = sum(programme.media.video_tokens(span.frames, span.height, span.width) for span in spans)
        assert expansion.tokens[document] == index.columns["tokens"][document] + tokens + len(spans)
        assert expansion.patches[document] == tokens * programme.media.merge**2
