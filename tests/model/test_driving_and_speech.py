"""Drives and speech with phonemes are plain sequences: files → document → ids → model, and from ids back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.decode.companion import Companion
from expedition.data.decode.media import sound_pieces
from expedition.data.decode.piece import Piece
from expedition.data.decode.rules import DecodeRules
from expedition.data.decode.trajectory import CURVATURE, SPEED, ActionCode
from expedition.data.loading.prompt import make_batch, stored_tokens
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.records import CAMERAS, PLACEHOLDER, Insert
from expedition.data.stages.driving.actions import code_of
from expedition.data.tokenizer import Tokenizer, Vocabulary, read_actions, read_phonemes
from expedition.model.config import OmniConfig
from expedition.model.generation import generate, prompt_tensors
from expedition.model.omni import OmniModel
from expedition.model.sampling import Stopping
from expedition.plan.media import MediaRule
from expedition.plan.shapes import TokenIds
from tests.data.decode.test_driving import drive
from tests.data.decode.test_media import sound_file
from tests.train.tiny import tiny_shape

RULE = MediaRule()
RADIUS_M, SPEED_M_PER_S, STEP_S = 50.0, 10.0, 0.5


BYTES = Tokenizer(Vocabulary(tuple(bytes([value]) for value in range(256)), np.zeros((0, 2), np.int32)))
"""A token a byte, then the special tokens with all 256 action bins."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return BYTES


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> OmniModel:
    ids = TokenIds.from_tokenizer(tokenizer.special)
    return OmniModel(OmniConfig.from_plan(tiny_shape(), RULE, ids, tokenizer.size), seed=3).eval()


def bend() -> list[list[float]]:
    """Way points (s, m, m) of a steady left bend."""
    angles = [SPEED_M_PER_S * number * STEP_S / RADIUS_M for number in range(9)]
    return [
        [number * STEP_S, RADIUS_M * math.sin(angle), RADIUS_M * (1 - math.cos(angle))]
        for number, angle in enumerate(angles)
    ]


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Piece:
    """A drive of six clips and a trajectory, as decoding makes it of files."""
    from expedition.data.decode.driving import drive_piece

    return drive_piece(drive(tmp_path_factory.mktemp("drive"), CAMERAS, bend()), DecodeRules.for_media(RULE))


def test_a_drive_goes_to_tokens_and_back(driven: Piece, tokenizer: Tokenizer) -> None:
    """Six streams after their camera tokens, the words, and a trajectory within half a bin of the one that was driven."""
    stored = stored_tokens(driven.text, driven.inserts, tokenizer)
    cameras = {tokenizer.special(f"<|camera_{name}|>"): name for name in CAMERAS}
    places = [place for place, token in enumerate(stored.tolist()) if token in cameras]
    assert [cameras[stored[place]] for place in places] == list(CAMERAS)
    assert all(stored[place + 1] == tokenizer.special("<|video|>") for place in places)
    code = code_of(driven.meta["actions"])
    assert code is not None and code.step_s == STEP_S
    steps = code.decode(read_actions(tokenizer, stored))
    assert len(steps) == 8
    assert all(abs(step[SPEED.name] - SPEED_M_PER_S) < 40 / 256 + 0.1 for step in steps)
    assert all(abs(step[CURVATURE.name] - 1 / RADIUS_M) < 0.4 / 256 + 1e-3 for step in steps[1:])
    assert code.encode(steps) == read_actions(tokenizer, stored)
    assert "a bend" in tokenizer.decode(stored)


def test_a_drive_trains_on_every_action_and_sees_every_camera(
    driven: Piece, tokenizer: Tokenizer, model: OmniModel
) -> None:
    """One row: six clips in the order of their tokens, each action the label of the position before it."""
    batch = make_batch([(driven.text, driven.inserts)], tokenizer, RULE, end=True)
    assert batch.is_video_G.tolist() == [True] * 6
    actions = read_actions(tokenizer, batch.tokens_BS[0])
    first = batch.tokens_BS[0].tolist().index(tokenizer.special(f"<|action_{actions[0]:03d}|>"))
    assert read_actions(tokenizer, batch.labels_BS[0]) == actions
    assert batch.labels_BS[0, first - 1] == batch.tokens_BS[0, first]
    inputs = prompt_tensors(batch, torch.device("cpu"))
    with torch.no_grad():
        whole = model(**inputs).hidden_BSH[0, first - 1]
        for camera in range(6):
            patches = inputs["patches_PC"].clone()
            size = len(patches) // 6
            patches[camera * size : (camera + 1) * size] *= -1
            changed = model(**{**inputs, "patches_PC": patches}).hidden_BSH[0, first - 1]
            assert not torch.equal(changed, whole), f"the action does not see camera {camera}"


