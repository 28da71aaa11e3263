import hashlib
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading import order as order_module
from expedition.data.loading.mixture import Mixture
from expedition.data.loading.order import KindOrder, SegmentOrder

shard_sizes = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0)


def firsts(sizes: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


@given(shard_sizes, st.integers(1, 5), st.integers(0, 2**64 - 1), st.sampled_from([1, 3, 1024]))
@settings(max_examples=60, deadline=None)
def test_each_epoch_holds_every_sequence_once(sizes: list[int], window: int, key: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "BLOCK_SHARDS", block)
        order = KindOrder.of_sizes(sizes, window, key)
        for epoch in range(3):
            start = epoch * order.sequences
            places = [order.locate(ordinal) for ordinal in range(start, start + order.sequences)]
            assert {number for number, _ in places} == {epoch}
            assert sorted(sequence for _, sequence in places) == list(range(order.sequences))


@given(shard_sizes, st.integers(1, 5), st.integers(0, 2**64 - 1), st.sampled_from([1, 3, 1024]), st.data())
@settings(max_examples=60, deadline=None)
def test_many_at_once_and_the_trace_say_the_same(
    sizes: list[int], window: int, key: int, block: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "BLOCK_SHARDS", block)
        order = KindOrder.of_sizes(sizes, window, key)
        ordinals = data.draw(st.lists(st.integers(0, 5 * order.sequences), max_size=40))
        epochs, sequences = order.locate_many(ordinals)
        single = [order.locate(ordinal) for ordinal in ordinals]
        assert list(zip(epochs.tolist(), sequences.tolist(), strict=True)) == single
        begins = firsts(sizes)
        for ordinal, (epoch, sequence) in zip(ordinals, single, strict=True):
            trace = order.trace(ordinal)
            assert (trace.epoch, int(begins[trace.shard]) + trace.offset) == (epoch, sequence)
            assert trace.shard in trace.window_shards
            assert 0 <= trace.offset < sizes[trace.shard]
            assert len(trace.window_shards) <= window


def test_only_a_window_of_shards_is_read_at_a_time() -> None:
    order = KindOrder.of_sizes([20] * 12, 3, 11)
    shards = np.asarray([order.locate(ordinal)[1] // 20 for ordinal in range(240)])
    for start in range(0, 240, 60):
        assert len(set(shards[start : start + 60].tolist())) == 3
    assert len(set(shards[:30].tolist())) == 3, "the shards of a window are mixed with each other"


def test_a_block_is_a_sample_of_the_whole_version() -> None:
    """Shards of four sources that lie one after the other: a block's worth of training has all four evenly."""
    order = KindOrder.of_sizes([10] * 4096, 16, 3)
    _, sequences = order.locate_many(np.arange(10 * 1024))
    share = np.bincount(sequences // 10_240, minlength=4) / 10_240
    assert np.abs(share - 0.25).max() < 0.01


def test_epochs_differ() -> None:
    order = KindOrder.of_sizes([50, 50], 1, 3)
    first, second = ([order.locate(n + start)[1] for n in range(100)] for start in (0, 100))
    assert first != second


def test_order_of_one_kind_does_not_depend_on_the_others() -> None:
    sizes = {"web": firsts([40]), "code": firsts([25])}
    alone = SegmentOrder(Mixture.from_weights({"web": 1}), sizes, 16, 7)
    mixed = SegmentOrder(Mixture.from_weights({"web": 1, "code": 1}), sizes, 16, 7)
    web = [place.sequence for place in map(mixed.locate, range(80)) if place.kind == "web"]
    assert web == [alone.locate(index).sequence for index in range(40)]


def test_epochs_are_counted_by_kind() -> None:
    table = {"web": firsts([30]), "code": firsts([5])}
    order = SegmentOrder(Mixture.from_weights({"web": 3, "code": 1}), table, 16, 7)
    assert order.epochs(0) == {"code": 0.0, "web": 0.0}
    assert order.epochs(40) == {"code": 2.0, "web": 1.0}


def golden_order() -> SegmentOrder:
    sizes = {"web": [7, 5, 90, 41, 3, 17, 230, 11, 64, 8] * 140, "code": [4, 31, 12], "books": [150] * 9}
    mixture = Mixture.from_weights({"web": 0.6, "code": 0.25, "books": 0.15})
    return SegmentOrder(mixture, {kind: firsts(values) for kind, values in sizes.items()}, 4, 7)


GOLDEN = [
    ("w", 891),
    ("c", 35),
    ("w", 23987),
    ("w", 24037),
    ("b", 929),
    ("w", 24165),
    ("c", 22),
    ("w", 11407),
    ("w", 11395),
    ("c", 3),
    ("w", 23982),
    ("b", 1101),
]
GOLDEN_THOUSAND = "4ff49bff469e20654a9b941f8702ee7e34f2f47a839a199f3fdfc70da64f8680"
GOLDEN_FAR = ("web", 9003601, 16758)


def test_order_of_runs_on_record_never_changes() -> None:
    """Every run on record relies on these places: another order would resume on other data."""
    order = golden_order()
    places = [order.locate(index) for index in range(1000)]
    assert [(place.kind[0], place.sequence) for place in places[:12]] == GOLDEN
    text = " ".join(f"{place.kind}:{place.epoch}:{place.sequence}" for place in places)
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN_THOUSAND
    far = order.locate(10**12)
    assert (far.kind, far.epoch, far.sequence) == GOLDEN_FAR


@pytest.fixture(scope="module")
def trillion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shard table of a plan of 10^12 sequences in 10^6 shards, as a file that is mapped."""
    path = tmp_path_factory.mktemp("plan") / "firsts.npy"
    sizes = np.random.default_rng(1).integers(500_000, 1_500_000, 10**6)
    np.save(path, firsts(sizes.tolist()))
    return path


def opened(path: Path) -> SegmentOrder:
    table = np.load(path, mmap_mode="r")
    return SegmentOrder(Mixture.from_weights({"web": 0.6, "code": 0.4}), {"web": table, "code": table}, 16, 7)


def test_resume_in_a_plan_of_a_trillion_takes_milliseconds(trillion: Path) -> None:
    opened(trillion).locate(0)
    spent = []
    for _ in range(3):
        started = time.process_time()
        place = opened(trillion).locate(10**9)
        spent.append(time.process_time() - started)
    assert place.ordinal == 600_000_000
    assert min(spent) < 0.05


def test_random_access_is_fast_and_takes_bounded_memory(trillion: Path) -> None:
    order = opened(trillion)
    indices = np.random.default_rng(2).integers(0, 10**12, 60_000)
    order.locate_many(indices)
    started = time.process_time()
    places = order.locate_many(indices)
    many_per_s = len(indices) / (time.process_time() - started)
    one_by_one = indices[:4000].tolist()
    started = time.process_time()
    single = [order.locate(index) for index in one_by_one]
    single_per_s = len(one_by_one) / (time.process_time() - started)
    assert [place.sequence for place in single] == places.sequence[:4000].tolist()
    assert many_per_s > 50_000 and single_per_s > 20_000
    kept = [len(kind._block._values) for kind in order._orders]
    assert max(kept) <= order_module.KEPT_BLOCKS
