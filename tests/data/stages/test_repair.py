"""Repair: what is removed, what is left, and that a second pass finds nothing."""

from hypothesis import given
from hypothesis import strategies as st

from expedition.data.stages.repair import Repair, repair
from tests.data.stages.documents import batch_of, texts_of

ALL = frozenset({"web", "code"})


def test_controls_escapes_and_overrides_are_removed() -> None:
    text, counts = repair("a\x00b\x07c\x1b[31mred\x1b[0m \u202eevil\u202c \ufeffend")
    assert text == "abcred evil end"
    assert counts["terminal escapes"] == 2
    assert counts["nul bytes"] == 1
    assert counts["bidi overrides"] == 2


def test_marks_that_languages_need_stay() -> None:
    persian = "می\u200cخواهم"
    hebrew = "שלום\u200f!"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    for text in (persian, hebrew, family, "tab\tand\nline"):
        assert repair(text)[0] == text


def test_mojibake_is_undone_where_it_decodes() -> None:
    broken = "Le cafÃ© et la crÃ¨me brÃ»lÃ©e"
    assert repair(broken)[0] == "Le café et la crème brûlée"
    honest = "Ã is a letter of Portuguese: NÃO, SÃO PAULO"
    assert repair(honest)[0] == honest


def test_code_is_not_composed() -> None:
    decomposed = "name = 'e\u0301'"
    assert texts_of(Repair(ALL)(batch_of(decomposed, kind="code"))) == [decomposed]
    assert texts_of(Repair(ALL)(batch_of("Cafe\u0301 au lait", kind="web"))) == ["Café au lait"]


def test_empty_and_undecodable_texts_are_dropped() -> None:
    result = Repair(ALL)(batch_of("\x00\x01\x02", "\ufffd" * 50 + "abc", "sound"))
    assert [item.reason for item in result.dropped] == ["empty text", "undecodable text"]


@given(st.text(max_size=300))
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = repair(text)[0]
    assert repair(once) == (once, {})
    assert once.count("\ufffc") == text.count("\ufffc")
