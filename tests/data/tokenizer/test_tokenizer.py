"""Tokenizer: the genuine ids, a compact part of them, and no way from text to a special token."""

from __future__ import annotations

import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.tokenizer import Tokenizer, compact, count_ids, qwen_vocabulary, special_table
from expedition.data.tokenizer.fast import (
    PROBES,
    Encoder,
    ReferenceEncoder,
    SafeEncoder,
    TiktokenEncoder,
    choose_encoder,
)
from expedition.data.tokenizer.qwen import parts_from_ranks, read_ranks
from expedition.data.tokenizer.vocabulary import tokenizer_json
from expedition.errors import InputError, UsageError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.fixture(scope="module")
def whole() -> Tokenizer:
    return Tokenizer(qwen_vocabulary(), padded_size=152_064)


@pytest.fixture(scope="module")
def small(whole: Tokenizer) -> Tokenizer:
    counts = count_ids(whole.encode_batch(PROBES * 3), len(whole.vocabulary))
    return Tokenizer(compact(whole.vocabulary, counts, 1024))


def test_vocabulary_is_valid_and_whole(whole: Tokenizer) -> None:
    whole.vocabulary.check()
    assert len(whole.vocabulary) == 151_643
    assert len(whole.vocabulary.parts) == 151_387


def test_known_ids_of_qwen(whole: Tokenizer) -> None:
    """Ids of the released Qwen2.5/Qwen3 tokenizers, which every exported checkpoint relies on."""
    assert whole.encode("Hello world").tolist() == [9707, 1879]
    assert whole.encode("你好").tolist() == [108386]
    for name, number in {
        "<|endoftext|>": 151_643,
        "<|im_start|>": 151_644,
        "<|vision_start|>": 151_652,
        "<|image_pad|>": 151_655,
        "<|video_pad|>": 151_656,
        "</think>": 151_668,
        "<|audio_start|>": 151_669,
        "<|image|>": 151_672,
    }.items():
        assert whole.special(name) == number
    assert whole.special("<|action_255|>") < 152_064 == whole.size


def test_ids_equal_the_reference_on_every_script(whole: Tokenizer) -> None:
    reference = ReferenceEncoder(tokenizer_json(whole.vocabulary, []))
    for text, ids in zip(PROBES, reference.encode_batch(PROBES), strict=True):
        assert whole.encode(text).tolist() == ids.tolist()


MARKED = st.lists(
    st.one_of(
        st.characters(categories=["Mn", "Mc", "Cn"], max_codepoint=0x1FFFF),
        st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs"]),
        st.sampled_from("\u0323\u0301\u05b0\u093c\u3099\u0334\u0345 a1"),
    ),
    max_size=24,
).map("".join)
"""Texts whose marks stand in every order: where tables of different Unicode versions disagree."""


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(TEXTS, MARKED))
def test_every_encoder_equals_the_reference(small: Tokenizer, whole: Tokenizer, text: str) -> None:
    for tokenizer in (small, whole):
        fast, other, reference = _encoders(tokenizer)
        expected = reference.encode_batch([text])[0].tolist()
        assert fast.encode_batch([text])[0].tolist() == expected
        assert other.encode_batch([text])[0].tolist() == expected


_ENCODERS: dict[str, tuple[Encoder, Encoder, ReferenceEncoder]] = {}


def _encoders(tokenizer: Tokenizer) -> tuple[Encoder, Encoder, ReferenceEncoder]:
    if tokenizer.fingerprint not in _ENCODERS:
        reference = ReferenceEncoder(tokenizer_json(tokenizer.vocabulary, []))
        other = SafeEncoder(TiktokenEncoder(tokenizer.vocabulary), lambda: reference)
        _ENCODERS[tokenizer.fingerprint] = choose_encoder(tokenizer.vocabulary), other, reference
    return _ENCODERS[tokenizer.fingerprint]


