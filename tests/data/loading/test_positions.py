"""Parity with transformers' own `get_rope_index`, which the exported model will use."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.positions import VisionSpan, interleaving, rope_positions
from expedition.plan.media import MediaRule

IMAGE, VIDEO, AUDIO, VISION_START, VISION_END, AUDIO_START, AUDIO_END = range(1, 8)
RULE = MediaRule()

text = st.tuples(st.just("text"), st.integers(0, 5), st.none())
image = st.tuples(st.just("image"), st.integers(1, 4), st.integers(1, 4))
video = st.tuples(st.just("video"), st.integers(1, 4), st.sampled_from([0.5, 1.0, 3.0, 4.0, 7.3, 30.0]))
audio = st.tuples(st.just("audio"), st.integers(1, 450), st.none())
documents = st.lists(st.one_of(text, image, video, audio), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def reference():
    modeling = pytest.importorskip("transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe")
    config = SimpleNamespace(
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        vision_start_token_id=VISION_START,
        audio_start_token_id=AUDIO_START,
        position_id_per_seconds=RULE.position_id_per_seconds,
        audio_config=SimpleNamespace(n_window=50),
    )
    model = SimpleNamespace(config=config, spatial_merge_size=RULE.merge)
    cls = modeling.Qwen3OmniMoePreTrainedModelForConditionalGeneration
    model.get_llm_pos_ids_for_vision = lambda *arguments: cls.get_llm_pos_ids_for_vision(model, *arguments)
    return lambda **arguments: cls.get_rope_index(model, **arguments)


def assembled(parts) -> tuple[list[int], list[VisionSpan], dict[str, list]]:
    """Tokens, spans and transformers' arguments of a document."""
    tokens: list[int] = [9]
    spans: list[VisionSpan] = []
    given_: dict[str, list] = {"image": [], "video": [], "seconds": [], "audio": []}
    for kind, size, extra in parts:
        if kind == "text":
            tokens += [9] * size
        elif kind == "audio":
            tokens += [AUDIO_START] + [AUDIO] * RULE.audio_tokens(size) + [AUDIO_END]
            given_["audio"].append(size)
        else:
            grid = (1, 2 * size, 2 * extra) if kind == "image" else (size, 4, 6)
            step = RULE.video_time_step(extra) if kind == "video" else 1
            spans.append(VisionSpan(len(tokens) + 1, grid, step))
            pad = IMAGE if kind == "image" else VIDEO
            tokens += [VISION_START] + [pad] * (grid[0] * grid[1] * grid[2] // 4) + [VISION_END]
            given_[kind].append(grid)
            if kind == "video":
                given_["seconds"].append(RULE.second_per_grid(step))
    return [*tokens, 9], spans, given_


heard = st.tuples(st.just("heard"), st.integers(1, 5), st.sampled_from([0.5, 1.0, 3.0, 4.0, 30.0]), st.integers(1, 350))
with_sound = st.lists(st.one_of(text, image, heard), min_size=1, max_size=5)


@given(parts=with_sound)
@settings(max_examples=80, deadline=None)
def test_positions_of_clips_with_their_sound_equal_those_of_transformers(reference, parts) -> None:
    """Tokens in the order of `interleaving`, positions by `use_audio_in_video`."""
    import torch

    tokens: list[int] = [9]
    spans: list[VisionSpan] = []
    given_: dict[str, list] = {"image": [], "video": [], "seconds": [], "audio": []}
    for kind, *sizes in parts:
        if kind == "text":
            tokens += [9] * sizes[0]
            continue
        step = RULE.video_time_step(sizes[1]) if kind == "heard" else 1
        grid = (1, 2 * sizes[0], 2 * sizes[1]) if kind == "image" else (sizes[0], 4, 6)
        sound = RULE.audio_tokens(sizes[2]) if kind == "heard" else 0
        given_["image" if kind == "image" else "video"].append(grid)
        if kind == "image":
            spans.append(VisionSpan(len(tokens) + 1, grid))
            tokens += [VISION_START] + [IMAGE] * (grid[1] * grid[2] // 4) + [VISION_END]
            continue
        given_["audio"].append(sizes[2])
        given_["seconds"].append(RULE.second_per_grid(step))
        spans.append(VisionSpan(len(tokens) + 2, grid, step, sound))
        shown = interleaving(spans[-1], RULE.merge)
        assert shown.sum() == grid[0] * 6 and len(shown) == shown.sum() + sound
        tokens += [VISION_START, AUDIO_START, *np.where(shown, VIDEO, AUDIO).tolist(), AUDIO_END, VISION_END]
    tokens.append(9)
    expected, _ = reference(
        input_ids=torch.tensor([tokens]),
        image_grid_thw=torch.tensor(given_["image"]) if given_["image"] else None,
        video_grid_thw=torch.tensor(given_["video"]) if given_["video"] else None,
        attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
        use_audio_in_video=True,
        audio_seqlens=torch.tensor(given_["audio"]) if given_["audio"] else None,
        second_per_grids=torch.tensor(given_["seconds"]) if given_["seconds"] else None,
    )
    ours = rope_positions(len(tokens), spans, RULE.merge)
    np.testing.assert_allclose(ours, expected[:, 0].numpy(), atol=1e-3)


@given(parts=documents)
@settings(max_examples=80, deadline=None)
def test_positions_equal_those_of_transformers(reference, parts) -> None:
    import torch

    tokens, spans, media = assembled(parts)
    expected, _ = reference(
        input_ids=torch.tensor([tokens]),
        image_grid_thw=torch.tensor(media["image"]) if media["image"] else None,
        video_grid_thw=torch.tensor(media["video"]) if media["video"] else None,
        attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
        audio_seqlens=torch.tensor(media["audio"]) if media["audio"] else None,
        second_per_grids=torch.tensor(media["seconds"]) if media["seconds"] else None,
    )
    ours = rope_positions(len(tokens), spans, RULE.merge)
    np.testing.assert_allclose(ours, expected[:, 0].numpy(), atol=1e-3)


def test_text_counts_on_in_all_three() -> None:
    assert rope_positions(4, [], 2).tolist() == [[0, 1, 2, 3]] * 3


def test_text_after_a_picture_goes_on_behind_its_longer_side() -> None:
    positions = rope_positions(2 + 8 + 1, [VisionSpan(2, (1, 4, 8))], 2)
    assert positions[:, 2].tolist() == [2, 2, 2]
    assert positions[:, 9].tolist() == [2, 3, 5]
    assert positions[:, 10].tolist() == [6, 6, 6]


def test_temporal_step_is_whole_and_never_zero() -> None:
    assert RULE.model_copy(update={"position_id_per_seconds": 25}).video_time_step(4.0) == 12
    assert RULE.video_time_step(1000.0) == 1


@pytest.mark.parametrize("spans", [[VisionSpan(8, (1, 4, 4))], [VisionSpan(4, (1, 4, 4)), VisionSpan(5, (1, 2, 2))]])
def test_span_that_does_not_fit_is_an_error(spans) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rope_positions(10, spans, 2)
