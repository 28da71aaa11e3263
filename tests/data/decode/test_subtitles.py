"""Subtitles of every kind of untidiness: words come out plain, in order, and never as markup."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode.companion import companion_of_row
from expedition.data.decode.piece import Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.subtitles import cue_text, plain_words, read_track, track_piece


def srt(*cues: tuple[str, str, str]) -> bytes:
    return "\n".join(f"{n}\n{a} --> {b}\n{text}\n" for n, (a, b, text) in enumerate(cues, 1)).encode()


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("<b>bold</b> and <i>more</i>", "bold and more"),
        ("<v Ada>hello</v>", "hello"),
        ("<00:00:01.500>timed <c.yellow>words</c>", "timed words"),
        ("{\\an8}on top", "on top"),
        ("if a &lt; b &amp;&amp; b > c", "if a < b && b > c"),
        ("I <3 you, 2 < 3", "I <3 you, 2 < 3"),
        ("before<script>alert('x')</script>after", "beforeafter"),
        ("before<SCRIPT SRC=//e.org/x.js>alert(1)</ScRiPt >after", "beforeafter"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;words", "words"),
        ("&lt;img src=x onerror=alert(1)&gt;words", "words"),
        ("words<script>never closed", "words"),
        ("<style>p{color:red}</style>words", "words"),
        ("a&#xFFFC;b&#x202E;c&#0;d", "abc\ufffdd"),
        ("a<\ufffcscript>b</script>c", "ac"),
        ("a&lt;&#x202e;script&gt;b&lt;/script&gt;c", "ac"),
        ("a&lt;scr&lt;b&gt;ipt&gt;b", "a"),
        ("&lt;b" * 6 + "&gt;" * 6 + "words", "bb>>words"),
    ],
)
def test_words_of_a_cue_are_plain(written: str, plain: str) -> None:
    assert plain_words(written) == plain
    assert read_track(srt(("00:00:01,000", "00:00:02,000", written))).cues[0].text == plain


_PIECES = [
    "<",
    ">",
    "script",
    "</script>",
    "&lt;",
    "&gt;",
    "<b>",
    "&lt;b&gt;",
    "words ",
    "\n",
    "\ufffc",
    "&#xfffc;",
    "\x00",
]


@given(
    st.lists(
        st.sampled_from(_PIECES),
        max_size=30,
    )
)
def test_no_words_of_a_cue_hold_code_or_placeholders(parts: list[str]) -> None:
    found = plain_words("".join(parts))
    assert "\ufffc" not in found
    assert not re.search(r"<script\b", found, re.IGNORECASE)


@pytest.mark.parametrize("text", ["<script>" * 40_000, "<" * 200_000, "&lt;" * 100_000, "<b" * 100_000, "</" * 100_000])
def test_hostile_cues_take_linear_time(text: str) -> None:
    started = time.process_time()
    plain_words(text)
    assert time.process_time() - started < 2.0


def test_order_is_restored_and_told() -> None:
    track = read_track(
        srt(
            ("00:00:05,000", "00:00:06,000", "second"),
            ("00:00:01,000", "00:00:05,500", "first"),
            ("00:00:09,000", "00:00:10,000", "third"),
            ("00:00:09,000", "00:00:10,000", "third"),
        )
    )
    assert cue_text(track.cues) == "first\nsecond\nthird"
    assert Reason.REORDERED in {repair.reason for repair in track.repairs}
    assert track.dropped == {"repeated": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030", "big5"])
def test_encodings_are_found(encoding: str) -> None:
    line = "今天我們在海邊看到了很多船，天氣非常好" if encoding == "big5" else "今天我们在海边看到了很多船，天气非常好"
    text = "\n".join(f"{n}\n00:00:{n:02d},000 --> 00:00:{n:02d},900\n{line}{line}\n" for n in range(1, 9))
    data = ("\ufeff" + text).encode(encoding) if encoding == "utf-16-be" else text.encode(encoding)
    assert {cue.text for cue in read_track(data).cues} == {line + line}


def test_times_in_other_forms_are_read() -> None:
    text = "WEBVTT\n\n1:02 --&gt; 1:04 align:start\nminutes\n\n00:01:05.5 --> 00:01:06.25\nfractions\n\n-0:01 --> 00:02\nbad\n"
    track = read_track(text.encode())
    assert [(cue.start_s, cue.end_s, cue.text) for cue in track.cues] == [
        (62.0, 64.0, "minutes"),
        (65.5, 66.25, "fractions"),
    ]
    assert sum(track.dropped.values()) == 1


def test_a_cue_without_end_of_words_is_dropped() -> None:
    track = read_track(srt(("00:00:01,000", "00:00:02,000", "word " * 5000), ("00:00:03,000", "00:00:04,000", "fine")))
    assert cue_text(track.cues) == "fine"
    assert track.dropped == {"too many words": 1}


@given(st.binary(max_size=400))
def test_any_bytes_are_subtitles_or_refused(data: bytes) -> None:
    try:
        piece = track_piece(b"1\n00:00:01,000 --> 00:00:02,000\n" + data)
    except Refused:
        return
    assert "\ufffc" not in piece.text


def test_segments_of_a_row_are_cues_and_code_in_them_goes() -> None:
    row = {
        "text": "one two",
        "segments": [
            {"start": 3.0, "end": 4.0, "text": "two<script>x</script>"},
            {"start": 0.0, "end": 2.0, "text": " one"},
        ],
    }
    assert [(cue.start_s, cue.text) for cue in companion_of_row(row).cues] == [(0.0, "one"), (3.0, "two")]
    assert companion_of_row({"text": "a", "segments": [{"start": 2, "end": 1, "text": "a"}]}).cues == ()


def test_words_with_times_become_phrases() -> None:
    words = [{"word": word, "start": at, "end": at + 0.3} for word, at in (("a", 0.0), ("b", 0.4), ("c", 2.0))]
    assert [cue.text for cue in companion_of_row({"text": "a b c", "words": words}).cues] == ["a b", "c"]
