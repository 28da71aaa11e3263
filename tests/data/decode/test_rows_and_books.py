"""Rows, rules, subtitles, interleaved pages, books and source files."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode import load_yaml, read_robots
from expedition.data.decode.books import book_pieces, epub_pieces, pdf_pieces, unwrapped
from expedition.data.decode.code import code_language, code_piece
from expedition.data.decode.interleaved import interleaved_piece, parts_of
from expedition.data.decode.jsonl import json_pieces, json_value, line_pieces
from expedition.data.decode.licence import named_licence
from expedition.data.decode.piece import Fault, Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import DecodeRules, Limits
from expedition.data.decode.subtitles import cue_text, read_track
from expedition.data.decode.tables import table_pieces
from tests.data.decode.test_media import picture


@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=4), max_size=5
    )
)
def test_every_row_is_a_document_or_a_fault(rows: list[dict[str, object]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    found = list(line_pieces(io.BytesIO(data), Limits()))
    assert len(found) == len(rows)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"text": "a"}, "a"),
        ({"content": "b", "url": "http://x"}, "b"),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
            "user: Hi\n\nassistant: Hello",
        ),
        ({"conversations": [{"from": "human", "value": "Hi"}]}, "human: Hi"),
        ({"instruction": "Add.", "input": "1 1", "output": "2"}, "Add.\n\n1 1\n\n2"),
        ({"question": "Why?", "answer": "So."}, "Why?\n\nSo."),
    ],
)
def test_texts_of_rows_are_found(row: dict[str, object], text: str) -> None:
    piece = next(iter(json_pieces(json.dumps([row]).encode(), Limits())))
    assert isinstance(piece, Piece) and piece.text == text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1, "a": 2}', Reason.DUPLICATE_KEY),
        (b"[NaN]", Reason.WRONG_TYPE),
        (b'"\\udc00"', Reason.LONE_SURROGATE),
        (b"[" * 50_000, Reason.TOO_DEEP),
        (b'{"a": "\xff"}', Reason.ENCODING),
        (b'{"a": ', Reason.BROKEN_LINE),
    ],
)
def test_json_faults_have_their_reason(line: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        json_value(line)
    assert refused.value.reason is reason


def test_a_line_without_end_is_one_fault_in_bounded_memory() -> None:
    data = b'{"text":"' + b"x" * (6 << 20) + b'"}\n{"text":"after"}\n'
    found = list(line_pieces(io.BytesIO(data), Limits()))
    assert isinstance(found[0], Fault) and found[0].reason is Reason.TOO_LARGE
    assert isinstance(found[1], Piece) and found[1].text == "after"


def test_table_rows_are_counted() -> None:
    found = list(table_pieces(b"id\ttext\n1\tone\n2\n3\tthree\n", Limits()))
    assert [item.text if isinstance(item, Piece) else item.reason for item in found] == [
        "one",
        Reason.BROKEN_ROW,
        "three",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x: !!python/object/apply:os.system [ls]", Reason.UNSAFE_TAG),
        ("x: !ruby/object:Gem {}", Reason.UNSAFE_TAG),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)),
            Reason.UNPACKED_TOO_LARGE,
        ),
        ("[" * 500, Reason.TOO_DEEP),
        ("a: [1", Reason.CORRUPT),
    ],
)
def test_hostile_yaml_is_refused(text: str, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        load_yaml(text.encode())
    assert refused.value.reason is reason


def test_plain_yaml_is_read() -> None:
    assert load_yaml(b"base: &b {x: 1}\nlist: [*b, *b]\ndate: 2024-01-01\n")["list"] == [{"x": 1}, {"x": 1}]


def test_robots_rules_hold() -> None:
    robots = read_robots(
        b"User-agent: *\nDisallow: /private\nAllow: /private/open\nUser-agent: ourbot\nDisallow: /*.pdf$\nnonsense\n"
    )
    assert not robots.allowed("otherbot", "/private/x")
    assert robots.allowed("otherbot", "/private/open/x")
    assert robots.allowed("ourbot/1.0", "/private/x")
    assert not robots.allowed("OurBot/1.0", "/a/b.pdf")
    assert robots.allowed("OurBot/1.0", "/a/b.pdf?x")
    assert robots.faulty_lines == (6,)


def test_faulty_robots_keep_their_good_lines(open_data: Path) -> None:
    robots = read_robots((open_data / "bad" / "robots_bad.txt").read_bytes())
    assert not robots.allowed("anybot", "/private/page")
    assert robots.allowed("anybot", "/x")
    assert len(robots.faulty_lines) == 3


def test_subtitles_of_both_formats_agree() -> None:
    srt = (
        "1\r\n00:00:01,500 --> 00:00:03,000\r\n<i>One</i> &amp; two\r\n\r\n"
        "2\r\n00:00:03,000 --> 00:00:04,000\r\nthree\r\n"
    )
    vtt = (
        "WEBVTT - title\n\nNOTE a note\nthat goes on\n\nSTYLE\n::cue {}\n\nid\n"
        "00:01.500 --> 00:03.000 align:start\n<c.yellow>One</c> & two\n\n00:03.000 --> 00:04.000\nthree\n"
    )
    first, second = read_track(srt.encode()), read_track(vtt.encode())
    assert first.cues == second.cues
    assert cue_text(first.cues) == "One & two\nthree"
    assert (first.cues[0].start_s, first.cues[0].end_s) == (1.5, 3.0)


def test_impossible_cues_are_dropped_and_counted() -> None:
    track = read_track(
        b"1\n00:00:05,000 --> 00:00:02,000\nback\n\n2\n00:75:00,000 --> 00:76:00,000\nminutes\n\n"
        b"3\n00:00:09,000 --> 00:00:10,000\nlast\n\n4\n00:00:01,000 --> 00:00:02,000\nfirst\n"
    )
    assert [cue.text for cue in track.cues] == ["first", "last"]
    assert sum(track.dropped.values()) == 2


def test_pictures_stand_in_reading_order() -> None:
    jpeg = picture("JPEG")
    row = {
        "id": "d",
        "items": [
            {"type": "text", "text": "A"},
            {"type": "image", "image": "a.jpg"},
            {"type": "text", "text": "B\ufffc"},
            {"type": "image", "image": "gone.jpg"},
        ],
    }

    def picture_of(name: str) -> bytes:
        if name != "a.jpg":
            raise Refused(Reason.MISSING_MEDIA, name)
        return jpeg

    piece = interleaved_piece(row, picture_of, DecodeRules(), "line 1")
    assert piece.text == "A\n\n\ufffc\n\nB"
    assert len(piece.inserts) == 1
    assert [repair.reason for repair in piece.repairs] == [Reason.MISSING_MEDIA]
    assert parts_of({"texts": ["A", None, "B"], "images": [None, "a.jpg", None]}) == [
        ("text", "A"),
        ("image", "a.jpg"),
        ("text", "B"),
    ]
    assert parts_of({"text": "plain"}) is None


GUTENBERG = """The Project Gutenberg eBook of A Small Tale

