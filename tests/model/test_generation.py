"""Generation against transformers' own, and what batches, seeds and ends promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from expedition.errors import UsageError
from expedition.model.generation import generate, generate_stream
from expedition.model.sampling import Sampling, Stopping

from .inputs import CONFIG, MIDDLE, Inputs, Row, Writer, pack, randomised, transformers_thinker

FREE = Stopping(token_ids=())
"""Nothing ends a sequence."""


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


def every_modality(w: Writer) -> list[Row]:
    """A row each of text, image, several images, video, audio, and all of them."""
    several = w.text(Row(), 2)
    for rows, columns in ((4, 4), (2, 8), (6, 4)):
        several = w.text(w.image(several, rows, columns), 2)
    return [
        w.text(Row(), 19),
        w.text(w.image(w.text(Row(), 5), 6, 4), 7),
        several,
        w.text(w.video(w.text(Row(), 3), 3, 4, 4, seconds=0.7), 5),
        w.text(w.audio(w.text(Row(), 3), 237), 4),
        w.text(w.audio(w.video(w.image(w.text(Row(), 1), 2, 2), 2, 4, 4), 143), 2),
    ]


def clip_with_its_sound(w: Writer) -> list[Row]:
    return [
        w.text(w.video_with_audio(w.text(Row(), 3), (3, 4, 4), 190, seconds=0.5), 6),
        w.text(w.video_with_audio(w.text(Row(), 8), (2, 4, 4), 110), 2),
    ]


@pytest.mark.parametrize("rows", [every_modality, clip_with_its_sound], ids=lambda rows: rows.__name__)
def test_greedy_equals_transformers_over_200_steps(rows: Callable[[Writer], list[Row]]) -> None:
    """Token by token over a ragged, left-padded batch: caches, positions after media and padding all must be right."""
    model = randomised(MIDDLE, seed=5)
    thinker = transformers_thinker(model)
    inputs = pack(rows(Writer(MIDDLE, seed=3)), thinker, MIDDLE, seed=4)
    ours = generate(model, arrays(inputs), 200, stopping=FREE)
    theirs = thinker.generate(**inputs.theirs, max_new_tokens=200, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert ours.shape == (len(inputs.real_BS), 200)
    assert all(len(np.unique(row)) > 10 for row in ours), "a row that repeats itself would prove little"
    assert np.array_equal(ours, theirs[:, inputs.ours["tokens_BS"].shape[1] :].numpy())


def test_a_batch_gives_what_each_prompt_gives_alone() -> None:
    """Greedy and sampled: neither padding nor neighbours nor their number change a row.

    One exception belongs to the exported class: sounds of less than a second are padded to the longest of their batch
    (`plan_audio`), so each clip here has at least one whole chunk.
    """
    model = randomised(seed=2)
    rows = every_modality(Writer(seed=3))
    thinker = transformers_thinker(model)
    whole = pack(rows, thinker, seed=4)
    greedy = generate(model, arrays(whole), 16, stopping=FREE)
    sampled = generate(model, arrays(whole), 16, Sampling(temperature=0.9, top_p=0.95, seed=40), FREE)
    for number in range(len(rows)):
        alone = arrays(one_of(whole, rows, number))
        assert np.array_equal(generate(model, alone, 16, stopping=FREE)[0], greedy[number])
        lonely = Sampling(temperature=0.9, top_p=0.95, seed=40 + number)
        assert np.array_equal(generate(model, alone, 16, lonely, FREE)[0], sampled[number])


def one_of(whole: Inputs, rows: list[Row], number: int) -> Inputs:
    """One row of a packed batch without its padding, with its own media."""
    before, row = rows[:number], rows[number]
    grids, clips = (sum(len(getattr(r, name)) for r in before) for name in ("grids", "frames"))
    ours = whole.ours
    patches = [int(np.prod(grid)) for r in before for grid in r.grids]
    size = sum(int(np.prod(grid)) for grid in row.grids)
    frames = sum(sum(r.frames) for r in before)
    real = whole.real_BS[number]
    cut = {
        "tokens_BS": ours["tokens_BS"][number : number + 1, real],
        "positions_3BS": ours["positions_3BS"][:, number : number + 1, real],
        "document_BS": ours["document_BS"][number : number + 1, real],
        "patches_PC": ours["patches_PC"][sum(patches) : sum(patches) + size],
        "grid_G3": ours["grid_G3"][grids : grids + len(row.grids)],
        "is_video_G": ours["is_video_G"][grids : grids + len(row.grids)],
        "mel_MF": ours["mel_MF"][:, frames : frames + sum(row.frames)],
        "mel_lengths_A": ours["mel_lengths_A"][clips : clips + len(row.frames)],
    }
    return Inputs(cut, {}, real[real][None])


def test_cached_steps_equal_one_forward_pass() -> None:
    model = randomised(seed=2)
    inputs = prompts(transformers_thinker(model))
    new = torch.from_numpy(generate(model, arrays(inputs), 12, stopping=FREE))
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
    assert np.array_equal(generate(model, left, 30, stopping=FREE), generate(model, right, 30, stopping=FREE))


def test_rows_end_at_their_own_end_token() -> None:
    model = randomised(seed=2)
    inputs = arrays(prompts(transformers_thinker(model)))
    free = generate(model, inputs, 20, stopping=FREE)
    end = int(free[0, 4])
    first = [int(np.argmax(row == end)) if end in row else 20 for row in free]
    ended = generate(model, inputs, 20, stopping=Stopping(token_ids=(end,)))
    for row in range(3):
        stop = first[row] + 1
        assert np.array_equal(ended[row, :stop], free[row, :stop][: ended.shape[1]])
        assert (ended[row, stop:] == CONFIG.token_ids.end_of_text).all()


def test_sampling_repeats_with_its_seed_and_streams_the_same_tokens() -> None:
    model = randomised(seed=2)
    inputs = arrays(prompts(transformers_thinker(model)))
    sampling = Sampling(temperature=0.8, top_k=20, top_p=0.9, seed=11)
    first = generate(model, inputs, 10, sampling, FREE)
    assert np.array_equal(first, np.stack(list(generate_stream(model, inputs, 10, sampling, FREE)), axis=1))
    assert not np.array_equal(first, generate(model, inputs, 10, Sampling(temperature=0.8, seed=12), FREE))


def test_two_documents_in_a_prompt_row_are_refused() -> None:
    model = randomised()
    inputs = arrays(prompts(transformers_thinker(model)))
    inputs.document_BS = np.where(inputs.document_BS > 0, 2, 0).astype(np.int32)
    with pytest.raises(UsageError, match="one document"):
        generate(model, inputs, 2)


def test_several_answers_to_a_prompt_are_those_of_the_prompt_given_several_times() -> None:
    model = randomised(seed=2)
    w = Writer(seed=3)
    rows = [w.text(w.image(w.text(Row(), 4), 4, 6), 3), w.text(Row(), 9)]
    thinker = transformers_thinker(model)
    sampling = Sampling(temperature=1.0, top_k=50, repetition_penalty=1.2, seed=5)
    prompts = arrays(pack(rows, thinker, seed=4))
    several = generate(model, prompts, 12, sampling, FREE, num_return_sequences=3)
    assert several.shape == (6, 12)
    assert len({tuple(row) for row in several.tolist()}) == 6
    for number in range(6):
        moved = Sampling(temperature=1.0, top_k=50, repetition_penalty=1.2, seed=5 + number - number // 3)
        again = generate(model, prompts, 12, moved, FREE)
        assert np.array_equal(again[number // 3], several[number])


def test_stop_strings_end_a_sequence_also_across_tokens() -> None:
    model = randomised(seed=2)
    inputs = arrays(prompts(transformers_thinker(model)))
    free = generate(model, inputs, 20, stopping=FREE)

    def decode(ids: Sequence[int]) -> str:
        return "".join(f"<{number}>" for number in ids)

    across = f"{free[0, 4]}><{free[0, 5]}"
    ended = generate(model, inputs, 20, stopping=Stopping((), (across, "never"), decode))
    for row in range(3):
        text = decode(free[row])
        stop = decode(free[row]).find(across)
        steps = 20 if stop < 0 else text[: stop + len(across)].count("<")
        assert np.array_equal(ended[row, :steps], free[row, :steps][: ended.shape[1]])
        assert (ended[row, steps:] == CONFIG.token_ids.end_of_text).all()


def test_no_tokens_and_impossible_numbers() -> None:
    model = randomised()
    inputs = arrays(prompts(transformers_thinker(model)))
    assert generate(model, inputs, 0, num_return_sequences=2).shape == (6, 0)
    with pytest.raises(UsageError, match="max_new_tokens is -1"):
        generate(model, inputs, -1)
    with pytest.raises(UsageError, match="num_return_sequences is 0"):
        generate(model, inputs, 1, num_return_sequences=0)
