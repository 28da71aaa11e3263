"""The world's grammar and its split."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from expedition.sampleworld.world import (
    COLOURS,
    DIRECTIONS,
    POSITIONS,
    SHAPES,
    THINGS,
    Scene,
    Thing,
    movements,
    scenes,
    stream,
    successions,
)

SCENES = st.builds(
    Scene, st.integers(1, 3), st.sampled_from(list(COLOURS)), st.sampled_from(SHAPES), st.sampled_from(POSITIONS)
)


def test_captions_follow_one_grammar() -> None:
    assert Scene(2, "red", "circle", "left").caption == "two red circles at the left"
    assert Scene(1, "orange", "cross", "top").caption == "one orange cross at the top"
    assert Scene(3, "blue", "cross", "bottom").caption == "three blue crosses at the bottom"
    assert Thing("orange", "ring").phrase == "an orange ring"


@given(SCENES, SCENES)
def test_different_scenes_have_different_captions(one: Scene, two: Scene) -> None:
    assert (one == two) == (one.caption == two.caption)


def test_both_sides_of_the_split_are_disjoint_and_show_every_value() -> None:
    train, held = scenes(False), scenes(True)
    assert not set(train) & set(held)
    assert len(train) + len(held) == len(THINGS) * len(POSITIONS) * 3
    for side in (train, held):
        assert {s.colour for s in side} == set(COLOURS)
        assert {s.shape for s in side} == set(SHAPES)
        assert {s.position for s in side} == set(POSITIONS)
    for moving in (movements(False), movements(True)):
        assert {direction for _, direction in moving} == set(DIRECTIONS)


def test_a_thing_is_held_out_at_one_place_at_most() -> None:
    held = {(s.colour, s.shape, s.position) for s in scenes(True)}
    assert all(sum((t.colour, t.shape, p) in held for p in POSITIONS) <= 1 for t in THINGS)


def test_a_pair_is_held_out_in_both_orders() -> None:
    held = set(successions(True))
    assert held
    assert all((then, first) in held for first, then in held)
    assert all(first.colour != then.colour and first.shape != then.shape for first, then in held)


@given(st.integers(0, 2**40), st.lists(st.one_of(st.integers(0, 9), st.text(max_size=4)), max_size=3))
def test_streams_depend_on_seed_and_keys_alone(seed: int, keys: list[str | int]) -> None:
    first, again = stream(seed, *keys).integers(0, 2**62, 4), stream(seed, *keys).integers(0, 2**62, 4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, stream(seed + 1, *keys).integers(0, 2**62, 4))
