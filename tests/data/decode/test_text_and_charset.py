"""Bytes to text: encodings, replaced bytes, removed characters."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.decode.charset import decode_bytes, readable_text
from expedition.data.decode.clean import clean, tidy
from expedition.data.decode.piece import Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.text import split_text

SENTENCES = {
    "gb18030": "这个文件是用国标编码保存的，人人生而自由，在尊严和权利上一律平等。",
    "shift_jis": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "euc_jp": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "euc_kr": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "cp1251": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "koi8_r": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "cp1252": "Alle Menschen sind frei und gleich an Würde und Rechten geboren; größtes Übel für Köln.",
    "utf-16": "All human beings are born free, 人人生而自由, Würde.",
    "utf-16-le": "All human beings are born free and equal in dignity and rights.",
    "utf-32": "All human beings are born free, 人人生而自由.",
    "utf-8-sig": "All human beings are born free, 人人生而自由.",
    "iso2022_jp": "すべての人間は、生まれながらにして自由であり、",
}


@pytest.mark.parametrize("encoding", sorted(SENTENCES))
def test_undeclared_encodings_are_found(encoding: str) -> None:
    text = (SENTENCES[encoding] + "\n") * 4
    assert decode_bytes(text.encode(encoding)).text == text


def test_a_declared_encoding_is_believed_only_if_it_fits() -> None:
    data = ("Všichni lidé rodí se svobodní a sobě rovní. " * 3).encode("cp1250")
    assert decode_bytes(data, "windows-1250").text.startswith("Všichni lidé")
    assert decode_bytes("人人生而自由".encode(), "windows-1250").text == "人人生而自由"
    assert decode_bytes("人人生而自由".encode(), "no-such-encoding").encoding == "utf-8"
    for escape in ("unicode_escape", "utf-7", "punycode", "idna", "hex", "rot13", "undefined"):
        assert decode_bytes(b"caf\xe9 +2AA- \\ud800 xn--", escape).text == "caf\u00e9 +2AA- \\ud800 xn--"


def test_stray_bytes_are_replaced_and_counted() -> None:
    decoding = decode_bytes("自由 ".encode() * 30 + b"\xff\xfe\xc3(" + "平等".encode() * 30)
    assert decoding.replaced == 3
    assert decoding.text.startswith("自由 自由")


def test_noise_is_refused_not_passed_as_text() -> None:
    noise = np.random.default_rng(7).bytes(4000)
    with pytest.raises(Refused) as refused:
        readable_text(noise)
    assert refused.value.reason is Reason.ENCODING


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_become_clean_text_or_are_refused(data: bytes) -> None:
    try:
        text, _ = readable_text(data)
    except Refused as refused:
        assert refused.reason is Reason.ENCODING
        return
    text.encode("utf-8")
    forbidden = {"\ufffc", "\x00", "\x1b", "\u202e", "\ufeff", "\r"}
    assert not forbidden & set(text)
    assert all(character in "\n\t" or ord(character) >= 32 for character in text)
    assert clean(text) == (text, 0)


@given(st.text(max_size=300))
def test_tidying_twice_changes_nothing(text: str) -> None:
    once = tidy(clean(text)[0])
    assert tidy(once) == once


@given(st.text(st.sampled_from("ab \t\n\r\x0b\x0c\x85\u2028\u3000é"), max_size=60))
def test_line_ends_blanks_and_gaps_go_by_their_rule(text: str) -> None:
    lines = re.sub("\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    assert clean(text)[0] == lines
    assert tidy(lines) == re.sub(r"\n{4,}", "\n\n\n", re.sub(r"[ \t]+\n", "\n", lines)).strip()


@pytest.mark.parametrize("unit", [" ", "\t", "\n", " \n", "(", "\x1b[", "\x1b]", "a.", "<a ", "\ufeff"])
def test_cleaning_takes_linear_time(unit: str) -> None:
    started = time.perf_counter()
    tidy(clean(unit * (1_000_000 // len(unit)) + "x")[0])
    assert time.perf_counter() - started < 2.0


def test_long_texts_are_split_at_empty_lines_without_loss() -> None:
    limits = Limits(text_characters=1000)
    text = "\n\n".join(f"Paragraph {number} " + "word " * 20 for number in range(60))
    pieces = list(split_text(text, limits))
    assert len(pieces) > 5
    assert all(len(piece.text) <= 1000 for piece in pieces)
    assert " ".join(" ".join(piece.text for piece in pieces).split()) == " ".join(text.split())
    assert [piece.meta["part"] for piece in pieces] == list(range(len(pieces)))