def test_actions_are_generated_and_read(driven: Piece, tokenizer: Tokenizer, model: OmniModel) -> None:
    """A model whose head gives the actions in turn: what it generates after the cameras is a trajectory again."""
    actions = read_actions(tokenizer, stored_tokens(driven.text, driven.inserts, tokenizer))
    streams = len(driven.inserts) - len(actions)
    prompt = (driven.text[: len(driven.text) - len(actions)], driven.inserts[:streams])
    batch = make_batch([prompt], tokenizer, RULE)
    turn = iter([*(tokenizer.special(f"<|action_{number:03d}|>") for number in actions), tokenizer.end_of_text])

    def head(hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.full(hidden.shape[:-1], next(turn)), tokenizer.size).float()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "head", head)
        made = generate(model, batch, len(actions) + 4, stopping=Stopping())
    assert read_actions(tokenizer, made[0]) == actions
    assert ActionCode().encode(ActionCode().decode(read_actions(tokenizer, made[0]))) == actions


def test_speech_with_phonemes_goes_to_tokens_and_back(tokenizer: Tokenizer, model: OmniModel) -> None:
    told = Companion(text="Soda, please", ipa="ˈsoʊdə pliːz")
    (piece,) = sound_pieces(sound_file("WAV", 16_000, 0.6), told, DecodeRules.for_media(RULE))
    assert isinstance(piece, Piece)
    batch = make_batch([(piece.text, piece.inserts)], tokenizer, RULE, end=True)
    row = batch.tokens_BS[0][batch.document_BS[0] > 0]
    assert read_phonemes(tokenizer, row) == [told.ipa]
    start = row.tolist().index(tokenizer.special("<|audio_end|>")) + 1
    stop = row.tolist().index(tokenizer.special("<|ipa_phoneme|>"))
    assert tokenizer.decode(row[start:stop]).strip() == told.text
    labels = batch.labels_BS[0]
    assert read_phonemes(tokenizer, labels[labels >= 0]) == [told.ipa], "the span is learnt, its opening too"
    with torch.no_grad():
        assert model(**prompt_tensors(batch, torch.device("cpu"))).hidden_BSH.isfinite().all()


words = st.text(st.characters(codec="utf-8", exclude_characters=PLACEHOLDER), max_size=12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            words,
            st.tuples(st.just("ipa"), words, st.booleans()),
            st.lists(st.integers(0, 255), min_size=1, max_size=9),
        ),
        max_size=6,
    )
)
def test_any_mix_of_text_phonemes_and_actions_is_read_back(parts: list[object]) -> None:
    """Spans by hypothesis: closed by their end token or by what follows; text that spells a token stays text."""
    tokenizer = BYTES
    text, inserts, phonemes, actions, spoken = "", [], [], [], False
    for part in parts:
        if isinstance(part, str):
            text += part
            if phonemes and spoken:
                phonemes[-1] += part
        elif isinstance(part, tuple):
            _, ipa, closed = part
            phonemes.append(ipa)
            inserts.append(Insert("special", "<|ipa_phoneme|>"))
            text += PLACEHOLDER + ipa
            if closed:
                inserts.append(Insert("special", "<|ipa_end|>"))
                text += PLACEHOLDER
            spoken = not closed
        else:
            assert isinstance(part, list)
            inserts += [Insert("special", f"<|action_{number:03d}|>") for number in part]
            text += PLACEHOLDER * len(part)
            actions.append(list(part))
            spoken = False
    stored = stored_tokens(text, inserts, tokenizer)
    nfc = [read.encode() for read in read_phonemes(tokenizer, stored)]
    assert nfc == [tokenizer.decode(tokenizer.encode(ipa)).encode() for ipa in phonemes]
    found = read_actions(tokenizer, stored)
    assert found[: len(actions[0])] == actions[0] if actions else found == []
    assert MediaTokenIds.from_special(tokenizer.special).image not in stored
