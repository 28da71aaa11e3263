"""Toxicity: abuse is found, its mention and plain words are not."""

import pytest

from expedition.data.stages.toxicity import Toxicity, ToxicityPolicy, toxicity_score
from tests.data.stages.documents import batch_of

WEB = frozenset({"web"})


@pytest.mark.parametrize(
    "text",
    [
        "All immigrants are vermin and should be exterminated.",
        "Women are worthless. They should be beaten.",
        "Muslims do not deserve any rights.",
        "Alle Ausländer sind Abschaum und gehören vernichtet.",
        "这些移民都是害虫，应该滚出去。",
        "You fucking idiot, you worthless piece of shit.",
        "I h4te all immigrants, they are d1sgusting",
    ],
)
def test_abuse_scores_high(text: str) -> None:
    assert toxicity_score(text).worst > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "The women of the village sell fish at the market.",
        "Muslims and Christians live here side by side.",
        "No immigrant deserves to die.",
        "It is wrong to say that immigrants are vermin.",
        "We must kill the process and execute the next command.",
        "Ich mag die Frauen aus dem Dorf.",
        "这里的移民很友好，大家都喜欢他们。",
    ],
)
def test_plain_and_opposing_words_score_low(text: str) -> None:
    assert toxicity_score(text).worst <= 0.5


def test_words_are_matched_whole() -> None:
    assert toxicity_score("Scunthorpe, cocktail, assassin, Dickens, shitake").value == 0.0


def test_threshold_is_the_sources() -> None:
    text = "All immigrants are vermin and should be exterminated."
    policy = ToxicityPolicy(by_source={"study": 1.0})
    assert [item.reason for item in Toxicity(WEB, policy)(batch_of(text)).dropped] == ["toxic"]
    assert Toxicity(WEB, policy)(batch_of(text, source="study")).dropped == ()


def test_one_ugly_sentence_does_not_drop_a_novel() -> None:
    novel = "The boats came in and the people went home. " * 200 + "All immigrants are vermin, said the mayor's dog."
    result = Toxicity(WEB)(batch_of(novel))
    assert result.dropped == ()
    assert sum(result.counts.values()) >= 1
