import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.permutation import child_key, child_keys, derive_key, permute, permute_one, shuffled

sizes = st.integers(1, 3000)
keys = st.integers(0, 2**64 - 1)


@given(sizes, keys)
@settings(max_examples=60, deadline=None)
def test_every_key_gives_a_bijection(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))
    assert sorted(shuffled(size, key).tolist()) == list(range(size))


@given(st.integers(1, 2**62), keys, st.data())
@settings(max_examples=80, deadline=None)
def test_one_at_a_time_gives_the_same(size: int, key: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    image = permute_one(index, size, key)
    assert 0 <= image < size
    assert image == int(permute(index, size, key))


@given(st.lists(st.tuples(st.integers(1, 2**40), keys), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_many_sizes_and_keys_at_once_give_the_same(places: list[tuple[int, int]]) -> None:
    size, key = (np.asarray(column, dtype=np.uint64) for column in zip(*places, strict=True))
    index = np.asarray([key % size for size, key in places])
    assert permute(index, size, key).tolist() == [permute_one(key % size, size, key) for size, key in places]
    assert child_keys(key, index).tolist() == [child_key(key, key % size) for size, key in places]


def test_different_keys_give_different_orders() -> None:
    first, second = (permute(np.arange(1000), 1000, derive_key("order", seed)) for seed in (1, 2))
    assert (first == second).sum() < 20


@pytest.mark.parametrize("image", [permute(np.arange(10_000), 10_000, 5), shuffled(10_000, 5)])
def test_neighbours_are_scattered(image: np.ndarray) -> None:
    assert abs(np.corrcoef(np.arange(10_000), image)[0, 1]) < 0.03
    assert abs(np.corrcoef(image[:-1], image[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("size", [5, 37, 100])
def test_places_are_uniform_over_keys(size: int) -> None:
    """Where an element lands is even over 40,000 keys: chi-square below its 99.9 % quantile."""
    landed = permute(np.full(40_000, size // 2), size, np.arange(40_000, dtype=np.uint64) * np.uint64(2**48 + 3))
    expected = len(landed) / size
    chi_square = float(((np.bincount(landed, minlength=size) - expected) ** 2 / expected).sum())
    assert chi_square < {5: 18.5, 37: 68.0, 100: 148.3}[size]


def test_order_of_runs_on_record_never_changes() -> None:
    """Every run on record relies on these values: another permutation would resume on other data."""
    assert permute(np.arange(10), 10, 7).tolist() == GOLDEN_TEN
    assert permute_one(123_456_789, 10**10, 7) == GOLDEN_ONE
    assert shuffled(8, 7).tolist() == GOLDEN_SHUFFLED


GOLDEN_TEN = [7, 4, 2, 8, 3, 6, 5, 0, 9, 1]
GOLDEN_ONE = 9_671_613_939
GOLDEN_SHUFFLED = [0, 2, 3, 4, 7, 6, 1, 5]


@pytest.mark.parametrize("index", [-1, 5])
def test_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute(index, 5, 1)
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute_one(index, 5, 1)
