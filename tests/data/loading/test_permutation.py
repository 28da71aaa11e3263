import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.permutation import derive_key, permute, permute_one

sizes = st.integers(1, 3000)
keys = st.integers(0, 2**64 - 1)


@given(sizes, keys)
@settings(max_examples=60, deadline=None)
def test_every_key_gives_a_bijection(size: int, key: int) -> None:
    assert sorted(permute(np.arange(size), size, key).tolist()) == list(range(size))


@given(st.integers(1, 2**60), keys, st.data())
@settings(max_examples=80, deadline=None)
def test_one_at_a_time_gives_the_same(size: int, key: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    image = permute_one(index, size, key)
    assert 0 <= image < size
    assert image == int(permute(index, size, key))


def test_different_keys_give_different_orders() -> None:
    first, second = (permute(np.arange(1000), 1000, derive_key("order", seed)) for seed in (1, 2))
    assert (first == second).sum() < 20


def test_neighbours_are_scattered() -> None:
    image = permute(np.arange(10_000), 10_000, 5)
    assert abs(np.corrcoef(np.arange(10_000), image)[0, 1]) < 0.03
    assert abs(np.corrcoef(image[:-1], image[1:])[0, 1]) < 0.03


def test_order_of_runs_on_record_never_changes() -> None:
    """Every run on record relies on these values: another permutation would resume on other data."""
    assert permute(np.arange(10), 10, 7).tolist() == [3, 0, 8, 6, 5, 1, 2, 4, 9, 7]
    assert permute_one(123_456_789, 10**10, 7) == 9_811_182_186


@pytest.mark.parametrize("index", [-1, 5])
def test_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute(index, 5, 1)
    with pytest.raises(ValueError, match=r"0\.\.4"):
        permute_one(index, 5, 1)
