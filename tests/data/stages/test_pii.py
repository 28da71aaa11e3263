"""Personal data: what is found, what is not, redaction, and time."""

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.records import documents_of
from expedition.data.stages.pii import Pii, PiiPolicy, find_pii, redact
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
    ],
)
def test_look_alikes_are_left(text: str) -> None:
    assert types_in(text) == []


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
