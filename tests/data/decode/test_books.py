"""Books: chapters, contents, page furniture, divided words, and what hostile ones hold."""

from __future__ import annotations

import io
import time
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.decode.books import book_pieces, epub_pieces, pdf_pieces
from expedition.data.decode.chapters import chapters_of, is_heading, located, without_contents
from expedition.data.decode.piece import Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.reflow import reflowed, undivided, without_running_lines
from expedition.data.decode.rules import Limits
from tests.data.decode.test_rows_and_books import epub

PROSE = (
    "The boat lay in the harbour all that winter and nobody came to ask what she was called or who had built her there."
)


def pdf(pages: list[list[str]]) -> bytes:
    """A PDF whose pages show these lines, in Helvetica."""
    parts: list[bytes] = []
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    parts.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    parts.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    parts.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    for number, lines in enumerate(pages):
        shown = "".join(f"({line}) Tj T* " for line in lines)
        content = f"BT /F1 10 Tf 12 TL 40 780 Td {shown}ET".encode("cp1252")
        parts.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> "
            + f"/Contents {5 + 2 * number} 0 R >>".encode()
        )
        parts.append(f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + part + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = f"xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(parts) + 1} /Root 1 0 R >>\n"
    return out + end.encode() + f"startxref\n{len(out)}\n%%EOF".encode()


def one(pieces: object) -> Piece:
    """The only document."""
    (piece,) = list(pieces)  # type: ignore[call-overload]
    assert isinstance(piece, Piece)
    return piece


@pytest.mark.parametrize(
    "line",
    [
        "CHAPTER I. Down the Rabbit-Hole",
        "Chapter 12",
        "BOOK THE SECOND",
        "Act III",
        "LETTER 4",
        "II. A GAME OF CHESS",
        "第一章 总则",
        "第十二回",
        "《学而篇》",
        "《帝京篇十首 一》 太宗皇帝",
        "卷三",
        "Kapitel 3: Der Hafen",
        "Глава 5",
        "Preface",
        "PROLOGUE",
    ],
)
def test_headings_are_known_by_form(line: str) -> None:
    assert is_heading(line)


@pytest.mark.parametrize(
    "line",
    [
        "Chapter and verse he gave me",
        "Part of the ship was dry",
        "Book two rooms for us",
        "I. I did not",
        "第一次世界大战结束以后，他回到了家乡。",
        "《红楼梦》是一部小说，作者是曹雪芹。",
        "Introduction to the harbour master was easy",
    ],
)
def test_sentences_are_no_headings(line: str) -> None:
    assert not is_heading(line)


def test_chapters_have_titles_and_offsets() -> None:
    text = f"The Boat\n\nby N. N.\n\nChapter 1\n\n{PROSE}\n\nChapter 2. Oars\n\n{PROSE}\n"
    piece = one(book_pieces(text.encode(), Limits()))
    chapters = piece.meta["chapters"]
    assert [chapter["title"] for chapter in chapters] == ["Chapter 1", "Chapter 2. Oars"]
    assert all(piece.text[chapter["start"] :].startswith(chapter["title"]) for chapter in chapters)
    assert piece.text[: piece.meta["front_matter"]].strip() == "The Boat\n\nby N. N."
    assert "chapters" not in one(book_pieces(PROSE.encode(), Limits())).meta


def test_offsets_count_from_the_part_where_a_book_is_split() -> None:
    text = "\n\n".join(f"Chapter {number}\n\n{PROSE}" for number in range(1, 40))
    pieces = list(book_pieces(text.encode(), Limits(text_characters=1000)))
    assert len(pieces) > 3
    for piece in pieces:
        for chapter in piece.meta["chapters"]:
            assert piece.text[chapter["start"] :].startswith(chapter["title"])
    assert sum(len(piece.meta["chapters"]) for piece in pieces) == 39


@pytest.mark.parametrize(
    "table",
    [
        "CONTENTS\n\nChapter 1. The Boat\nChapter 2. The Oars\nChapter 3. The Sail",
        "Table of Contents\n\nThe Boat ........ 1\nThe Oars ........ 17\nThe Sail ........ 203",
        "Contents\n\n- Chapter 1. The Boat   9\n\n- Chapter 2. The Oars   12\n\n- Chapter 3. The Sail   40",
    ],
)
def test_a_table_of_contents_goes_and_the_chapters_stay(table: str) -> None:
    names = ("The Boat", "The Oars", "The Sail")
    body = "\n\n".join(f"Chapter {number}. {name}\n\n{PROSE}" for number, name in enumerate(names, 1))
    text, entries = without_contents(f"A Tale\n\n{table}\n\n{body}")
    assert entries == 3
    assert text == f"A Tale\n\n{body}"


@pytest.mark.parametrize("text", [f"Contents\n\n{PROSE}\n\n{PROSE}", "Contents\n\nfish\n\nbread", "", "Contents"])
def test_what_is_no_table_of_contents_stays(text: str) -> None:
    assert without_contents(text) == (text, 0)


@given(st.text(alphabet="CHAPTER contents\n.1一第章《》-", max_size=400))
def test_any_text_keeps_its_lines(text: str) -> None:
    left, _ = without_contents(text)
    assert not Counter(filter(None, map(str.strip, left.split("\n")))) - Counter(map(str.strip, text.split("\n")))
    found = chapters_of(text)
    assert all(text[chapter.start :].split("\n")[0].split() == chapter.title.split() for chapter in found)
    assert [chapter.start for chapter in found] == sorted({chapter.start for chapter in found})


@given(
    st.lists(st.sampled_from(["One", "Two", "Three"]), max_size=6),
    st.lists(st.sampled_from(["One", "Two", "x"]), max_size=9),
)
def test_known_titles_are_found_in_order_as_whole_lines(titles: list[str], lines: list[str]) -> None:
    text = "\n".join(lines)
    found = located(titles, text)
    assert [chapter.start for chapter in found] == sorted({chapter.start for chapter in found})
    assert all(text[chapter.start :].split("\n")[0] == chapter.title for chapter in found)


def test_running_heads_page_numbers_and_divided_words_of_a_pdf_are_mended() -> None:
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
    pages = [
        [
            "THE BOAT",
            f"On {day} the harbour of the little town froze and the inter-",
            f"national boats could not come in until {day} when the well-",
            "known pilot had opened a way. The international pilots'",
            f"guild met in the well-known house above the harbour on {day} and",
            f"sent for him on {day}.",
            str(number),
        ]
        for number, day in enumerate(days, 7)
    ]
    text = one(pdf_pieces(pdf(pages), Limits())).text
    assert "THE BOAT" not in text
    assert "the international boats" in text and "the well-known pilot" in text
    assert not any(line.strip().isdigit() for line in text.split("\n"))


def test_a_heading_of_two_lines_is_one_and_begins_a_paragraph() -> None:
    full = "x" * 30 + " " + "y" * 40
    text = reflowed([f"{full}\nand so it ended {full}\nCHAPTER III. A Race and\na Long Tale\n{full}\n{full}."])
    assert "\n\nCHAPTER III. A Race and a Long Tale\n\n" in text


def test_pages_without_running_lines_are_left_alone() -> None:
    pages = [
        f"First words of page {word}\nThe {word} of all\n{PROSE}\nthe end of {word}\nlast words of {word}"
        for word in ("one", "two", "three", "four")
    ]
    assert without_running_lines(pages) == pages


def test_divided_words_of_a_plain_text_are_whole_where_the_text_has_them_whole() -> None:
    assert undivided("the inter-\nnational law, international") == "the international\nlaw, international"
    assert undivided("a daisy-\nchain of flowers") == "a daisy-\nchain of flowers"
    assert undivided("so\u00adfa, and [Pg 12] on") == "sofa, and on"


@given(st.text(alphabet="abc-\n \u00ad.", max_size=200))
def test_mending_divided_words_loses_no_letter(text: str) -> None:
    letters = "abc."
    assert [c for c in undivided(text) if c in letters] == [c for c in text if c in letters]


def test_a_pdf_without_text_says_so() -> None:
    with pytest.raises(Refused) as refused:
        list(pdf_pieces(pdf([[], []]), Limits()))
    assert refused.value.reason is Reason.NO_TEXT
    assert "2 pages" in refused.value.detail


def rewritten(data: bytes, old: str, new: str) -> bytes:
    """An EPUB with one replacement in its package files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            body = source.read(name)
            target.writestr(
                name, body.replace(old.encode(), new.encode()) if name.endswith((".opf", "container.xml")) else body
            )
    return buffer.getvalue()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "file:///etc/passwd", "../../../etc/passwd", "C:\\boot.ini", "%2Fetc%2Fpasswd"]
)
def test_paths_that_lead_outside_of_a_book_are_not_followed(path: str) -> None:
    book = epub({"a": "<p>First.</p>", "b": "<p>Second.</p>"}, ["a", "b"])
    piece = one(epub_pieces(rewritten(book, 'href="a.xhtml"', f'href="{path}"'), Limits()))
    assert piece.text == "Second."
    assert [repair.reason for repair in piece.repairs] == [Reason.UNSAFE_PATH]
    alone = epub({"a": "<p>First.</p>"}, ["a"])
    for old, new in (('href="a.xhtml"', f'href="{path}"'), ('full-path="OPS/book.opf"', f'full-path="{path}"')):
        with pytest.raises(Refused) as refused:
            list(epub_pieces(rewritten(alone, old, new), Limits()))
        assert refused.value.reason in (Reason.UNSAFE_PATH, Reason.CORRUPT)


def test_page_breaks_covers_and_lists_of_links_of_an_epub_go() -> None:
    links = "".join(f'<li><a href="c{n}.xhtml">The chapter of number {n}</a></li>' for n in range(6))
    book = epub(
        {
            "cover": '<section epub:type="cover"><p>Cover</p></section>',
            "rights": '<section epub:type="copyright-page"><p>All rights reserved.</p></section>',
            "list": f"<h1>Contents</h1><ol>{links}</ol>",
            "one": '<h1>The <i>Boat</i></h1><p>First <span epub:type="pagebreak" id="p1">169</span>words.</p>',
            "two": f"<h2>Oars</h2><p>{PROSE}</p><p>See <a href='x'>the boat</a>.</p>",
        },
        ["cover", "rights", "list", "one", "two"],
    )
    piece = one(epub_pieces(book, Limits()))
    assert piece.text.startswith("The Boat")
    assert "169" not in piece.text and "rights" not in piece.text and "number 3" not in piece.text
    assert "First words." in piece.text and "See the boat." in piece.text
    assert [chapter["title"] for chapter in piece.meta["chapters"]] == ["The Boat", "Oars"]
    assert all(piece.text[chapter["start"] :].startswith(chapter["title"]) for chapter in piece.meta["chapters"])


def test_time_is_linear_in_hostile_markup() -> None:
    for body in ("<h1>" * 60_000, "<a>" * 80_000, "<p epub:type='pagebreak" * 12_000, "<span role=" * 20_000):
        started = time.process_time()
        with suppress(Refused):
            list(epub_pieces(epub({"a": body}, ["a"]), Limits()))
        assert time.process_time() - started < 3


WRAPPED = """Project Gutenberg's The Boat, by N. N.

Title: The Boat
Author: N. N.
Release Date: June 25, 2008 [EBook #11]
Language: German

*** START OF THIS PROJECT GUTENBERG EBOOK THE BOAT OF
THE HARBOUR ***

Produced by Volunteers

[Transcriber's Note: spelling as printed.]

[Illustration]

Es war einmal ein Boot.

*** END OF THIS PROJECT GUTENBERG EBOOK THE BOAT ***
Licence terms follow.
"""


def test_what_a_wrapper_said_is_kept_as_provenance() -> None:
    piece = one(book_pieces(WRAPPED.encode(), Limits()))
    assert piece.text == "Es war einmal ein Boot."
    assert piece.language == "de"
    assert (piece.meta["ebook_number"], piece.meta["release_date"]) == (11, "June 25, 2008 [EBook #11]")
    assert (piece.meta["wrapper"], piece.licence) == ("Project Gutenberg", "Public-Domain")


def test_real_books_have_their_chapters(open_data: Path) -> None:
    books = open_data / "books"
    alice = one(pdf_pieces(books / "en_alice_wonderland.pdf", Limits()))
    printed = one(book_pieces((books / "en_alice_wonderland.txt").read_bytes(), Limits()))
    austen = one(book_pieces((books / "en_pride_and_prejudice.txt").read_bytes(), Limits()))
    lunyu = one(book_pieces((books / "zh_lunyu.txt").read_bytes(), Limits()))
    counts = [len(book.meta["chapters"]) for book in (alice, printed, austen, lunyu)]
    assert counts == [12, 12, 61, 20]
    assert alice.meta["contents_entries"] == 12
