"""The frame of the quality benchmarks: pages with true gold, counts that cannot flatter, a table that says unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.quality.beyond_news import figures, label_figures
from benchmarks.quality.main_text import agreement, cells_kept, code_kept, formulas_kept, indentation_kept
from benchmarks.quality.open_set import VARIABLE, open_set
from benchmarks.quality.pages import made_pages
from benchmarks.quality.table import rows_of

LABELS = Path(__file__).resolve().parent / "data" / "labels" / "real_pages.json"


def test_pages_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    first, again, other = (list(made_pages(seed, 1, 1)) for seed in (1, 1, 2))
    assert first == again
    assert {page.html for page in first}.isdisjoint(page.html for page in other)
    assert {page.kind for page in first} == {page.kind for page in other}


def test_gold_itself_scores_one_and_nothing_scores_zero() -> None:
    pages = list(made_pages(3, 1, 1))
    best = figures(pages, {page.file: page.text for page in pages})
    assert best["f1"] == 1.0
    assert set(best["kept"].values()) == {1.0}
    worst = figures(pages, {})
    assert worst["f1"] == 0.0
    assert set(worst["kept"].values()) == {0.0}


def test_the_gold_of_every_page_is_on_the_page() -> None:
    """By bags of characters: mark-up may cut words, but what is gold is shown."""
    for page in [*made_pages(4, 1, 1), *made_pages(4, 1, 1, other=True)]:
        assert all(char in page.html for char in set(page.text) - set("\t\n<>&\"'")), page.file
        assert page.layout and len(page.text) > 200


def test_counts_ask_for_structure() -> None:
    assert code_kept("a = 1\nb = 2", ["a = 1", "    b = 2", "c"]) == (2, 3)
    assert indentation_kept("a = 1\nb = 2", ["a = 1", "    b = 2"]) == (0, 1)
    assert code_kept("a = 1 b = 2", ["a = 1", "b = 2"]) == (0, 2)
    assert cells_kept("one\ttwo | three", ["one", "two", "three", "four"]) == (3, 4)
    assert cells_kept("one two three", ["one", "two"]) == (0, 2)
    assert formulas_kept(r"so $\frac{a}{b}$ holds", [r"\frac{a}{b}", r"\sqrt{c}"]) == (1, 2)
    assert agreement([("a b c d e", "a b c d e"), ("", "x y z w v")]).recall == pytest.approx(0.5)


def test_labels_are_short_and_count_both_ways() -> None:
    labels = json.loads(LABELS.read_text(encoding="utf-8"))
    assert len(labels) >= 15
    assert all(len(part.split()) <= 8 for label in labels for part in [*label["must"], *label["mustnot"]])
    everything = {label["file"]: " ".join([*label["must"], *label["mustnot"]]) for label in labels}
    assert (label_figures(labels, everything)["kept"], label_figures(labels, everything)["left_out"]) == (1.0, 0.0)


def test_a_subject_without_a_document_is_unknown() -> None:
    row = {"what": "a", "ours": 0.5, "peer": None, "ratio_or_figure": None, "goal": "≥ 1", "met": None}
    (shown,) = rows_of("x", {"rows": [row]})
    assert (shown.ours, shown.peer, shown.met) == ("0.5", "unknown", None)
    for broken in (
        {"error": "it died"},
        {"rows": [{"what": "a"}]},
        {"rows": []},
        {},
        {"rows": [{**row, "met": "yes"}]},
    ):
        (shown,) = rows_of("x", broken)
        assert (shown.ours, shown.met) == ("unknown", None)


def test_an_absent_set_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    assert open_set() is None
    assert open_set(tmp_path) == tmp_path
