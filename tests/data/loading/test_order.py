import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.mixture import Mixture
from expedition.data.loading.order import KindOrder, SegmentOrder

shard_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0)


@given(shard_sizes, st.integers(1, 5), st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_each_epoch_holds_every_sequence_once(sizes: list[int], window: int, key: int) -> None:
    order = KindOrder(sizes, window, key)
    for epoch in range(3):
        start = epoch * order.sequences
        places = [order.locate(ordinal) for ordinal in range(start, start + order.sequences)]
        assert {number for number, _ in places} == {epoch}
        assert sorted(sequence for _, sequence in places) == list(range(order.sequences))


def test_only_a_window_of_shards_is_read_at_a_time() -> None:
    sizes = [20] * 12
    order = KindOrder(sizes, 3, 11)
    shards = np.asarray([order.locate(ordinal)[1] // 20 for ordinal in range(240)])
    for start in range(0, 240, 60):
        assert len(set(shards[start : start + 60].tolist())) == 3
    assert len(set(shards[:30].tolist())) == 3, "the shards of a window are mixed with each other"


def test_epochs_differ() -> None:
    order = KindOrder([50, 50], 1, 3)
    first, second = ([order.locate(n + start)[1] for n in range(100)] for start in (0, 100))
    assert first != second


def test_order_of_one_kind_does_not_depend_on_the_others() -> None:
    sizes = {"web": [40], "code": [25]}
    alone = SegmentOrder(Mixture.from_weights({"web": 1}), sizes, 16, 7)
    mixed = SegmentOrder(Mixture.from_weights({"web": 1, "code": 1}), sizes, 16, 7)
    web = [place.sequence for place in map(mixed.locate, range(80)) if place.kind == "web"]
    assert web == [alone.locate(index).sequence for index in range(40)]


def test_epochs_are_counted_by_kind() -> None:
    order = SegmentOrder(Mixture.from_weights({"web": 3, "code": 1}), {"web": [30], "code": [5]}, 16, 7)
    assert order.epochs(0) == {"code": 0.0, "web": 0.0}
    assert order.epochs(40) == {"code": 2.0, "web": 1.0}


GOLDEN = [("w", 6), ("c", 1), ("w", 0), ("w", 2), ("c", 2), ("w", 1), ("w", 3), ("c", 3), ("w", 4)]


def test_order_of_runs_on_record_never_changes() -> None:
    """Every run on record relies on these places: another order would resume on other data."""
    order = SegmentOrder(Mixture.from_weights({"web": 2, "code": 1}), {"web": [7, 5], "code": [4]}, 1, 7)
    assert [(place.kind[0], place.sequence) for place in map(order.locate, range(9))] == GOLDEN
