"""Generation against transformers' own, and what sampling promises."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.errors import UsageError
from expedition.model.generation import Sampling, generate, generate_stream, pick

from .inputs import CONFIG, Inputs, Row, Writer, pack, randomised, transformers_thinker


def arrays(inputs: Inputs) -> SimpleNamespace:
    """Tensors as the loader would give them: numpy arrays by name."""
    return SimpleNamespace(**{name: tensor.numpy() for name, tensor in inputs.ours.items()})


def prompts(thinker: object) -> Inputs:
    w = Writer(seed=3)
    rows = [
        w.text(w.image(w.text(Row(), 4), 4, 6), 3),
        w.text(Row(), 9),
        w.text(w.audio(w.video(w.text(Row(), 2), 2, 4, 4), 143), 4),
    ]
    return pack(rows, thinker, seed=4)


def test_greedy_equals_transformers_over_200_steps() -> None:
    """Token by token over a mixed, left-padded batch: caches, positions after media and padding all must be right."""
    model = randomised(seed=2)
    thinker = transformers_thinker(model)
    inputs = prompts(thinker)
    ours = generate(model, arrays(inputs), 200, eos=[])
    theirs = thinker.generate(**inputs.theirs, max_new_tokens=200, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert ours.shape == (3, 200)
    assert len(np.unique(ours)) > 20, "a model that repeats itself would prove little"
    assert np.array_equal(ours, theirs[:, inputs.ours["tokens_BS"].shape[1] :].numpy())


def test_cached_steps_equal_one_forward_pass() -> None:
    model = randomised(seed=2)
    inputs = prompts(transformers_thinker(model))
    new = torch.from_numpy(generate(model, arrays(inputs), 12, eos=[]))
    whole = dict(inputs.ours)
    last = whole["positions_3BS"].amax((0, 2))
    after = last[None, :, None] + torch.arange(1, 12)
    whole["tokens_BS"] = torch.cat((whole["tokens_BS"], new[:, :-1]), dim=1)
    whole["positions_3BS"] = torch.cat((whole["positions_3BS"], after.expand(3, -1, -1)), dim=2)
    whole["document_BS"] = torch.nn.functional.pad(whole["document_BS"], (0, 11), value=1)
    with torch.no_grad():
        logits = model.head(model(**whole).hidden_BSH)[:, -12:]
    assert torch.equal(logits.argmax(-1), new)


def test_side_of_padding_does_not_matter() -> None:
    model = randomised(seed=2)
    inputs = prompts(transformers_thinker(model))
    left = arrays(inputs)
    right = SimpleNamespace(**vars(left))
    for name in ("tokens_BS", "document_BS", "positions_3BS"):
        rows = getattr(left, name).copy()
        for row, real in enumerate(inputs.real_BS.sum(1).tolist()):
            rows[..., row, :] = np.roll(rows[..., row, :], real, axis=-1)
        setattr(right, name, rows)
    assert np.array_equal(generate(model, left, 30, eos=[]), generate(model, right, 30, eos=[]))


def test_rows_end_at_their_own_end_token() -> None:
    model = randomised(seed=2)
    inputs = arrays(prompts(transformers_thinker(model)))
    free = generate(model, inputs, 20, eos=[])
    end = int(free[0, 4])
    first = [int(np.argmax(row == end)) if end in row else 20 for row in free]
    ended = generate(model, inputs, 20, eos=[end])
    for row in range(3):
        stop = first[row] + 1
        assert np.array_equal(ended[row, :stop], free[row, :stop][: ended.shape[1]])
        assert (ended[row, stop:] == CONFIG.token_ids.end_of_text).all()


def test_sampling_repeats_with_its_seed_and_streams_the_same_tokens() -> None:
    model = randomised(seed=2)
    inputs = arrays(prompts(transformers_thinker(model)))
    sampling = Sampling(temperature=0.8, top_k=20, top_p=0.9, seed=11)
    first = generate(model, inputs, 10, sampling, eos=[])
    assert np.array_equal(first, np.stack(list(generate_stream(model, inputs, 10, sampling, eos=[])), axis=1))
    assert not np.array_equal(first, generate(model, inputs, 10, Sampling(temperature=0.8, seed=12), eos=[]))


def test_two_documents_in_a_prompt_row_are_refused() -> None:
    model = randomised()
    inputs = arrays(prompts(transformers_thinker(model)))
    inputs.document_BS = np.where(inputs.document_BS > 0, 2, 0).astype(np.int32)
    with pytest.raises(UsageError, match="one document"):
        generate(model, inputs, 2)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.floats(0.05, 1.0))
def test_top_k_and_top_p_keep_what_they_say(seed: int, top_k: int, top_p: float) -> None:
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(seed)) * 3
    token = pick(logits, Sampling(1.0, top_k, top_p), torch.Generator().manual_seed(seed))
    probabilities = logits.softmax(-1)
    for row in range(4):
        better = logits[row] > logits[row, token[row]]
        kept = logits[row] >= logits[row].topk(top_k).values[-1]
        assert int(better.sum()) < top_k
        mass_before = float(probabilities[row][better].sum() / probabilities[row][kept].sum())
        assert mass_before < top_p + 1e-5


@pytest.mark.parametrize("field", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_sampling_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(field))):
        Sampling(**field)  # type: ignore[arg-type]
