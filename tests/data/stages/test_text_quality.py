"""Quality rules: junk is named, sound text of every script stays."""

from collections import defaultdict
from pathlib import Path

import pytest

from expedition.data.stages.text import RULES, Limits, Quality, judge
from tests.data.stages.documents import batch_of

SOUND = {
    "en": "The harbour lies behind the old mill, and in the morning the boats of the village bring fish to the market.",
    "zh": "港口在老磨坊的后面，早晨村里的船把鱼送到市场。人们在那里买鱼，也聊聊天气和收成。",
    "ja": "港は古い水車小屋の裏にあり、朝になると村の船が市場に魚を運んできます。",
    "th": "ท่าเรืออยู่หลังโรงสีเก่า ตอนเช้าเรือของหมู่บ้านนำปลาไปยังตลาด และผู้คนก็มาซื้อปลากัน",
    "bo": "མི་རིགས་རྣམས་དབང་ཆ་འདྲ་མཉམ་ཡིན་པ་དང་། ཁོང་ཚོར་རང་དབང་ཡོད་པ་མ་ཟད་ཐོབ་ཐང་ཡང་འདྲ་མཉམ་ཡོད།",
    "ar": "يقع الميناء خلف المطحنة القديمة، وفي الصباح تجلب قوارب القرية السمك إلى السوق حيث يشتريه الناس.",
    "ug": "پورت كونا تۈگمەننىڭ ئارقىسىدا، ئەتىگەندە كەنتنىڭ قېيىقلىرى بازارغا بېلىق ئېلىپ كېلىدۇ.",
    "hi": "बंदरगाह पुरानी चक्की के पीछे है और सुबह गाँव की नावें बाज़ार में मछली लाती हैं।",
    "kl": "Kinaluunniit inuunermut nammineersinnaassuseqarnissamut isumakuluuteqaranilu pisinnaatitaavoq.",
}


@pytest.mark.parametrize("language", SOUND)
def test_sound_text_of_every_script_stays(language: str) -> None:
    assert judge(SOUND[language], "web", language) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Click here", "too short"),
        ("$$$ *** ### @@@ %%% ^^^ &&& !!! ((( ))) === +++ ~~~ >>> <<< ??? ;;;", "mostly symbols"),
        ("word " * 20 + "x" * 5000, "one unbroken run"),
        ("\n".join(["The same line again and again."] * 12 + ["One other line stands here."]), "repeated lines"),
        ("\n".join(f"- item {number} of a very long list" for number in range(30)), "list of bullets"),
        ("\n".join(f"Read how the story {number} goes on…" for number in range(12)), "lines cut off"),
        ("Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor.", "filler text"),
        ("\n".join(f"{number * 7919} {number * 104729}" for number in range(1, 60)), "mostly digits"),
        ("buy cheap shoes online now " * 400, "repetitive"),
    ],
)
def test_junk_is_dropped_by_name(text: str, rule: str) -> None:
    assert rule in judge(text, "web", "und")


def test_short_texts_of_media_are_not_judged_by_length() -> None:
    for kind in ("image-text", "audio-text", "video-text", "driving", "code"):
        assert judge("\ufffc two red rings", kind) == []


def test_limits_may_differ_by_source() -> None:
    limits = Limits(min_words_by_source={"dictionary": 1})
    assert judge("harbour: a place", "web", source="dictionary", limits=limits) == []
    assert judge("harbour: a place", "web", source="pages", limits=limits) == ["too short"]


def test_every_rule_has_a_name_and_kinds() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert all(rule.kinds for rule in RULES)


def test_the_stage_drops_under_the_first_broken_rule() -> None:
    result = Quality(frozenset({"web"}))(batch_of(SOUND["en"], "Click here"))
    assert [(item.id, item.reason) for item in result.dropped] == [("1", "too short")]


def test_no_variety_loses_more_than_five_percent(open_data: Path) -> None:
    """Articles of the Universal Declaration, some of one short sentence, over the varieties with enough of them."""
    path = open_data / "languages" / "udhr_articles.tsv"
    if not path.is_file():
        pytest.skip("languages/udhr_articles.tsv is not in the open data set")
    lost: dict[str, list[bool]] = defaultdict(list)
    for line in path.read_text("utf-8").splitlines()[1:]:
        code, key, _, _, text = line.split("\t")
        lost[key].append(bool(judge(text, "web", "en" if code == "eng" else "und")))
    enough = {key: sum(found) / len(found) for key, found in lost.items() if len(found) >= 12}
    assert len(enough) > 100
    assert {key: share for key, share in enough.items() if share > 0.05} == {}
    assert sum(map(sum, lost.values())) / sum(map(len, lost.values())) < 0.005
