"""Personal data: what is found, what is not, redaction, and time."""

import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import documents_of
from expedition.data.stages.pii import Pii, PiiPolicy, find_pii, label_file, redact
from expedition.data.stages.pii.detectors import DETECTORS, detectors_for
from expedition.data.stages.pii.name_training import train_names
from expedition.data.stages.pii.names import MODEL
from expedition.data.stages.pii.view import view_of
from expedition.errors import InputError
from tests.data.stages.documents import batch_of, texts_of

ALL = frozenset({"web", "code"})


def types_in(text: str) -> list[str]:
    return [span.type for span in find_pii(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to anna.berg+news@mail.example.org today", "EMAIL_ADDRESS"),
        ("请把发票发到li2020@example.cn，谢谢", "EMAIL_ADDRESS"),
        ("call 212-555-0147 after six", "PHONE_NUMBER"),
        ("手机号13912345678，微信同号", "PHONE_NUMBER"),
        ("Tel. +44 20 7946 0958", "PHONE_NUMBER"),
        ("号码 11010519491231002X 已核对", "ID_CARD"),
        ("card 4111 1111 1111 1111 exp 10/30", "CREDIT_CARD"),
        ("my SSN is 536-90-4399", "US_SSN"),
        ("pay to DE89 3704 0044 0532 0130 00 please", "IBAN_CODE"),
        ("from 81.2.69.142 at noon", "IP_ADDRESS"),
        ("host 2001:db8:85a3:0:0:8a2e:370:7334 answered", "IP_ADDRESS"),
        ("加我微信：lucky_star88 聊", "WECHAT_ID"),
        ("车牌号粤B12345停在门口", "LICENSE_PLATE"),
        ("QQ号：123456789", "QQ_NUMBER"),
        ("write to jane dot doe at example dot com", "EMAIL_ADDRESS"),
        ("jane.doe [at] example.org", "EMAIL_ADDRESS"),
        ("reach me: jane_doe @ gmail . com", "EMAIL_ADDRESS"),
        ("邮箱 li2020艾特example点com", "EMAIL_ADDRESS"),
        ("phone 1 3 8 1 2 3 4 5 6 7 8", "PHONE_NUMBER"),
        ("card 4111-1111-1111-1111", "CREDIT_CARD"),
        ("身份证 110105 19491231 002X", "ID_CARD"),
        ("My driver's license number is U62928788", "US_DRIVER_LICENSE"),
        ("mac 3c:22:fb:8a:01:9e seen", "MAC_ADDRESS"),
        ("send to 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 now", "CRYPTO"),
        ("eth 0x52908400098527886E0F7030069857D2E4169EE7", "CRYPTO"),
        ("passport no. G12345678", "PASSPORT"),
        ("He lives at 12 Elm Street", "STREET_ADDRESS"),
        ("Ship to 221B Baker St, Flat 3, London", "STREET_ADDRESS"),
        ("P.O. Box 1234, Springfield", "STREET_ADDRESS"),
        ("PSC 802, Box 74\nAPO AE 09499", "STREET_ADDRESS"),
        ("il habite 14 rue de la Paix", "STREET_ADDRESS"),
        ("Hauptstraße 5", "STREET_ADDRESS"),
        ("上海市中山北路3553弄12号楼501室", "STREET_ADDRESS"),
        ("地址：深圳市南山区科苑南路2666号", "STREET_ADDRESS"),
        ("ZIP: 90210", "ZIP_CODE"),
        ("邮编：100080", "ZIP_CODE"),
        ("Beverly Hills, CA 90210", "ZIP_CODE"),
        ("near SW1A 2AA in London", "ZIP_CODE"),
    ],
)
def test_each_type_is_found(text: str, kind: str) -> None:
    assert types_in(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "On 2023-05-10 and 12:30:45 we met 120 people",
        "order 4111 1111 1111 1112 has a wrong checksum",
        "identity 110105194912310021 has a wrong check character",
        "SSN-like 000-12-3456 and 666-12-3456 and 900-12-3456",
        "version 1.2.3.4 and mask 255.255.255.0 and 127.0.0.1",
        "std::vector<int> a::b::c, ratio 3:4:5",
        "GB00 WEST 1234 5698 7654 32 fails modulo 97",
        "ISBN 978-3-16-148410-0, pages 100-120",
        "全文共计18个章节，约135000字，详见第250页",
        "the year 1999 2000 2001 2002 in rows",
        "meet me at noon, or look at example dot product pages",
        "in 1998 Street Fighter sold 12 Million Copies",
        "5 Ways To Drive A Car, 20 people walk in a place",
        "in Chapter 1234 and in Windows 2000 and in May 2004",
        "section 4.2.1.3 and v10.2.3.4 and firmware 8.8.4.4",
        "12:30:45:10 and 1:2:3",
        "第五路公交车有12号座位",
        "the corner of the room and the garden",
        "moved to the 16-inch screen",
        "a square pattern 3",
        "Square Pattern 3 and Place Holder 12",
        "ES 12345678A has a wrong letter",
        "0x0000000000000000000000000000000000000000",
    ],
)
def test_look_alikes_are_left(text: str) -> None:
    assert types_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "NHS number 943 476 5919",
        "NINO QQ 12 34 56 C? no: AB 12 34 56 C",
        "DNI 12345678Z",
        "NIE X1234567L",
        "CPF 390.533.447-05",
        "cpf 39053344705",
        "codice fiscale RSSMRA85T10A562S",
        "PESEL 44051401359",
        "BSN 111222333",
        "Aadhaar 2341 2341 2346",
        "RUT 12.531.909-2",
        "身份證 A123456789",
        "HKID A123456(3)",
        "NRIC S1234567D",
        "HETU 131052-308T",
        "Steuer-ID 36574261809",
    ],
)
def test_national_numbers_are_checked_by_the_rules_of_their_country(text: str) -> None:
    assert "NATIONAL_ID" in types_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "NHS number 943 476 5918",
        "DNI 12345678A",
        "CPF 390.533.447-06",
        "RSSMRA85T10A562T",
        "PESEL 44051401358",
        "39053344705 without a word",
        "HKID A123456(4)",
    ],
)
def test_national_numbers_with_a_wrong_check_are_left(text: str) -> None:
    assert "NATIONAL_ID" not in types_in(text)


