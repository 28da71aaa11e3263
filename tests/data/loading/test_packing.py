import itertools
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.index import open_index
from expedition.data.loading.packing import MediaSize, best_fit, split_at_media
from expedition.data.loading.packs import PackPlan, PackRule, open_pack
from expedition.data.loading.segments import manifest_hash
from expedition.data.loading.sentences import TextCuts
from expedition.data.records import KINDS
from expedition.plan.models import Programme
from expedition.workspace import Workspace

lengths = st.lists(st.integers(1, 64), max_size=200)


def one_at_a_time(items: list[int], capacity: int) -> list[int]:
    """Rooms left by best fit decreasing as the textbook has it, sorted."""
    rooms: list[int] = []
    for length in sorted(items, reverse=True):
        fitting = [room for room in rooms if room >= length]
        room = min(fitting) if fitting else capacity
        if fitting:
            rooms.remove(room)
        rooms.append(room - length)
    return sorted(rooms)


@given(lengths, st.sampled_from([64, 65, 100, 1000]))
@settings(max_examples=150, deadline=None)
def test_every_item_is_packed_once_as_best_fit_decreasing_does(items: list[int], capacity: int) -> None:
    packed = best_fit(items, capacity)
    assert len(packed) == len(items)
    used = np.bincount(packed, items) if items else np.zeros(0)
    assert sorted((capacity - used).astype(int).tolist()) == one_at_a_time(items, capacity)
    first = [packed.tolist().index(number) for number in range(len(used))]
    assert first == sorted(first), "sequences count by their first document"


@pytest.mark.parametrize("capacity", [4096, 32_768])
@pytest.mark.parametrize(("median", "sigma"), [(500, 1.2), (90, 0.8), (1200, 1.0)])
def test_realistic_lengths_fill_98_percent(capacity: int, median: int, sigma: float) -> None:
    drawn = np.random.default_rng(3).lognormal(np.log(median), sigma, 20_000)
    sizes = np.clip(drawn.astype(np.int64), 1, capacity)
    packed = best_fit(sizes, capacity)
    used = np.bincount(packed, sizes)
    assert used.max() <= capacity
    assert used.sum() / (capacity * len(used)) >= 0.98


def test_an_item_that_cannot_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="item 1 has length 65"):
        best_fit([3, 65], 64)


