"""Template lines of a site go, sound lines and everything of other sites stay; whatever the workers and the files."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.engine import Limits
from expedition.data.engine.tables import read_batches, write_batches
from expedition.data.records import DOCUMENT_SCHEMA, Document, document_batch
from expedition.data.stages.dedup.lines import line_keys, site_of, strip_lines
from expedition.data.versions.assemble import Prepared
from expedition.data.versions.decisions import decisions_of
from expedition.data.versions.site_lines import strip_site_lines
from expedition.plan.data import SiteLinesPlan

HEAD = "Home | News"
MENU = ["Welcome to the harbour portal", "Weather", "Timetables and tickets for all ferries"]
FOOT = ["Contact the harbour office for questions about berths", "Imprint"]
CODE = ["import numpy as np", "    return total", "}", "a\tb\tc"]
LONG = (
    "The harbour was built in stages between the two great storms, and every stage was paid for by another guild. " * 3
)


def sentence(rng: random.Random) -> str:
    words = [
        "boat",
        "crane",
        "rope",
        "tide",
        "keel",
        "mast",
        "sail",
        "dock",
        "pier",
        "fog",
        "light",
        "bell",
        "gull",
        "net",
    ]
    return "The " + " ".join(rng.choice(words) for _ in range(12)) + "."


def page(number: int, site: str, *, own: list[str] | None = None) -> Document:
    rng = random.Random(f"{site}{number}")
    body = own if own is not None else [sentence(rng) for _ in range(6)]
    text = "\n".join([*MENU, *body[:3], *CODE, *body[3:], *FOOT])
    return Document(f"{site}{number:03d}".encode().hex(), "s", "web", "f", text, url=f"https://www.{site}/{number}")


def files(folder: Path, documents: list[Document], count: int) -> list[Prepared]:
    folder.mkdir(parents=True)
    prepared = []
    for number in range(count):
        path = folder / f"{number}.arrow"
        write_batches(path, DOCUMENT_SCHEMA, [document_batch(documents[number::count])])
        prepared.append(Prepared(f"k{number}", path, frozenset()))
    return prepared


def stripped(
    folder: Path, documents: list[Document], count: int = 3, workers: int = 0, **plan: float
) -> tuple[dict[str, str], list]:
    prepared = files(folder / "in", documents, count)
    limits = Limits(workers=workers)
    settings_ = SiteLinesPlan.model_validate(plan)
    found, rows = strip_site_lines(prepared, settings_, folder / "work", limits, 1 << 16)
    texts = {}
    for item in found:
        for batch in read_batches(item.path):
            texts |= dict(zip(batch.column("id").to_pylist(), batch.column("text").to_pylist(), strict=True))
    return texts, rows


def test_template_lines_go_and_the_rest_stays(tmp_path: Path) -> None:
    documents = [page(number, "harbour.example") for number in range(12)]
    texts, rows = stripped(tmp_path, documents)
    for document in documents:
        left = texts[document.id].split("\n")
        assert not set(left) & {*MENU, *FOOT}
        assert left == [line for line in document.text.split("\n") if line not in {*MENU, *FOOT}]
    assert rows[0]["in"] == rows[0]["out"] == 12
    assert rows[0]["changed"] == {"template lines of the site": 12}
    assert rows[0]["counts"]["template lines of the site"] == 12 * 5


def test_lines_of_few_documents_of_other_sites_and_without_host_stay(tmp_path: Path) -> None:
    few = [page(number, "few.example") for number in range(3)]
    many = [page(number, f"site{number}.example") for number in range(8)]
    lost = [Document(f"{n:04x}", "s", "web", "f", "\n".join([*MENU, sentence(random.Random(n))])) for n in range(6)]
    texts, rows = stripped(tmp_path, [*few, *many, *lost])
    assert {item.id: item.text for item in [*few, *many, *lost]} == texts
    assert rows[0]["counts"] == {"documents without a host": 6}


def test_a_short_line_within_the_text_stays(tmp_path: Path) -> None:
    documents = [
        page(
            n, "a.example", own=[sentence(random.Random(n)), "Summary", sentence(random.Random(-n - 1)), "x", "y", "z"]
        )
        for n in range(9)
    ]
    texts, _ = stripped(tmp_path, documents)
    assert all("Summary" in text.split("\n") for text in texts.values())


def test_a_paragraph_of_many_documents_stays_in_one(tmp_path: Path) -> None:
    documents = [
        page(0, f"p{number}.example", own=[sentence(random.Random(number)), LONG, "x", "y"]) for number in range(7)
    ]
    texts, _ = stripped(tmp_path, documents)
    assert sum(LONG.strip() in text for text in texts.values()) == 1


def test_a_document_of_template_alone_is_left_as_it_is(tmp_path: Path) -> None:
    documents = [page(number, "t.example") for number in range(6)]
    documents.append(Document("ff", "s", "web", "f", "\n".join(MENU), url="https://t.example/empty"))
    texts, rows = stripped(tmp_path, documents)
    assert texts["ff"] == "\n".join(MENU)
    assert rows[0]["counts"]["left alone"] == 1


def test_copies_are_not_counted(tmp_path: Path) -> None:
    documents = [page(number, "c.example") for number in range(6)]
    prepared = files(tmp_path / "in", documents, 1)
    kept = {item.id for item in documents[:3]}
    gone = frozenset(item.id for item in documents if item.id not in kept)
    item = Prepared("k", prepared[0].path, gone)
    found, _ = strip_site_lines([item], SiteLinesPlan(), tmp_path / "w", Limits(workers=0), 1 << 16)
    assert found == [item]


def test_the_step_is_off_with_zero(tmp_path: Path) -> None:
    documents = [page(number, "o.example") for number in range(6)]
    prepared = files(tmp_path / "in", documents, 1)
    assert strip_site_lines(prepared, SiteLinesPlan(min_documents=0), tmp_path / "w", Limits(workers=0), 99) == (
        prepared,
        [],
    )


@pytest.mark.parametrize(("count", "workers"), [(1, 0), (5, 2)])
def test_the_result_depends_neither_on_files_nor_on_workers(tmp_path: Path, count: int, workers: int) -> None:
    documents = [page(number, f"h{number % 2}.example") for number in range(20)]
    first, _ = stripped(tmp_path / "a", documents, 3)
    assert stripped(tmp_path / "b", documents, count, workers)[0] == first


def test_the_lineage_says_what_was_removed(tmp_path: Path) -> None:
    prepared = files(tmp_path / "in", [page(number, "l.example") for number in range(6)], 1)
    found, _ = strip_site_lines(prepared, SiteLinesPlan(), tmp_path / "w", Limits(workers=0), 1 << 16)
    table = pa.Table.from_batches(read_batches(found[0].path))
    assert {decisions_of(meta) for meta in table.column("meta").to_pylist()} == {
        "site_lines:template lines of the site"
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=60).map(lambda text: text.replace("\n", " ")), max_size=30), st.integers(0, 2**32))
def test_stripping_removes_whole_lines_only_and_no_insert(lines: list[str], seed: int) -> None:
    text = "\n".join(lines)
    rng = random.Random(seed)
    chosen = [key for key in line_keys(text, 7)[1].tolist() if rng.random() < 0.5]
    found = strip_lines(text, 7, lambda sites, keys: np.isin(keys, chosen))
    assert found.text.count("\ufffc") == text.count("\ufffc")
    left = iter(text.split("\n"))
    assert all(any(line == other for other in left) for line in found.text.split("\n") if line)
    assert strip_lines(text, 7, lambda sites, keys: np.zeros(len(keys), bool)).text == text


def test_sites_are_hosts() -> None:
    assert site_of("https://www.a.example/x?y") == site_of("http://A.example:80/") != site_of("https://b.example")
    assert site_of(None) is site_of("no url") is site_of("http://[broken") is None
