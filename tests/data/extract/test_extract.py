"""Main text of pages: structure kept, furniture left, settings, and equal results without a compiler."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.cli.main import run
from expedition.data.compiled import PLAIN_ENVIRONMENT
from expedition.data.extract import Extract, extract, extract_folder, prepare, visible_text
from expedition.data.extract.formula import MATHML, PICTURE, SCRIPT, mathml_as_tex, tex_of
from expedition.data.extract.hints import ADVERT, BODY, COMMENTS, NAVIGATION, RELATED, SIDE, hints_of
from expedition.errors import InputError

PROSE = [
    "The mill stood by the river for three hundred years, and every spring the water rose to its lowest window.",
    "In the year of the great flood the miller carried his grain to the loft, and his neighbours slept there too.",
    "When the water fell again, the wheel was gone; they found it a month later in a meadow near the sea.",
]
MENU = "<nav><ul>" + "".join(f'<li><a href="/{n}">Section {n}</a></li>' for n in range(9)) + "</ul></nav>"
STRUCTURED = f"""<html lang="en"><head><title>The mill &amp; the sea</title></head><body>{MENU}<div class="post-content">
<p>{PROSE[0]}</p><ul><li>grain</li><li>water</li></ul>
<pre><code>def wheel(turns):
    return turns * 2<span class="ln">7</span>
