"""Names of checkpoints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.train.saving.name import checkpoint_name, is_checkpoint_name


@pytest.mark.parametrize(
    ("tokens", "step_tokens", "name"),
    [
        (1_500_003_123_200, 16_777_216, "checkpoint_1.5T_tokens"),
        (262_144, 4_096, "checkpoint_262k_tokens"),
        (500_000_000_000, 16_777_216, "checkpoint_500B_tokens"),
        (0, 4_096, "checkpoint_0_tokens"),
        (96, 32, "checkpoint_96_tokens"),
    ],
)
def test_names_that_people_and_scripts_rely_on(tokens: int, step_tokens: int, name: str) -> None:
    assert checkpoint_name(tokens, step_tokens) == name


@given(
    st.integers(1, 1 << 26), st.lists(st.integers(0, 1 << 22), min_size=2, max_size=30, unique=True), st.integers(0, 7)
)
def test_no_two_checkpoints_share_a_name(step_tokens: int, steps: list[int], extra: int) -> None:
    tokens = {step * step_tokens * (1 + extra) for step in steps}
    names = [checkpoint_name(count, step_tokens) for count in tokens]
    assert len(set(names)) == len(tokens)
    assert all(is_checkpoint_name(name) for name in names)