@pytest.mark.parametrize(
    ("text", "kind", "seen"),
    [
        ("call 138<b>1234</b>5678 now", "PHONE_NUMBER", "138<b>1234</b>5678"),
        ("call 138\u200b1234\u200b5678 now", "PHONE_NUMBER", "138\u200b1234\u200b5678"),
        ("电话１３８１２３４５６７８。", "PHONE_NUMBER", "１３８１２３４５６７８"),
        ("mail joe&#64;example.com or not", "EMAIL_ADDRESS", "joe&#64;example.com"),
        ("mail <b>joe</b>@<i>example</i>.com or not", "EMAIL_ADDRESS", "joe</b>@<i>example</i>.com"),
        ("card 4111\u00a01111\u00a01111\u00a01111 end", "CREDIT_CARD", "4111\u00a01111\u00a01111\u00a01111"),
    ],
)
def test_hidden_data_is_found_at_its_own_offsets(text: str, kind: str, seen: str) -> None:
    assert [(span.type, text[span.start : span.end]) for span in find_pii(text)] == [(kind, seen)]


@given(st.text(alphabet="ab1<>/&#;64\u200b１２é—", max_size=60))
def test_a_view_leads_back_to_where_each_character_stood(text: str) -> None:
    view = view_of(text)
    spans = [view.original(place, place + 1) for place in range(len(view.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans))
    plain = [text[start:end] for (start, end), seen in zip(spans, view.text, strict=True) if seen in "ab"]
    assert plain == [seen for seen in view.text if seen in "ab"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "Ship it to 12 Elm Street, Apt. 4, Springfield, IL 62704 today",
            "12 Elm Street, Apt. 4, Springfield, IL 62704",
        ),
        (
            "Address: 5533 12 Rose Close\n Suite 868\n Aro\n New Zealand",
            "5533 12 Rose Close\n Suite 868\n Aro\n New Zealand",
        ),
        ("她住在浙江省杭州市西湖区文三路20号6栋791室，有事打电话", "浙江省杭州市西湖区文三路20号6栋791室"),
        ("Please come to the corner of 5 Oak Street and Elm Avenue.", "the corner of 5 Oak Street and Elm Avenue"),
    ],
)
def test_an_address_is_found_from_its_first_to_its_last_part(text: str, found: str) -> None:
    assert [text[span.start : span.end] for span in find_pii(text)] == [found]