def test_the_fast_encoder_is_in_use(whole: Tokenizer) -> None:
    assert whole.encoder_name.startswith("gigatoken")


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_compact_round_trip(small: Tokenizer, text: str) -> None:
    assert small.decode(small.encode(text)) == unicodedata.normalize("NFC", text)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_compact_spells_the_same_pieces_when_all_are_kept(whole: Tokenizer, text: str) -> None:
    ids = whole.encode(text)
    counts = count_ids([ids], len(whole.vocabulary))
    part = Tokenizer(compact(whole.vocabulary, counts, 100_000))
    part._checked_encoder = whole.encoder_name
    pieces = [whole.vocabulary.tokens[number] for number in ids]
    assert [part.vocabulary.tokens[number] for number in part.encode(text)] == pieces


@pytest.mark.parametrize("entries", [256, 257, 300, 512, 1024])
def test_compact_is_valid_and_within_its_cap(whole: Tokenizer, entries: int) -> None:
    counts = count_ids(whole.encode_batch(PROBES), len(whole.vocabulary))
    part = compact(whole.vocabulary, counts, entries)
    part.check()
    assert len(part) <= entries
    with pytest.raises(UsageError, match="256"):
        compact(whole.vocabulary, counts, 255)


def test_special_text_stays_text(small: Tokenizer, whole: Tokenizer) -> None:
    for tokenizer in (small, whole):
        for name in tokenizer.specials:
            ids = tokenizer.encode(f"a {name} b")
            assert ids.max() < len(tokenizer.vocabulary)
            assert tokenizer.decode(ids) == f"a {name} b"


def test_decode_names_specials_and_refuses_foreign_ids(small: Tokenizer) -> None:
    assert small.decode([*small.encode("a"), small.special("<|image|>"), small.size - 1]) == "a<|image|>"
    with pytest.raises(UsageError, match="outside"):
        small.decode([small.size])
    with pytest.raises(UsageError, match=r"did you mean <\|image\|>"):
        small.special("<|imag|>")


@pytest.mark.parametrize("which", ["small", "whole"])
def test_saved_folder_loads_here_and_in_transformers(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer: Tokenizer = request.getfixturevalue(which)
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.fingerprint == tokenizer.fingerprint
    for text in PROBES[:8]:
        assert theirs(text, add_special_tokens=False)["input_ids"] == again.encode(text).tolist()
    for name, number in tokenizer.specials.items():
        assert theirs.convert_tokens_to_ids(name) == number
    assert theirs.eos_token == "<|im_end|>"
    assert theirs.pad_token_id == tokenizer.end_of_text


def test_saved_bytes_are_equal_and_damage_is_noticed(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path / "a")
    Tokenizer.load(tmp_path / "a").save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    described = json.loads((tmp_path / "a" / "vocabulary.json").read_text())
    (tmp_path / "a" / "vocabulary.json").write_text(json.dumps({**described, "padded_size": small.size + 64}))
    with pytest.raises(InputError, match="not the one"):
        Tokenizer.load(tmp_path / "a")
    (tmp_path / "b" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="BPE"):
        Tokenizer.load(tmp_path / "b")


def test_padded_size_must_hold_the_table(small: Tokenizer) -> None:
    with pytest.raises(UsageError, match="padded_size"):
        Tokenizer(small.vocabulary, padded_size=len(small.vocabulary))


def test_ranks_that_are_no_bpe_are_refused() -> None:
    with pytest.raises(InputError, match="rank"):
        read_ranks(b"AA== 1\n")
    with pytest.raises(InputError, match="256"):
        read_ranks(b"AA== 0\n")
    with pytest.raises(InputError, match="no merge"):
        parts_from_ranks((*(bytes([value]) for value in range(256)), b"abc"))


def test_table_has_no_gap() -> None:
    rows = special_table()
    assert rows[0]["first"] == 151_643
    for before, after in itertools.pairwise(rows):
        assert int(str(after["first"])) == int(str(before["last"])) + 1
    assert np.array([row["origin"] == "qwen" for row in rows]).sum() == 26
