"""Labels of conversations: exactly the answers, as transformers' own mask has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.decode import DecodeRules, Piece, Raw, decode
from expedition.data.loading.answers import TurnTokens, answer_mask, learn_answers
from expedition.data.loading.expand import IGNORED, expand_document
from expedition.data.loading.media import decode_image, image_patches
from expedition.data.loading.prompt import stored_tokens
from expedition.data.loading.tokens import MediaTokenIds
from expedition.data.tokenizer import Tokenizer, compact, count_ids, qwen_vocabulary
from expedition.data.tokenizer.chat import chat_ids
from expedition.plan.media import MediaRule
from tests.data import chats

RULE = MediaRule(image_min_pixels=256)
_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffc<"), max_size=30)
_LINES = st.lists(_WORDS, min_size=1, max_size=3).map("\n".join)
TURNS = st.lists(st.tuples(st.sampled_from(["system", "user", "tool"]), _LINES, _LINES), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    whole = qwen_vocabulary()
    texts = [json.dumps(chats.row(number)) for number in range(20)] + ["assistant\nuser\nsystem\ntool\n"] * 9
    return Tokenizer(compact(whole, count_ids(Tokenizer(whole).encode_batch(texts), len(whole)), 2048))


def piece_of(messages: list[dict[str, object]]) -> Piece | None:
    data = (json.dumps({"messages": messages}) + "\n").encode()
    [found] = decode(Raw("t.jsonl", data, kind="chat"), DecodeRules())
    return found if isinstance(found, Piece) else None


@settings(max_examples=60, deadline=None)
@given(turns=TURNS)
def test_the_mask_is_that_of_the_messages(tokenizer: Tokenizer, turns: list[tuple[str, str, str]]) -> None:
    """Against `chat_ids`, which knows the messages, for any words and any order of roles."""
    asked = [{"role": role, "content": question} for role, question, _ in turns]
    answered = [{"role": "assistant", "content": answer} for _, _, answer in turns]
    messages = [message for pair in zip(asked, answered, strict=True) for message in pair]
    piece = piece_of([dict(message) for message in messages])
    if piece is None:
        assert not any(message["content"].strip() for message in answered)
        return
    tokens = stored_tokens(piece.text, piece.inserts, tokenizer).astype(np.int64)
    found = answer_mask(tokens, TurnTokens.from_tokenizer(tokenizer.special, tokenizer.encode))
    said = [part.split("\n", 1) for part in piece.text.split("\ufffc")[1::2]]
    ids, mask = chat_ids(tokenizer, [{"role": role, "content": content} for role, content in said])
    assert tokens.tolist() == ids.tolist()
    assert found.tolist() == mask.tolist()


def test_the_mask_equals_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """`return_assistant_tokens_mask` needs its own tag around answers: our template with that tag."""
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tagged = (
        "{%- for message in messages -%}\n<|im_start|>{{ message.role }}\n"
        "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}"
        "{% else %}{{ message.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
    )
    for number in range(12):
        messages = [
            {"role": message["role"], "content": message["content"].strip()}
            for message in chats.row(number)["messages"]
        ]
        expected = theirs.apply_chat_template(
            messages, chat_template=tagged, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        plain = theirs.apply_chat_template(messages, tokenize=True, return_dict=True)
        piece = piece_of(chats.row(number)["messages"])
        assert piece is not None
        tokens = stored_tokens(piece.text, piece.inserts, tokenizer).astype(np.int64)
        found = answer_mask(tokens, TurnTokens.from_tokenizer(tokenizer.special, tokenizer.encode))
        assert tokens.tolist() == plain["input_ids"] == expected["input_ids"]
        assert found.astype(int).tolist() == expected["assistant_masks"]


def test_labels_decode_to_exactly_the_answers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """With a picture in the question: its pads are not learnt, and neither is the question."""
    talks = chats.write(tmp_path / "data", 0) / "talks"
    [piece] = decode(Raw("one.jsonl", path=put(talks / "one.jsonl", chats.media_rows()[1]), kind="chat"), DecodeRules())
    assert isinstance(piece, Piece)
    ids = MediaTokenIds.from_special(tokenizer.special)
    media = [image_patches(decode_image(insert.data), RULE) for insert in piece.inserts if insert.kind == "image"]
    stored = np.append(stored_tokens(piece.text, piece.inserts, tokenizer), tokenizer.end_of_text).astype(np.int32)
    turns = TurnTokens.from_tokenizer(tokenizer.special, tokenizer.encode)
    whole = expand_document(stored, media, ids, RULE)
    document = learn_answers(whole, turns)
    labels = document.labels[document.labels != IGNORED]
    assert tokenizer.decode(labels.tolist()) == "Yes, it is a pattern of squares.<|im_end|>"
    assert (document.tokens == ids.image_pad).sum() > 0
    places = np.flatnonzero(document.labels != IGNORED)
    assert document.labels[places].tolist() == document.tokens[places + 1].tolist()
    assert (whole.labels != IGNORED).sum() > len(labels)


def put(path: Path, row: dict[str, object]) -> Path:
    path.write_text(json.dumps(row) + "\n")
    return path


def test_an_answer_that_is_cut_off_is_learnt_to_its_last_token() -> None:
    turns = TurnTokens(1, 2, (7, 8))
    tokens = np.array([1, 5, 8, 4, 2, 8, 1, 7, 8, 4, 4])
    assert answer_mask(tokens, turns).tolist() == [False] * 9 + [True] * 2
    assert not answer_mask(np.array([7, 8, 4, 2]), turns).any()
