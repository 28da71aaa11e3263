"""Language: large and small languages, Chinese varieties, scripts, and what cannot be told."""

import pytest

from expedition.data.records import documents_of
from expedition.data.stages.language import Language, identify
from expedition.data.stages.language.profiles import packaged_profiles
from expedition.data.stages.language.tags import macrolanguage, tag_of
from tests.data.stages.documents import batch_of


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
    tags = set(packaged_profiles().tags)
    assert len(tags) > 350
    assert {"mri" if "mri" in tags else "mi", "qu", "bm"} & tags


def test_addresses_and_numbers_do_not_decide() -> None:
    assert identify("请把发票发到some.english.looking.name@example.org，谢谢您的帮助").tag == "zh-Hans"


def test_declared_language_stands_for_short_text() -> None:
    stage = Language(frozenset({"audio-text", "web"}))
    declared = documents_of(stage(batch_of("taco", kind="audio-text", language="en")).batch)[0]
    assert declared.language == "en"
    found = stage(batch_of("Die Boote des Dorfes bringen jeden Morgen frischen Fisch auf den Markt.", language="en"))
    assert documents_of(found.batch)[0].language == "de"
    assert found.counts == {"language de": 1}


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
