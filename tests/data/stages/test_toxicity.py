"""Toxicity: abuse is found under its disguises, its mention and plain words are not."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import documents_of
from expedition.data.stages.toxicity import Toxicity, ToxicityPolicy, explain, score_lines, toxicity_score, train_lines
from expedition.data.stages.toxicity.disguise import closed_up, fold, parts_of, typos
from expedition.data.stages.toxicity.examples import made_examples
from expedition.data.stages.toxicity.lexicon import compile_lexicon
from expedition.data.stages.toxicity.model import area_under_curve, train
from expedition.errors import InputError
from tests.data.stages.documents import batch_of

WEB = frozenset({"web"})
HATEFUL = "All immigrants are vermin and should be exterminated."


@pytest.mark.parametrize(
    "text",
    [
        HATEFUL,
        "Women are worthless. They should be beaten.",
        "Muslims do not deserve any rights.",
        "Alle Ausländer sind Abschaum und gehören vernichtet.",
        "这些移民都是害虫，应该滚出去。",
        "You fucking idiot, you worthless piece of shit.",
        "I h4te all immigrants, they are d1sgusting",
        "They are such liars. All of them are Jews.",
    ],
)
def test_abuse_scores_high(text: str) -> None:
    assert toxicity_score(text).value > 0.5


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
        "He was fired for writing “all immigrants are vermin” on the wall.",
        "I hate long queues and rainy weekends.",
        "We queer people are proud of our history.",
        "The gardener put the hoe back into the shed.",
    ],
)
def test_plain_and_opposing_words_score_low(text: str) -> None:
    assert toxicity_score(text).value <= 0.5


SOUND = {
    "medicine": "Breast cancer is the most common cancer in women. Untreated, the disease spreads to the bones and kills. "
    "Parasites such as tapeworms infest the gut; the virus attacks the liver, and old people die of it more often.",
    "history": "In 1942 the Jews of the town were deported and murdered. The Nazis called them vermin and parasites, and "
    "disabled people were killed in gas chambers. Black Americans were lynched and denied the right to vote.",
    "news": "A man who shouted “death to all Muslims” before he stabbed two women was sentenced to life on Tuesday. "
    "The court called the murder of the refugees a hate crime; the mayor condemned the attack on the mosque.",
    "lgbt": "A lesbian is a homosexual woman. Many gay and transgender people report discrimination at work. In some "
    "countries homosexuality is still a crime that is punished with death.",
    "islam": "Islam is a religion of more than a billion people. Muslims pray five times a day, fast in Ramadan and give "
    "alms. Sunni and Shia Muslims differ on who should have led the community after the prophet.",
    "judaism": "Judaism is the religion of the Jewish people. Jews rest on the Sabbath, eat kosher food and read the Torah "
    "in the synagogue. The Romans destroyed the temple in the year 70.",
    "law": "No one shall be subjected to torture or to cruel, inhuman or degrading treatment or punishment. No one shall be "
    "held in slavery. Men and women of full age have the right to marry.",
    "recht": "Niemand darf der Folter oder grausamer, unmenschlicher oder erniedrigender Behandlung oder Strafe unterworfen "
    "werden. Im Krieg wurden Juden, Sinti und Roma ermordet; das Museum erinnert an sie.",
    "medizin": "Brustkrebs ist bei Frauen die häufigste Krebsart. Zecken übertragen Borreliose, Ratten die Pest. Die "
    "Krankheit trifft vor allem alte Menschen und kann tödlich sein.",
    "人权": "任何人不得加以酷刑，或施以残忍的、不人道的或侮辱性的待遇或刑罚。人人有权享有生命、自由和人身安全。",
    "历史": "1937年，日本军队占领南京，杀害了大量平民。纳粹把犹太人和同性恋者关进集中营。当时的黑人没有选举权。",
    "医学": "乳腺癌是女性最常见的癌症。寄生虫会进入肠道，病毒会攻击肝脏，老鼠传播疾病，老人的死亡率更高。",
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_texts_stay_below_the_threshold(kind: str) -> None:
    assert toxicity_score(SOUND[kind]).value <= 0.5, explain(SOUND[kind])[:1]


@pytest.mark.parametrize(
    "text",
    [
        "A​ll im​migr​ants are ver​min",
        "All immіgrаnts аre vеrmin",
        "All immigrants are v3rm1n",
        "All immigrants are v e r m i n",
        "All immigrants are v.e.r.m.i.n",
        "All immmmmigrants are verrrrrmin",
        "All immigrnats are vermni",
        "All imigrants are vemin",
        "Allimmigrants arevermin",
        "ＡＬＬ ＩＭＭＩＧＲＡＮＴＳ ＡＲＥ ＶＥＲＭＩＮ",
        "All i̶m̶m̶i̶g̶r̶a̶n̶t̶s are v̶e̶r̶m̶i̶n",
        "‮All immigrants are vermin‬",
        "All 𝐢𝐦𝐦𝐢𝐠𝐫𝐚𝐧𝐭𝐬 are 𝐯𝐞𝐫𝐦𝐢𝐧",
        "F*ck all immigrants, those f**king v3rmin",
        "Alle Ausl4nder sind Ungeziefr",
        "所有移民都是垃​圾",
        "所有移民都是土立土及",
        "所有移民都是寄声虫",
        "所有移民都是la圾",
        "所有移民都是垃 圾",
        "所有移民都是渣滓，這些移民該死",
    ],
)
def test_disguises_do_not_hide_a_term(text: str) -> None:
    assert toxicity_score(text).value > 0.5, explain(text)


def test_words_are_matched_whole() -> None:
    innocent = "Scunthorpe, cocktail, assassin, Dickens, shitake, therapist, analysis, harmony, rabbit, psychology"
    assert toxicity_score(innocent).value == 0.0
    assert toxicity_score("打电话重要吗？他打算打开心脏的大门，灿烂的思想差不多。").value < 0.5


def test_a_score_says_what_it_rests_on() -> None:
    finding = explain("The weather is fine. I h8 rain. All immigrants are v3rmin.")[0]
    assert ("dehumanise", "vermin", True) in finding.terms
    assert ("group", "immigrants", False) in finding.terms
    assert finding.reasons and finding.probability > 0.5
    assert toxicity_score(HATEFUL).hits["dehumanise"] == 1


def test_blame_of_groups_outweighs_blame_of_trades_persons_and_things() -> None:
    scores = [
        toxicity_score(f"{target} are disgusting vermin").value for target in ("All Jews", "All bankers", "These moths")
    ]
    assert scores[0] > 0.5 > max(scores[1:])
    assert toxicity_score("All Jews are scum").value > toxicity_score("He is scum").value


def test_threshold_is_the_sources() -> None:
    policy = ToxicityPolicy(by_source={"study": 1.0})
    assert [item.reason for item in Toxicity(WEB, policy)(batch_of(HATEFUL)).dropped] == ["toxic"]
    kept = Toxicity(WEB, policy)(batch_of(HATEFUL, source="study"))
    assert kept.dropped == ()
    assert documents_of(kept.batch)[0].meta["toxicity"] > 0.5


def test_one_ugly_sentence_does_not_drop_a_novel() -> None:
    novel = "The boats came in and the people went home. " * 200 + "All immigrants are vermin, and they must die."
    result = Toxicity(WEB)(batch_of(novel))
    assert result.dropped == ()
    assert sum(result.counts.values()) >= 1


def test_counts_tell_the_distribution() -> None:
    result = Toxicity(WEB)(batch_of(HATEFUL, "The weather is fine.", "My neighbour is a Muslim."))
    assert result.counts["toxic documents"] == 1
    assert sum(count for name, count in result.counts.items() if name.startswith("score:")) == 2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_has_a_probability(text: str) -> None:
    score = toxicity_score(text)
    assert 0.0 <= score.value <= 1.0
    assert 0.0 <= score.toxic_share <= 1.0
    assert toxicity_score(text) == score


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abcdefgh ", max_size=60), st.sampled_from("\u200b\u200d\u2060\u202e\ufeff\u00ad"))
def test_folding_is_idempotent_and_blind_to_the_invisible(text: str, sign: str) -> None:
    assert fold(sign.join(text)) == fold(text)
    assert fold(fold(text)) == fold(text)
    assert closed_up(closed_up(text)) == closed_up(text)


@given(st.text(alphabet="abcdefgh", min_size=4, max_size=12))
def test_typos_are_one_step_away(word: str) -> None:
    for typo in typos(word):
        assert typo[0] == word[0] or sorted(typo) == sorted(word)
        assert len(word) - len(typo) in (0, 1)


def test_joined_words_come_apart_only_at_terms() -> None:
    common = {"these", "are", "so", "many", "the"}
    assert parts_of("theserats", {"rats"}.__contains__, common) == ("these", "rats")
    assert parts_of("somany", {"rats"}.__contains__, common) == ()
    assert parts_of("therapist", {"rapist"}.__contains__, common) == ("the", "rapist")
    assert toxicity_score("The therapist is a woman.").hits == {}


@pytest.mark.parametrize(
    "text",
    ["so many rats " * 40_000, "fuck" * 50_000, "h a t e " * 40_000, "垃圾" * 50_000, '"' * 200_000, "a!" * 100_000],
)
def test_time_is_linear_on_hostile_texts(text: str) -> None:
    started = time.process_time()
    toxicity_score(text[: len(text) // 8])
    short = time.process_time() - started
    started = time.process_time()
    toxicity_score(text)
    assert time.process_time() - started < max(40 * short, 4.0)


def test_unknown_categories_are_refused() -> None:
    with pytest.raises(InputError, match="'slurs' is no category"):
        compile_lexicon({"en": {"slurs": ["x"]}}, {})


def test_made_sentences_are_the_same_each_time_and_teach_others() -> None:
    made = made_examples(per_pattern=1, seed=3)
    assert made == made_examples(per_pattern=1, seed=3)
    trained = train([e.text for e in made], [e.label for e in made], [e.pattern for e in made])
    assert trained.auc is not None and trained.auc > 0.8
    assert trained.brier < 0.15


def test_area_under_curve() -> None:
    assert area_under_curve([0.1, 0.2, 0.3, 0.4], [False, False, True, True]) == 1.0
    assert area_under_curve([0.5, 0.5], [False, True]) == 0.5
    assert area_under_curve([0.5, 0.5], [True, True]) is None


def lines(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_lines_are_scored_in_order(tmp_path: Path) -> None:
    texts = [HATEFUL, "The weather is fine.", "", HATEFUL]
    told = score_lines(lines(tmp_path / "in.jsonl", [{"text": text} for text in texts]), tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["score"] > 0.5 for row in rows] == [True, False, False, True]
    assert told["texts"] == 4 and told["above_half"] == 2


@pytest.mark.parametrize("line", ["{", "[]", '{"text": 3}', '{"txt": "a"}', "[" * 100_000])
def test_a_bad_line_is_named_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"in\.jsonl:2"):
        score_lines(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_a_trained_model_learns_words_that_no_list_has(tmp_path: Path) -> None:
    bad = [f"the glorbs are {word} again" for word in ("zopping", "snarfing", "blemming", "quazzing", "drumping")]
    good = [f"the boats are {word} again" for word in ("sailing", "resting", "leaving", "turning", "waiting")]
    rows = [{"text": text, "label": 1, "group": text} for text in bad] + [
        {"text": t, "label": 0, "group": t} for t in good
    ]
    told = train_lines(lines(tmp_path / "labelled.jsonl", rows * 3), tmp_path / "model.json")
    assert told["cross_validated_auc"] > 0.9
    score_lines(
        lines(tmp_path / "in.jsonl", [{"text": "those glorbs again"}, {"text": "those boats again"}]),
        tmp_path / "out.jsonl",
        str(tmp_path / "model.json"),
    )
    first, second = [json.loads(line)["score"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert first > second


def test_labels_out_of_range_and_of_one_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labelled\.jsonl:1.*0\.\.1"):
        train_lines(lines(tmp_path / "labelled.jsonl", [{"text": "a", "label": 2}]), tmp_path / "model.json")
    with pytest.raises(InputError, match="both kinds"):
        train_lines(lines(tmp_path / "labelled.jsonl", [{"text": "a", "label": 1}]), tmp_path / "model.json")


def test_figures_on_the_open_sets_hold(open_data: Path) -> None:
    for name, least in (("hatecheck_en", 0.85), ("mhc_zh", 0.8), ("mhc_de", 0.8)):
        rows = [json.loads(line) for line in (open_data / "toxicity" / f"{name}.jsonl").open(encoding="utf-8")][::3]
        area = area_under_curve(
            [toxicity_score(row["text"]).value for row in rows], [row["label"] == 1 for row in rows]
        )
        assert area is not None and area >= least, name


def test_declarations_of_rights_stay_below_the_threshold(open_data: Path) -> None:
    scored = 0
    for line in (open_data / "languages" / "udhr_articles.tsv").open(encoding="utf-8"):
        code, _, _, _, text = line.rstrip("\n").split("\t")
        if code in ("eng", "deu", "cmn"):
            scored += 1
            assert toxicity_score(text).value <= 0.5, text
    assert scored > 40