def named(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.type) for span in find_pii(text, names=True)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Angela Merkel met Emmanuel Macron in Paris.", "Emmanuel Macron"),
        ("Yesterday Elon Musk spoke to reporters.", "Elon Musk"),
        ("Mr. Darcy proposed to Elizabeth Bennet.", "Darcy"),
        ("J. K. Rowling wrote many books.", "J. K. Rowling"),
        ("Best regards,\nNgozi Okonjo-Iweala", "Ngozi Okonjo-Iweala"),
        ("did you see sarah at the party?", "sarah"),
        ("周杰伦的新歌很好听。", "周杰伦"),
        ("欧阳娜娜在北京出生。", "欧阳娜娜"),
        ("收件人：张伟，电话：", "张伟"),
        ("李先生昨天到达上海。", "李"),
    ],
)
def test_persons_are_found_by_the_model(text: str, name: str) -> None:
    assert (name, "PERSON") in named(text)


@pytest.mark.parametrize(
    "text",
    [
        "May I come in? Will you be there?",
        "We stayed at the Hilton in June.",
        "The Paris Hilton Hotel is expensive.",
        "Click the Save button and choose Export to PDF.",
        "Grace under pressure is a virtue.",
        "方法很简单：先安装，再登录。",
        "金额已到账，请周一查收。",
        "任何单位和个人不得侵犯公民的权利。",
    ],
)
def test_words_that_look_like_names_are_no_persons(text: str) -> None:
    assert [kind for _, kind in named(text) if kind == "PERSON"] == []


def test_names_are_redacted_only_for_the_sources_that_ask() -> None:
    policy = PiiPolicy("redact", names=frozenset({"asked"}))
    text = "Angela Merkel lives in Berlin, mail angela@example.com"
    assert texts_of(Pii(ALL, policy)(batch_of(text))) == ["Angela Merkel lives in Berlin, mail <EMAIL_ADDRESS>"]
    redacted = "<PERSON> lives in Berlin, mail <EMAIL_ADDRESS>"
    assert texts_of(Pii(ALL, policy)(batch_of(text, source="asked"))) == [redacted]
    assert texts_of(Pii(ALL, policy)(batch_of(redacted, source="asked"))) == [redacted]


def test_a_file_is_labelled_line_by_line(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    texts = ["mail joe@example.com", "nothing", "手机13912345678"]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    told = label_file(source, out)
    spans = [json.loads(line)["spans"] for line in out.read_text("utf-8").splitlines()]
    assert [[(span["type"], span["start"]) for span in one] for one in spans] == [
        [("EMAIL_ADDRESS", 5)],
        [],
        [("PHONE_NUMBER", 2)],
    ]
    assert (told["texts"], told["texts_with_personal_data"]) == (3, 2)


def test_a_line_that_is_no_text_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "fine"}\n{"body": 1}\n', "utf-8")
    with pytest.raises(InputError, match=r"in\.jsonl:2"):
        label_file(source, out)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_training_of_names_is_deterministic_and_small(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_names(tmp_path / name, latin=300, chinese=300, rounds=1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert MODEL.stat().st_size <= 2_000_000


def test_policy_decides_by_source() -> None:
    policy = PiiPolicy("redact", {"kept": "keep", "refused": "drop"})
    text = "mail joe@example.com"
    assert texts_of(Pii(ALL, policy)(batch_of(text))) == ["mail <EMAIL_ADDRESS>"]
    assert texts_of(Pii(ALL, policy)(batch_of(text, source="kept"))) == [text]
    dropped = Pii(ALL, policy)(batch_of(text, source="refused")).dropped
    assert [item.reason for item in dropped] == ["personal data: EMAIL_ADDRESS"]


def test_counts_and_meta_say_what_was_found() -> None:
    result = Pii(ALL)(batch_of("a@example.com b@example.com 81.2.69.142"))
    assert result.counts == {"found EMAIL_ADDRESS": 2, "found IP_ADDRESS": 1}
    assert documents_of(result.batch)[0].meta["pii"] == {"EMAIL_ADDRESS": 2, "IP_ADDRESS": 1}


def test_a_number_is_found_wherever_it_stands_in_a_long_text() -> None:
    # Phone numbers are looked for around digits alone, e-mail addresses around each @.
    filler = "The harbour opens at nine and closes late. " * 40
    texts = ("+44 20 7946 0958", "(415) 555-0132 ext. 77", "anna.b@mail.example.org", "GB82 WEST 1234 5698 7654 32")
    for count in range(3):
        text = filler * count + " ".join(f"{one} {filler}" for one in texts)
        assert [text[span.start : span.end] for span in find_pii(text)] == list(texts)


def test_code_is_searched_for_few_types() -> None:
    source = "LIMIT = 4111111111111111\nMAIL = 'joe@example.com'"
    assert texts_of(Pii(ALL)(batch_of(source, kind="code"))) == ["LIMIT = 4111111111111111\nMAIL = '<EMAIL_ADDRESS>'"]


NUMBERISH = st.text(alphabet="0123456789 -.()+@:/abcxX微信电话号a京A\ufffc", max_size=120)


@given(NUMBERISH)
def test_redaction_is_idempotent(text: str) -> None:
    once = redact(text, find_pii(text))
    assert once.count("\ufffc") == text.count("\ufffc")
    again = redact(once, find_pii(once))
    assert redact(again, find_pii(again)) == again


@given(NUMBERISH)
def test_spans_are_sorted_and_apart(text: str) -> None:
    spans = find_pii(text)
    assert all(span.start < span.end <= len(text) for span in spans)
    assert all(first.end <= second.start for first, second in itertools.pairwise(spans))


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        "1 ",
        "1-",
        "a@",
        "1.",
        "a.",
        ":",
        "0:",
        "微信",
        "电话1",
        "(1",
        "+1 ",
        "eyJ",
        "GB12",
        "京A1",
        "省市区路",
        "中山路1号",
        "<b>",
        "&#64;",
        "a at b dot ",
        "1 Elm ",
        "Suite 5\n",
        "the corner of ",
        "A1",
        "Via ",
        " dot ",
        "１",
        "区县区县镇乡区路1号",
        "在1在1在1路1号",
        "a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a dot ",
        "A B C D St. 1 ",
    ],
)
def test_regexes_take_linear_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    find_pii(text)
    assert time.process_time() - started < 3.0


