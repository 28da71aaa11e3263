"""Long texts are cut after sentences and lines, whatever the script and the vocabulary."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.loading.sentences import TextCuts

BYTES = [bytes([value]) for value in range(256)]


def tokens_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)


def parts(text: str, capacity: int, *, by_line: bool = False) -> list[str]:
    tokens = tokens_of(text)
    cuts = TextCuts(BYTES).cut(tokens, capacity, by_line=by_line)
    ends = [0, *(cut.end for cut in cuts)]
    return [bytes(tokens[a:b].astype(np.uint8)).decode() for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("This is one of many sentences. " * 40, "."),
        ("He said “no!” She left. (Really?) " * 40, ('"', ".", "!”", "?)")),
        ("这是一个句子。你好吗？真的！" * 30, ("。", "？", "！")),
        ("「そうです。」と彼は言った。" * 30, ("。", "。」")),
        ("यह एक वाक्य है। " * 30, "।"),
        ("هل هذا صحيح؟ " * 40, "؟"),
        ("a line without a stop\n" * 40, "\n"),
    ],
)
def test_cuts_fall_at_the_ends_of_sentences(text: str, ending: str | tuple[str, ...]) -> None:
    found = parts(text, 256)
    assert "".join(found) == text and len(found) > 2
    assert all(part.endswith(ending) for part in found[:-1])
    assert all(256 * 7 // 8 <= len(part.encode()) <= 256 for part in found[:-1])


def test_code_is_cut_at_line_ends_only() -> None:
    code = "    value = table.look(up. in ) + 3.14  # why? because. \n" * 30
    assert all(part.endswith("\n") for part in parts(code, 256, by_line=True))


def test_a_point_inside_a_number_or_name_is_no_end() -> None:
    text = "version 3.14159.26535 of module.name.attribute " * 30
    found = parts(text, 256)
    assert "".join(found) == text
    assert all(not part.endswith(".") for part in found)


def test_without_an_end_words_and_characters_stay_whole() -> None:
    assert all(not part[-1].isspace() for part in parts("word " * 200, 64)[:-1])
    assert "".join(parts("語" * 200, 64)) == "語" * 200, "each part decodes: no character was split"


def test_ends_inside_merged_tokens_are_seen() -> None:
    vocabulary = [*BYTES, b" word", b".\n", b"\xe3\x80\x82"]
    for end in (257, 258):
        tokens = np.asarray(([256] * 7 + [end]) * 20, dtype=np.int32)
        cuts = TextCuts(vocabulary).cut(tokens, 50, by_line=False)
        assert all(tokens[cut.end - 1] == end and cut.at_end for cut in cuts)


@given(st.text(max_size=300), st.integers(4, 64), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_text_is_lost_and_no_part_is_too_long(text: str, capacity: int, by_line: bool) -> None:
    tokens = tokens_of(text)
    ends = [cut.end for cut in TextCuts(BYTES).cut(tokens, capacity, by_line=by_line)]
    sizes = np.diff([0, *ends])
    assert ends[-1] == len(tokens) and (sizes <= capacity).all()
    assert (sizes[:-1] > 0).all()


def test_special_tokens_have_no_text() -> None:
    tokens = np.asarray(list(b"one. two. ") * 10 + [300] * 3, dtype=np.int32)
    assert TextCuts(BYTES).cut(tokens, 50, by_line=False)[-1].end == len(tokens)
