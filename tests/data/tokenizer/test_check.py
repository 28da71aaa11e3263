"""`expedition tokenizer`: what it makes passes its own check, and each kind of fault is found by name."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from expedition.cli.main import run
from expedition.data.tokenizer import Tokenizer, Vocabulary, chat_ids, check_tokenizer
from expedition.data.tokenizer.check import made_texts
from expedition.data.tokenizer.from_texts import compact_from_texts
from expedition.errors import InputError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def compact_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    assert run(["tokenizer", "build", "--out", str(folder), "--entries", "1200", "--texts", str(HERE), "--json"]) == 0
    return folder


def failed(tokenizer: Tokenizer) -> set[str]:
    return {one.check for one in check_tokenizer(tokenizer) if one.passed is False}


def test_the_whole_vocabulary_passes_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "check", "--texts", str(HERE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["checks"]) == 7
    assert all(one["passed"] for one in found["checks"])
    assert found["entries"] == 151_643


def test_a_compact_part_passes_every_check(compact_folder: Path) -> None:
    assert run(["tokenizer", "check", str(compact_folder)]) == 0


def test_compact_keeps_its_cap_and_its_bytes_whatever_the_order_of_files(compact_folder: Path, tmp_path: Path) -> None:
    again = compact_from_texts(sorted(HERE.glob("*.py"), reverse=True), 1200)
    again.save(tmp_path)
    assert len(again.vocabulary) <= 1200
    names = {path.name for path in compact_folder.iterdir()}
    assert names == {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json", "vocabulary.json"}
    assert all((tmp_path / name).read_bytes() == (compact_folder / name).read_bytes() for name in names)


def test_an_entry_that_is_not_qwens_is_found(compact_folder: Path) -> None:
    good = Tokenizer.load(compact_folder).vocabulary
    parts = np.concatenate([good.parts, np.array([[1, 1]], np.int32)])
    foreign = Tokenizer(Vocabulary((*good.tokens, good.tokens[1] * 2 + b""), parts))
    swapped = Vocabulary((good.tokens[1], good.tokens[0], *good.tokens[2:]), good.parts)
    assert "its entries and merges are Qwen's" in failed(foreign)
    assert "its entries and merges are Qwen's" in failed(Tokenizer(swapped))


def test_a_merge_that_does_not_spell_its_entry_is_found(compact_folder: Path) -> None:
    good = Tokenizer.load(compact_folder).vocabulary
    parts = good.parts.copy()
    parts[3] = parts[4]
    assert "the vocabulary is a valid BPE" in failed(Tokenizer(Vocabulary(good.tokens, parts)))


def test_check_exits_1_for_a_faulty_folder_and_2_for_none(
    compact_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokenizer", "check", str(tmp_path / "absent")]) == 2
    assert run(["tokenizer", "build", "--out", str(tmp_path / "x"), "--entries", "300"]) == 2
    assert "--texts" in capsys.readouterr().err
    assert run(["tokenizer", "build", "--out", str(tmp_path / "x"), "--entries", "300", "--texts", str(tmp_path)]) == 2


def test_show_covers_every_id_once(compact_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tokenizer", "show", str(compact_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    ends = [(row["first"], row["last"]) for row in found["ranges"]]
    assert ends[0][0] == 0
    assert ends[-1][1] == found["size"] - 1
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(ends))


def test_made_texts_hold_letters_of_more_than_a_hundred_scripts() -> None:
    import unicodedata

    letters = {char for text in made_texts() for char in text if unicodedata.category(char).startswith("L")}
    scripts = {unicodedata.name(char, "").split(" ")[0] for char in letters}
    assert len(letters) > 120_000
    assert len(scripts - {""}) > 100


def test_only_an_answer_is_learnt(compact_folder: Path) -> None:
    tokenizer = Tokenizer.load(compact_folder)
    messages = [{"role": "user", "content": "2 + 2"}, {"role": "assistant", "content": "4, I think"}]
    ids, learnt = chat_ids(tokenizer, messages, prompt=True)
    assert tokenizer.decode(ids[learnt].tolist()) == "4, I think<|im_end|>"
    assert tokenizer.decode(ids.tolist()).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    "message", [{"role": "boss", "content": ""}, {"role": "user"}, {"role": "user", "content": [3]}]
)
def test_a_message_of_no_known_form_is_refused(compact_folder: Path, message: dict[str, object]) -> None:
    with pytest.raises(InputError, match="message 0"):
        chat_ids(Tokenizer.load(compact_folder), [message])