</code></pre>
<table><tr><th>Year</th><th>Level</th></tr><tr><td>1784</td><td>3.2 m</td></tr><tr><td>1845</td><td>4.0 m</td></tr></table>
<p>The force is <math><semantics><mi>F</mi><annotation encoding="application/x-tex">F = \\rho g h</annotation></semantics></math>
and grows <span class="katex"><span class="katex-mathml"><math><semantics><annotation encoding="application/x-tex">h^2</annotation>
</semantics></math></span><span class="katex-html" aria-hidden="true">h2</span></span> in all.</p><p>{PROSE[1]}</p>
<p>{PROSE[2]}</p></div><div class="sidebar"><p>{PROSE[0].replace("mill", "shop")}</p></div></body></html>"""


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    prepare()


def page(main: str, around: str = "") -> str:
    return f"<html><body>{MENU}{main}{around}<footer><p>{PROSE[0].replace('mill', 'owner')}</p></footer></body></html>"


def test_structure_is_kept() -> None:
    found = extract(STRUCTURED)
    assert found == Extract(
        text=f"{PROSE[0]}\n\n- grain\n- water\n\ndef wheel(turns):\n    return turns * 2\n\nYear | Level\n1784 | 3.2 m\n"
        f"1845 | 4.0 m\n\nThe force is $F = \\rho g h$ and grows $h^2$ in all.\n\n{PROSE[1]}\n\n{PROSE[2]}",
        title="The mill & the sea",
        language="en",
    )


def test_comments_go_where_there_is_a_story_and_stay_where_they_are_the_page() -> None:
    said = "".join(f'<li class="comment"><p>{text}</p></li>' for text in PROSE)
    story = extract(
        page(
            f"<article><h1>Mill</h1><p>{PROSE[1]} {PROSE[0]} {PROSE[2]}</p></article>",
            f"<ol class='comment-list'>{said}</ol>",
        )
    )
    assert story.text == f"{PROSE[1]} {PROSE[0]} {PROSE[2]}"
    thread = extract(page(f"<h1>Who remembers the mill?</h1><ol class='comment-list'>{said}</ol>"))
    assert all(text in thread.text for text in PROSE)


def test_the_first_of_stories_loaded_one_below_the_other_is_the_page() -> None:
    one, two = ("".join(f"<p>{text.replace('mill', word)}</p>" for text in PROSE) for word in ("mill", "forge"))
    found = extract(page(f"<main><article><h1>One</h1>{one}</article><article><h1>Two</h1>{two}{two}</article></main>"))
    assert "mill" in found.text and "forge" not in found.text


def test_a_related_heading_between_paragraphs_does_not_end_the_story() -> None:
    middle = (
        f"<p>{PROSE[0]} {PROSE[1]} {PROSE[2]}</p><h3>Related articles</h3><p><a href='/x'>The forge burns down</a></p>"
    )
    found = extract(page(f"<article>{middle}<p>{PROSE[1]}</p><p>{PROSE[2]} {PROSE[1]} {PROSE[0]}</p></article>"))
    assert found.text.endswith(PROSE[0]) and "forge" not in found.text


def test_hidden_text_is_left_out_and_tabs_are_not() -> None:
    body = f"<div class='article-body'><p>{PROSE[0]}</p><p>{PROSE[1]}</p><div style='display: none'><p>{PROSE[2]}</p></div></div>"
    assert PROSE[2] not in extract(page(body)).text
    tab = body.replace("<div style", "<div class='tab-pane' style")
    assert PROSE[2] in extract(page(tab)).text


def test_optional_end_tags_and_unclosed_elements_part_paragraphs() -> None:
    found = extract(
        page(
            f"<div class='article-body'><p>{PROSE[0]}<p>{PROSE[1]}<ul><li>one line<li>two lines</ul><p>{PROSE[2]}</div>"
        )
    )
    assert found.text == f"{PROSE[0]}\n\n{PROSE[1]}\n\n- one line\n- two lines\n\n{PROSE[2]}"


def test_code_in_other_marks_keeps_its_lines() -> None:
    rows = "".join(
        f'<tr><td class="blob-num">{n}</td><td class="blob-code">{line}</td></tr>'
        for n, line in enumerate(("if a:", "    b()"))
    )
    breaks = "<div class='code'><code>for&nbsp;x:<br>&nbsp;&nbsp;&nbsp;&nbsp;y()<br></code></div>"
    found = extract(
        page(
            f"<div class='article-body'><p>{PROSE[0]}</p><table>{rows}</table><p>{PROSE[1]}</p>{breaks}<p>{PROSE[2]}</p></div>"
        )
    )
    assert "if a:\n    b()" in found.text
    assert "for x:\n    y()" in found.text


def test_a_page_that_scripts_fill_gives_the_body_that_it_states() -> None:
    data = json.dumps({"@type": "NewsArticle", "articleBody": "\n".join(PROSE * 2)})
    found = extract(
        f"<html><body><div id=app></div><p>Loading</p><script type='application/ld+json'>{data}</script></body></html>"
    )
    assert found.text == "\n".join(PROSE * 2)


def test_visible_text_judges_nothing_but_hides_what_is_hidden() -> None:
    text = visible_text(page(f"<p>{PROSE[0]}</p><p hidden>secret</p>"))
    assert "Section 3" in text and PROSE[0] in text and "owner" in text and "secret" not in text


@pytest.mark.parametrize(
    ("value", "bit"),
    [
        ("article__body", BODY),
        ("articleBody", BODY),
        ("ad", ADVERT),
        ("top-ad-slot", ADVERT),
        ("commentList", COMMENTS),
        ("mainNav", NAVIGATION),
        ("relatedPosts", RELATED),
        ("page-sidebar", SIDE),
    ],
)
def test_words_of_classes_are_found_in_any_spelling(value: str, bit: int) -> None:
    assert hints_of(value) & bit


@pytest.mark.parametrize("value", ["header", "shadow", "loading", "canvas", "download", "gradient"])
def test_words_within_words_are_not_found(value: str) -> None:
    assert not hints_of(value) & (ADVERT | NAVIGATION | COMMENTS)


def test_formulas_become_tex() -> None:
    assert tex_of("{\\displaystyle x^{2}}", PICTURE) == "$x^{2}$"
    assert tex_of("a &lt; b", SCRIPT) == "$a < b$"
    assert tex_of('<math display="block" alttext="e = mc^2"><mi>e</mi>', MATHML) == "$$e = mc^2$$"
    source = "<math><mfrac><mn>1</mn><msqrt><mi>α</mi></msqrt></mfrac><mo>≤</mo><msubsup><mi>x</mi><mn>0</mn><mn>2</mn></msubsup></math>"
    assert mathml_as_tex(source) == "\\frac{1}{\\sqrt{\\alpha }}\\le x_{0}^{2}"
    assert len(mathml_as_tex("<mrow>" * 100_000 + "<mi>x")) < 10


@given(st.text(alphabet="<>/=\"'&; \n-!pabdivtrx", max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_markup_gives_text_without_raising(markup: str) -> None:
    found = extract(markup)
    assert found.text == found.text.strip()
    assert "\x02" not in found.text


def test_plain_kernels_give_the_same_text() -> None:
    code = "import json, sys; from expedition.data.extract import extract; print(json.dumps([extract(m).text for m in json.load(sys.stdin)]))"
    markups = [
        STRUCTURED,
        "<p>a < b<br><br>c<table><tr><td>x",
        "人人生而自由。" * 40,
        "<a href='x>y'>&copy;</a></p><li>z",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(markups),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, PLAIN_ENVIRONMENT: "1"},
    )
    assert json.loads(done.stdout) == [extract(markup).text for markup in markups]


def test_a_folder_of_pages_becomes_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "b.html").write_text(STRUCTURED, encoding="utf-8")
    (folder / "a.html.gz").write_bytes(gzip.compress(f"<meta charset=gbk><p>{'人人生而自由。' * 30}".encode("gbk")))
    (folder / "c.html.gz").write_bytes(b"no gzip at all")
    (folder / "notes.txt").write_text("left aside")
    out = tmp_path / "out" / "texts.jsonl"
    assert run(["data", "extract", "--html", str(folder), "--out", str(out), "--setting", "precise", "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["file"] for row in rows] == ["a.html.gz", "b.html", "c.html.gz"]
    assert rows[0]["text"] == "人人生而自由。" * 30
    assert rows[1]["title"] == "The mill & the sea"
    assert (rows[2]["text"], counts["empty"], sum(counts["refused"].values())) == ("", 1, 1)


def test_a_folder_without_pages_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no page"):
        extract_folder(tmp_path, tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="no folder"):
        extract_folder(tmp_path / "absent", tmp_path / "out.jsonl")