Title: A Small Tale
Author: N. N.

*** START OF THE PROJECT GUTENBERG EBOOK A SMALL TALE ***

Produced by Volunteers

Once upon a time.

*** END OF THE PROJECT GUTENBERG EBOOK A SMALL TALE ***
Licence terms follow.
"""


def test_wrappers_of_books_come_off() -> None:
    piece = next(iter(book_pieces(GUTENBERG.encode(), Limits())))
    assert piece.text == "Once upon a time."
    assert (piece.meta["title"], piece.meta["author"], piece.licence) == ("A Small Tale", "N. N.", "Public-Domain")
    assert unwrapped("No wrapper here.") == ("No wrapper here.", {})


def epub(chapters: dict[str, str], spine: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        book.writestr("mimetype", "application/epub+zip")
        book.writestr(
            "META-INF/container.xml",
            '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(
            f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters
        )
        refs = "".join(f'<itemref idref="{name}"/>' for name in spine)
        book.writestr(
            "OPS/book.opf",
            "<package><metadata><dc:title>T &amp; U</dc:title><dc:language>en</dc:language>"
            f"<dc:rights>Public Domain</dc:rights></metadata><manifest>{items}</manifest>"
            f"<spine>{refs}</spine></package>",
        )
        for name, body in chapters.items():
            book.writestr(f"OPS/{name}.xhtml", f"<html><body>{body}</body></html>")
    return buffer.getvalue()


def test_chapters_follow_the_spine() -> None:
    data = epub({"a": "<h1>One</h1><p>First.</p>", "b": "<p>Second.</p>", "unused": "<p>No.</p>"}, ["b", "a", "gone"])
    piece = next(iter(epub_pieces(data, Limits())))
    assert piece.text.replace("\n\n", "|") == "Second.|One|First."
    assert (piece.language, piece.licence, piece.meta["title"]) == ("en", "Public-Domain", "T & U")


@pytest.mark.parametrize("data", [b"PK\x03\x04broken", epub({}, [])[:200], b""])
def test_broken_books_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        list(epub_pieces(data, Limits()))
    with pytest.raises(Refused):
        list(pdf_pieces(b"%PDF-1.4\n" + data, Limits()))


def test_real_books_are_read(open_data: Path) -> None:
    texts = {}
    for name in ("en_alice_wonderland.pdf", "en_childrens_literature.epub", "en_wasteland.epub"):
        read = pdf_pieces if name.endswith("pdf") else epub_pieces
        texts[name] = next(iter(read(open_data / "books" / name, Limits()))).text
    assert "April is the cruellest month" in texts["en_wasteland.epub"]
    assert (
        "the pleasure of making a daisy-chain would be worth the trouble of getting up"
        in texts["en_alice_wonderland.pdf"]
    )
    assert "PROJECT GUTENBERG" not in texts["en_alice_wonderland.pdf"][:2000]


def test_source_files_keep_their_form() -> None:
    source = (
        b"// SPDX-License-Identifier: MIT OR Apache-2.0\r\nfn main() {\r\n\tlet x = 1; // \xe2\x80\xae\r\n}\r\n\r\n"
    )
    piece = code_piece(source, "src/main.rs", Limits())
    assert piece.text == "// SPDX-License-Identifier: MIT OR Apache-2.0\nfn main() {\n\tlet x = 1; // \n}\n"
    assert (piece.licence, piece.meta["code_language"], piece.meta["lines"]) == ("MIT OR Apache-2.0", "rust", 4)
    assert code_language("run", "#!/usr/bin/env python3\n") == "python"
    assert code_language("Makefile") == "make"


@pytest.mark.parametrize(
    ("words", "spdx"),
    [
        ("credit: by Unknown/Wikimedia Commons, Public Domain", "Public-Domain"),
        ("CC BY-SA 3.0", "CC-BY-SA-3.0"),
        ("modification of work by X, CC BY 4.0", "CC-BY-4.0"),
        ("CC BY-NC-ND", "CC-BY-NC-ND-4.0"),
        ("photo by MIT Press", None),
        ("", None),
    ],
)
def test_licences_in_prose_are_named(words: str, spdx: str | None) -> None:
    assert named_licence(words) == spdx