@given(
    st.lists(st.integers(3, 40), min_size=1, max_size=6),
    st.lists(st.integers(0, 60), min_size=7, max_size=7),
    st.integers(8, 80),
)
@settings(max_examples=150, deadline=None)
def test_a_document_with_media_is_cut_between_them_and_loses_only_what_cannot_fit(
    media: list[int], texts: list[int], capacity: int
) -> None:
    placeholders, tokens = [], []
    for text, _ in zip(texts, media, strict=False):
        tokens += list(b"One. Two is long. "[:text] * (1 + text // 18))[:text]
        placeholders.append(len(tokens))
        tokens.append(300)
    tokens += [ord("x")] * (texts[-1] + 1)
    sizes = [MediaSize(size, 4 * size, 0) for size in media]
    stored = np.asarray(tokens, dtype=np.int32)
    split = split_at_media(stored, placeholders, sizes, capacity, TextCuts([bytes([n]) for n in range(256)]))
    kept = [size for size in media if size <= capacity]
    assert sorted(size.tokens for size in split.dropped) == sorted(size for size in media if size > capacity)
    covered = np.zeros(len(stored), dtype=np.int64)
    for start, end, length, patches, _ in split.pieces:
        inside = [size for place, size in zip(placeholders, media, strict=True) if start <= place < end]
        assert length == end - start + sum(inside) - len(inside) <= capacity
        assert patches == 4 * sum(inside)
        covered[start:end] += 1
    gone = [place for place, size in zip(placeholders, media, strict=True) if size > capacity]
    assert (covered[gone] == 0).all()
    covered[gone] = 1
    assert (covered == 1).all()
    assert sum(piece[2] for piece in split.pieces) == len(stored) - len(media) + sum(kept)


def test_interleaved_documents_are_cut_and_driving_ones_are_not(data: Workspace, programme: Programme) -> None:
    """Forty clips of 32 tokens in one document at 256: many pieces, each with whole clips; a drive of 58 is dropped at 48."""
    index = open_index(data, "v0.1")
    pack = plan(data, programme)
    assert pack.counts["video-text"].cut_documents == 1 and pack.counts["video-text"].dropped_tokens == 0
    small = plan(data, programme, sequence_tokens=48)
    driving = small.counts["driving"]
    drives = int((np.asarray(index.kind) == KINDS.index("driving")).sum())
    assert driving.dropped_documents == drives and driving.sequences == 0
    assert driving.dropped_media == 6 * drives


def test_expanded_lengths_follow_the_media_rule(data: Workspace, programme: Programme) -> None:
    index = open_index(data, "v0.1")
    expansion = [part.expansion(programme.media) for part in index.parts()]
    tokens, patches = (np.concatenate([getattr(part, name) for part in expansion]) for name in ("tokens", "patches"))
    driving = np.flatnonzero(np.asarray(index.kind) == KINDS.index("driving")).tolist()
    assert driving
    for document in driving:
        spans = index.media(document)
        pads = sum(programme.media.video_tokens(span.frames, span.height, span.width) for span in spans)
        assert tokens[document] == index.columns["tokens"][document] + pads + len(spans)
        assert patches[document] == pads * programme.media.merge**2


def plan(ws: Workspace, programme: Programme, **rule: object) -> PackPlan:
    pack_rule = PackRule(**{"sequence_tokens": 256, "media": programme.media, **rule})
    return open_pack(ws, "v0.1", "dataset", manifest_hash(ws, "dataset", "v0.1"), pack_rule)


def documents_of(pack: PackPlan) -> list[list[tuple[int, int, int]]]:
    return [[(p.document, p.start, p.end) for p in pack.members(number)] for number in range(pack.sequences)]


def test_short_documents_are_never_cut_and_long_ones_lose_nothing(data: Workspace, programme: Programme) -> None:
    index, pack = open_index(data, "v0.1"), plan(data, programme)
    spans: dict[int, list[tuple[int, int]]] = {}
    for pieces in documents_of(pack):
        assert pieces == sorted(pieces)
        for document, start, end in pieces:
            spans.setdefault(document, []).append((start, end))
    kinds = np.asarray(index.kind)
    for document, found in spans.items():
        tokens = index.columns["tokens"][document]
        if tokens <= 256 and not index.media(document):
            assert found == [(0, tokens)]
        if KINDS[kinds[document]] == "web":
            found.sort()
            assert found[0][0] == 0 and found[-1][1] == tokens
            assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert pack.counts["web"].cut_documents == 3


def test_costs_are_those_of_the_pieces(data: Workspace, programme: Programme) -> None:
    pack = plan(data, programme)
    order = np.random.default_rng(0).permutation(pack.sequences)
    tokens, _, _, squares = pack.costs(order)
    for position, sequence in enumerate(order.tolist()):
        pieces = pack.members(sequence)
        assert tokens[position] == sum(piece.tokens for piece in pieces) <= 256
        assert squares[position] == sum(piece.tokens**2 for piece in pieces)
    with pytest.raises(IndexError):
        pack.members(pack.sequences)


def test_a_weight_makes_copies_and_fractions_that_are_chosen_by_id(data: Workspace, programme: Programme) -> None:
    base = plan(data, programme)
    weighted = plan(data, programme, weights={"web/sample-web/en": 2.5, "code/sample-code/en": 0.0})
    assert "code" not in weighted.kinds()
    assert weighted.counts["code"].left_out_tokens == base.counts["code"].packed_tokens
    ratio = weighted.cells["web/sample-web/en"]["packed_tokens"] / base.cells["web/sample-web/en"]["packed_tokens"]
    assert abs(ratio - 2.5) < 0.25
    copies: dict[int, int] = {}
    index = open_index(data, "v0.1")
    first, count = weighted.first("web"), weighted.count("web")
    for sequence in range(first, first + count):
        for piece in weighted.members(sequence):
            if piece.start == 0:
                copies[piece.document] = copies.get(piece.document, 0) + 1
    assert set(copies.values()) == {2, 3}
    assert len(copies) == int((np.asarray(index.kind) == KINDS.index("web")).sum())
    shards, passes = zip(*(weighted.entry("web", n) for n in range(len(weighted.firsts("web")) - 1)), strict=True)
    assert sorted(set(passes)) == [0, 1, 2] and len(set(zip(shards, passes, strict=True))) == len(shards)
    counts = weighted.counts["web"]
    assert counts.packed_tokens - counts.repeated_tokens == base.counts["web"].packed_tokens


def test_weight_one_everywhere_is_the_plan_without_weights(data: Workspace, programme: Programme) -> None:
    base, same = plan(data, programme), plan(data, programme, weights={"web/sample-web/en": 1.0})
    assert documents_of(base) == documents_of(same)
    assert {kind: asdict(counts) for kind, counts in base.counts.items()} == {
        kind: asdict(counts) for kind, counts in same.counts.items()
    }


@pytest.mark.parametrize("name", ["source", "shard", "document"])
def test_excluded_things_are_in_no_sequence(data: Workspace, programme: Programme, name: str) -> None:
    index = open_index(data, "v0.1")
    document = int(np.flatnonzero(np.asarray(index.kind) == KINDS.index("web"))[5])
    excluded = {"source": "sample-web", "shard": index.shards[index.shard[document]], "document": index.id(document)}
    pack = plan(data, programme, excluded=(excluded[name],))
    packed = {item[0] for pieces in documents_of(pack) for item in pieces}
    everything = {item[0] for pieces in documents_of(plan(data, programme)) for item in pieces}
    gone = {
        "source": {d for d in everything if index.source(d) == "sample-web"},
        "shard": {d for d in everything if index.shard[d] == index.shard[document]},
        "document": {document},
    }
    assert packed == everything - gone[name] and document not in packed
