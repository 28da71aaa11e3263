"""How tokens are picked: against transformers' own processors of logits, and against the distribution itself."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expedition.errors import UsageError
from expedition.model.sampling import Sampling, Stopping, draw, generators, kept_logits, pick

CPU = torch.device("cpu")


def some_logits(seed: int, rows: int = 4, size: int = 12) -> Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * 3


def theirs(logits: Tensor, tokens: Tensor, sampling: Sampling) -> Tensor:
    """Logits after transformers' processors, in the order in which its `generate` runs them."""
    from transformers.generation import logits_process as hf

    steps: list[object] = []
    if sampling.repetition_penalty != 1:
        steps.append(hf.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    steps.append(hf.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        steps.append(hf.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(hf.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        steps.append(hf.MinPLogitsWarper(sampling.min_p))
    for step in steps:
        logits = step(tokens, logits)  # type: ignore[operator]
    return logits


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**31),
    st.builds(
        Sampling,
        temperature=st.sampled_from([0.3, 1.0, 1.7]),
        top_k=st.integers(0, 14),
        top_p=st.sampled_from([0.3, 0.8, 1.0]),
        min_p=st.sampled_from([0.0, 0.05, 0.4]),
        repetition_penalty=st.sampled_from([0.8, 1.0, 1.3]),
    ),
)
def test_what_may_be_drawn_equals_transformers(seed: int, sampling: Sampling) -> None:
    """The same tokens are left, with the same logits. Random float32 logits do not tie with a cut."""
    logits = some_logits(seed)
    tokens = torch.randint(0, 12, (4, 5), generator=torch.Generator().manual_seed(seed))
    seen = torch.zeros(4, 12, dtype=torch.bool).scatter(1, tokens, True)
    ours, expected = kept_logits(logits, sampling, seen), theirs(logits, tokens, sampling)
    assert torch.equal(ours.isfinite(), expected.isfinite())
    assert torch.equal(ours[ours.isfinite()], expected[expected.isfinite()])


def test_draws_follow_the_distribution() -> None:
    """Chi-square over 6 tokens and 20,000 draws: below the 0.999 quantile with 5 degrees of freedom, for each stream.

    The draws of one stream one after the other, and the first draws of 20,000 streams with neighbouring seeds: streams
    that resembled each other would fail the second.
    """
    probability = torch.tensor([0.4, 0.25, 0.2, 0.1, 0.04, 0.01])
    count = 20_000
    logits = probability.log()
    (stream,) = generators(Sampling(seed=3), 1, CPU)
    along = torch.tensor([int(draw(logits[None], [stream])) for _ in range(count)])
    across = draw(logits.expand(count, -1), generators(Sampling(seed=7), count, CPU))
    for drawn in (along, across):
        expected = probability * count
        seen = torch.bincount(drawn, minlength=6)
        assert float(((seen - expected) ** 2 / expected).sum()) < 20.5


def test_neighbouring_streams_are_independent() -> None:
    """Pairs of (sequence i, sequence i + 1): chi-square over 9 cells, 8 degrees of freedom, 0.999 quantile 26.1."""
    probability = torch.tensor([0.5, 0.3, 0.2])
    drawn = draw(probability.log().expand(20_000, -1), generators(Sampling(), 20_000, CPU))
    pairs = torch.bincount(drawn[:-1] * 3 + drawn[1:], minlength=9)
    expected = torch.tensor([a * b for a, b in itertools.product(probability.tolist(), repeat=2)]) * 19_999
    assert float(((pairs - expected) ** 2 / expected).sum()) < 26.1


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0.05, 1.0), st.floats(0.0, 1.0))
def test_cuts_keep_what_they_say(seed: int, top_k: int, top_p: float, min_p: float) -> None:
    logits = some_logits(seed)
    sampling = Sampling(1.0, top_k, top_p, min_p, seed=seed % 1000)
    token = pick(logits, sampling, generators(sampling, 4, CPU), torch.zeros_like(logits, dtype=torch.bool))
    probabilities = logits.softmax(-1)
    for row in range(4):
        better = logits[row] > logits[row, token[row]]
        kept = logits[row] >= logits[row].topk(top_k).values[-1]
        assert int(better.sum()) < top_k
        assert float(probabilities[row][better].sum() / probabilities[row][kept].sum()) < top_p + 1e-5
        assert probabilities[row, token[row]] >= min_p * probabilities[row].max() * (1 - 1e-5)


def test_the_penalty_acts_on_the_most_likely_token_too() -> None:
    logits = torch.tensor([[2.0, 1.9, -1.0], [-0.1, -0.2, -3.0]])
    seen = torch.tensor([[True, False, False], [True, False, False]])
    assert pick(logits, Sampling(), [], seen).tolist() == [0, 0]
    assert pick(logits, Sampling(repetition_penalty=3.0), [], seen).tolist() == [1, 1]


def test_a_row_draws_the_same_whatever_its_neighbours() -> None:
    logits = some_logits(5, rows=6, size=40)
    together = draw(logits, generators(Sampling(seed=20), 6, CPU))
    alone = [int(draw(logits[row : row + 1], generators(Sampling(seed=20 + row), 1, CPU))) for row in range(6)]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}, {"min_p": -0.1}, {"min_p": 1.1},
        {"repetition_penalty": 0.0},
    ],
)  # fmt: skip
def test_impossible_sampling_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(field))} is"):
        Sampling(**field)  # type: ignore[arg-type]


def test_stop_strings_need_a_tokenizer_and_content() -> None:
    with pytest.raises(UsageError, match="need a tokenizer"):
        Stopping(strings=("x",))
    with pytest.raises(UsageError, match="empty stop string"):
        Stopping(strings=("",), decode=str)