def test_the_trap_file_takes_bounded_time(open_data: Path) -> None:
    text = (open_data / "bad" / "regex_trap.txt").read_text("utf-8", "replace")
    started = time.process_time()
    find_pii(text)
    assert time.process_time() - started < 2.0


_FRAGMENTS = [
    "a@b.com",
    "joe at mail dot com",
    "joe [at] x.org",
    "小王圈a qq.com",
    "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
    "DE89 3704 0044 0532 0130 00",
    "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "11010519491231002X",
    "driver's license A1234567",
    "4111 1111 1111 1111",
    "078-05-1120",
    "8.8.8.8",
    "2001:db8::ff00:42:8329",
    "00:1A:2B:3C:4D:5E",
    "001a.2b3c.4d5e",
    "00-1A-2B-3C-4D-5E",
    "微信号: abcdef12",
    "wx_abcdef",
    "VX: hello123",
    "加v abcdefg1",
    "QQ:12345678",
    "京A12345",
    "护照 E12345678",
    "北京市海淀区中关村大街27号",
    "12 Main Street",
    "PO Box 12",
    "+1 212-555-0199",
    "zip code 90210",
    "PLZ: 12345",
    "psč 12345",
    "código postal 28013",
    "CAP 00184",
    "c.a.p. 00184",
    "CEP 01310-100",
    "eircode D02 X285",
    "邮编:100000",
    "〒100-0001",
    "CA, 90210-1234",
    "SW1A 1AA",
    "K1A 0B1",
    "in Paris 75008.",
    "from Town 12-345\n",
    "in Lund 223 50.",
    "in Delft 2611 AB.",
    "in 1999.",
    "CA ١٢٣٤٥",
    "AB123456C",
    "123.456.789-09",
    "12345678Z",
    "A123456(3)",
    "850101-1234567",
    "word",
    "The",
    "\n",
    "。",
    "路5号",
    "12:30:45",
    "v1.2.3.4",
    "10-12-2020",
    ",",
]


@given(
    st.lists(st.sampled_from(_FRAGMENTS), max_size=6),
    st.sampled_from(["", " ", ", ", "\n"]),
    st.integers(0, 200),
    st.sampled_from([None, "", "a", "Z", "0", " ", ".", "-", ":", "@", "9", "(", "京"]),
)
@settings(deadline=None, max_examples=300)
def test_the_scan_loses_no_finding(parts: list[str], between: str, place: int, put: str | None) -> None:
    """Also where a character is put in, or one taken out ("")."""
    text = between.join(parts)
    if put is not None and text:
        place %= len(text)
        text = text[:place] + put + text[place + (not put) :]
    asked = {name: list(detector(text)) for name, detector in detectors_for(text)}
    has_digit = any(character in "0123456789一二三四五六七八九十" for character in text)
    for name, detector in DETECTORS.items():
        if has_digit or name in ("EMAIL_ADDRESS", "CRYPTO", "WECHAT_ID", "LICENSE_PLATE"):
            assert asked.get(name, []) == list(detector(text)), name
