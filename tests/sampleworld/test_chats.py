"""Conversations of the sample world: the same bytes again, decodable as chats, nothing of what is held out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from expedition.data.decode import DecodeRules, Piece, Raw, decode
from expedition.errors import UsageError
from expedition.sampleworld import write_chats
from expedition.sampleworld.world import scenes


def digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(str(path.relative_to(folder)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


def test_equal_arguments_give_equal_bytes_and_other_seeds_others(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_chats(tmp_path / name, 6, seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    with pytest.raises(UsageError, match="not empty"):
        write_chats(tmp_path / "a", 6)


def test_every_conversation_is_read_with_its_medium(tmp_path: Path) -> None:
    write_chats(tmp_path / "data", 30)
    path = tmp_path / "data" / "chats" / "chats.jsonl"
    pieces = list(decode(Raw("chats.jsonl", path=path, kind="chat"), DecodeRules()))
    assert len(pieces) == 30
    kinds = {insert.kind for piece in pieces if isinstance(piece, Piece) for insert in piece.inserts}
    assert kinds == {"special", "image", "audio", "video"}
    held = {scene.caption for scene in scenes(True)}
    said = {
        turn["content"]
        for line in path.read_text().splitlines()
        for turn in json.loads(line)["messages"]
        if isinstance(turn["content"], str)
    }
    assert not held & said
