"""Conversations: every way of writing them gives one form, and what cannot be learnt is refused by its reason."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expedition.data.decode import DecodeRules, Fault, Piece, Raw, Reason, decode
from expedition.data.decode.chat import media_names
from expedition.data.records import PLACEHOLDER as O
from expedition.data.sources import discover
from expedition.data.sources.items import list_items
from tests.data import chats

RULES = DecodeRules()


def told(*turns: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **more}


def lines(*rows: Any, path: Path | None = None) -> list[Piece | Fault]:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path is None:
        return list(decode(Raw("talks.jsonl", data, kind="chat"), RULES))
    (path / "talks.jsonl").write_bytes(data)
    return list(decode(Raw("talks.jsonl", path=path / "talks.jsonl", kind="chat"), RULES))


def one(row: Any) -> Piece:
    [piece] = lines(row)
    assert isinstance(piece, Piece), piece
    return piece


def test_turns_stand_between_special_tokens() -> None:
    piece = one(told(("system", "Be brief."), ("user", " Hello \n"), ("assistant", "Hi."), language="en"))
    assert piece.text == f"{O}system\nBe brief.{O}\n{O}user\nHello{O}\n{O}assistant\nHi.{O}\n"
    assert [insert.name for insert in piece.inserts] == ["<|im_start|>", "<|im_end|>"] * 3
    assert (piece.kind, piece.language) == ("chat", "en")


def test_a_turn_cannot_spell_a_special_token_or_a_placeholder() -> None:
    piece = one(told(("user", f"<|im_end|>{O}\x00"), ("assistant", "<|im_start|>assistant\nno")))
    assert piece.text.count(O) == len(piece.inserts) == 4
    assert "<|im_end|>" in piece.text and piece.repairs[0].reason is Reason.CONTROL_CHARACTERS


def test_other_ways_of_writing_give_the_same_document() -> None:
    plain = one(told(("system", "S"), ("user", "Q"), ("assistant", "A")))
    shared = one({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"})
    parts = one(told(("system", "S"), ("user", [{"type": "text", "text": "Q"}]), ("assistant", "A")))
    [listed] = decode(
        Raw("talks.json", json.dumps([told(("system", "S"), ("user", "Q"), ("assistant", "A"))]).encode(), kind="chat"),
        RULES,
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([told(("system", "S"), ("user", "Q"), ("assistant", "A"))]), buffer)
    [table] = decode(Raw("talks.parquet", buffer.getvalue(), kind="chat"), RULES)
    assert isinstance(listed, Piece) and isinstance(table, Piece)
    assert {shared.text, parts.text, listed.text, table.text} == {plain.text}


def test_media_stand_where_they_are_named(tmp_path: Path) -> None:
    talks = chats.write(tmp_path / "data", 0) / "talks"
    found = lines(*chats.media_rows(), path=talks)
    kinds = [[insert.kind for insert in piece.inserts if insert.kind != "special"] for piece in found]
    assert kinds == [["image", "audio"], ["image"], ["video"]]
    assert found[0].text.startswith(f"{O}user\n{O}What is in this picture, and how does it sound?{O}{O}\n")
    assert found[1].text.startswith(f"{O}user\n{O}Is this a pattern?{O}\n")


def test_files_that_conversations_name_are_no_documents(tmp_path: Path) -> None:
    [source] = discover(chats.write(tmp_path / "data", 3))
    assert source.kind == "chat"
    assert [item.path for item in list_items(source)] == ["talks.jsonl"]
    assert media_names({"caption": "x", "image": "a.jpg"}) == []


ANSWER = ("assistant", "A")
REFUSED: dict[str, tuple[Any, Reason, str]] = {
    "no turns": ({"text": "hello"}, Reason.MISSING_FIELD, "no turns"),
    "no answer": (told(("user", "Q")), Reason.MISSING_FIELD, "no turn of an assistant"),
    "an empty answer": (told(("user", "Q"), ("assistant", "  ")), Reason.MISSING_FIELD, "no turn of an assistant"),
    "an unknown role": (told(("narrator", "Q"), ANSWER), Reason.WRONG_TYPE, "'narrator'"),
    "a turn without text": (told(("user", None), ANSWER), Reason.WRONG_TYPE, "neither text nor parts"),
    "a turn that is no object": ({"messages": ["Q"]}, Reason.WRONG_TYPE, "turn 0 is no object"),
    "a part of another type": (told(("user", [{"type": "smell"}]), ANSWER), Reason.WRONG_TYPE, "'smell'"),
    "a picture without a file": (told(("user", [{"type": "image"}]), ANSWER), Reason.MISSING_MEDIA, "names no file"),
    "a picture that is not there": (
        told(("user", [{"type": "image", "image": "no.jpg"}]), ANSWER), Reason.MISSING_MEDIA, "no.jpg",
    ),
    "a picture outside the folder": (
        told(("user", [{"type": "image", "image": "../../secret.jpg"}]), ANSWER), Reason.UNSAFE_PATH, "secret",
    ),
    "a picture with no mark": (
        told(("user", "Q"), ANSWER, images=["a.jpg"]), Reason.MISSING_MEDIA, "1 of 1 files have no <image> mark",
    ),
    "more marks than pictures": (
        told(("user", "<image><image>Q"), ANSWER, images=["square.jpg"]), Reason.MISSING_MEDIA, "more <image> marks",
    ),
    "a weight of a turn": (
        {"messages": [{"role": "assistant", "content": "A", "weight": 0}]}, Reason.WRONG_TYPE, "weight of its own",
    ),
    "a call of a tool": (
        {"messages": [{"role": "assistant", "content": "A", "tool_calls": [{}]}]}, Reason.WRONG_TYPE, "calls tools",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_conversations_that_cannot_be_learnt_are_refused(case: str, tmp_path: Path) -> None:
    row, reason, words = REFUSED[case]
    talks = chats.write(tmp_path / "data", 0) / "talks"
    [fault] = lines(row, path=talks)
    assert isinstance(fault, Fault) and fault.reason is reason
    assert words in fault.detail and fault.inner == "line 1"


def test_marks_in_a_text_that_lists_no_files_are_text() -> None:
    assert "<video>" in one(told(("user", "What is <video> in HTML?"), ANSWER)).text
