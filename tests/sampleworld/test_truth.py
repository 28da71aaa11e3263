"""Each truth line is true of the file that it names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from expedition.sampleworld.defects import jaccard, roles
from expedition.sampleworld.text.personal import PII_TYPES, luhn, personal_value
from expedition.sampleworld.text.tongues import TONGUES
from expedition.sampleworld.truth import TRUTH_KINDS
from expedition.sampleworld.world import stream

Truth = list[dict[str, Any]]


def of_kind(truth: Truth, kind: str) -> Truth:
    return [line for line in truth if line["kind"] == kind]


def item_text(sample: Path, pages: dict[str, str], path: str, item: str | None) -> str:
    if path.endswith(".warc.gz"):
        return pages[str(item)]
    text = (sample / path).read_text("utf-8")
    if path.endswith(".jsonl"):
        return next(str(row["text"]) for row in map(json.loads, text.splitlines()) if row["id"] == item)
    return text


def opens(path: Path) -> bool:
    """Whether the real decoder of the file's type reads it whole."""
    try:
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as image:
                image.load()
        elif path.suffix in (".flac", ".wav"):
            with path.open("rb") as file:
                samples, _ = soundfile.read(file)
            return len(samples) > 3200
        else:
            with av.open(str(path)) as container:
                return sum(1 for _ in container.decode(video=0)) >= 4
    except (OSError, SyntaxError, soundfile.SoundFileError, av.FFmpegError):
        return False
    return True


def test_all_kinds_are_planted_and_name_existing_files(sample: Path, truth: Truth) -> None:
    assert {line["kind"] for line in truth} == set(TRUTH_KINDS)
    for line in truth:
        assert (sample / line["path"]).is_file(), line
        assert line["path"].startswith(line["source"] + "/")


def test_exactly_the_corrupt_media_do_not_open(sample: Path, truth: Truth) -> None:
    corrupt = {line["path"] for line in of_kind(truth, "corrupt")}
    media = [p for p in sample.rglob("*") if p.suffix in (".jpg", ".png", ".flac", ".wav", ".mp4")]
    assert len(media) > 300
    shut = {path.relative_to(sample).as_posix() for path in media if not opens(path)}
    assert shut == {path for path in corrupt if Path(path).suffix in (".jpg", ".png", ".flac", ".wav", ".mp4")}


def test_corrupt_files_do_not_decode(sample: Path, truth: Truth) -> None:
    for line in of_kind(truth, "corrupt"):
        if line["path"].endswith((".py", ".c", ".js", ".go", ".rs", ".java", ".txt")):
            with pytest.raises(UnicodeDecodeError):
                (sample / line["path"]).read_text("utf-8")
    cut = [line for line in of_kind(truth, "corrupt") if line["path"].endswith(".warc.gz")]
    assert len(cut) == 1


def test_duplicates_are_copies_and_near_duplicates_are_close(sample: Path, truth: Truth, pages: dict[str, str]) -> None:
    for line in of_kind(truth, "exact_duplicate"):
        of = line["of"]
        if Path(line["path"]).suffix in (".jpg", ".png", ".flac", ".wav", ".mp4"):
            assert (sample / line["path"]).read_bytes() == (sample / of["path"]).read_bytes()
        else:
            article = article_of if line["path"].endswith(".warc.gz") else str
            texts = [
                item_text(sample, pages, p, i) for p, i in ((line["path"], line["item"]), (of["path"], of["item"]))
            ]
            assert article(texts[0]) == article(texts[1])
    for line in of_kind(truth, "near_duplicate"):
        of = line["of"]
        article = article_of if line["path"].endswith(".warc.gz") else str
        one, two = (item_text(sample, pages, p, i) for p, i in ((line["path"], line["item"]), (of["path"], of["item"])))
        assert 0.7 < jaccard(article(one), article(two)) < 1.0
        assert 0.7 < line["jaccard"] < 1.0


def article_of(text: str) -> str:
    """The long paragraphs of a page: its article without advertisement and comments."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if len(line) > 60)


def test_personal_values_stand_in_the_text(sample: Path, truth: Truth, pages: dict[str, str]) -> None:
    lines = of_kind(truth, "pii")
    assert {"email", "cn_id", "cn_mobile"} <= {line["type"] for line in lines}
    for line in lines:
        text = item_text(sample, pages, line["path"], line["item"]).replace("&lt;", "<")
        assert line["value"] in text


def test_pages_have_a_true_language(truth: Truth, pages: dict[str, str]) -> None:
    languages = {line["item"]: line["language"] for line in of_kind(truth, "language")}
    assert set(pages) <= set(languages)
    assert len({languages[url] for url in pages}) >= 12
    assert {"yue", "wuu", "nan", "bo", "ug", "mn", "cy", "eu", "gd", "sw"} <= {languages[url] for url in pages}
    scripts = {"bo": "\u0f00-\u0fff", "ug": "\u0600-\u06ff", "mn": "\u0400-\u04ff", "zh": "\u4e00-\u9fff"}
    for url, text in pages.items():
        if (letters := scripts.get(languages[url])) is not None:
            assert len(re.findall(f"[{letters}]", text)) > 0.4 * len(text)


def test_leaks_hold_the_whole_item(sample: Path, truth: Truth, pages: dict[str, str]) -> None:
    rows = (sample / "eval/needle/items.jsonl").read_text("utf-8").splitlines()
    items = {item["id"]: item for item in map(json.loads, rows)}
    for line in of_kind(truth, "leak"):
        item = items[line["of"]["item"]]
        assert item["text_before"] + item["choices"][item["answer"]] in pages[line["item"]]


def test_misaligned_subtitles_are_late_by_the_stated_time(sample: Path, truth: Truth) -> None:
    late = {line["subtitles"]: line["offset_s"] for line in of_kind(truth, "misaligned")}
    starts = {}
    for path in sample.glob("video_text/*.srt"):
        seconds, thousandths = path.read_text().splitlines()[1][6:12].split(",")
        starts[path.relative_to(sample).as_posix()] = int(seconds) + int(thousandths) / 1000
    assert late
    assert starts == {path: late.get(path, 0.0) for path in starts}


def test_every_thread_of_the_unapproved_source_is_listed(sample: Path, truth: Truth) -> None:
    listed = {line["path"] for line in of_kind(truth, "unapproved")}
    assert listed == {p.relative_to(sample).as_posix() for p in (sample / "scraped_forum").iterdir()}


@given(st.integers(0, 10**6))
def test_planted_numbers_have_valid_check_digits(seed: int) -> None:
    values = {kind: personal_value(kind, stream(seed, "pii")).value for kind in PII_TYPES}
    assert luhn([int(d) for d in values["card"].replace(" ", "")])
    identity = values["cn_id"]
    weights = [2 ** (17 - place) % 11 for place in range(18)]
    digits = [10 if c == "X" else int(c) for c in identity]
    assert sum(d * w for d, w in zip(digits, weights, strict=True)) % 11 == 1
    assert re.fullmatch(r"1\d{10}", values["cn_mobile"])
    assert all(0 < int(part) < 256 for part in values["ip"].split("."))


@given(st.integers(0, 60), st.integers(0, 12), st.integers(0, 12), st.integers(0, 99))
def test_roles_touch_at_most_half_and_originals_stay_whole(items: int, copies: int, others: int, seed: int) -> None:
    given_roles = roles(seed, "any", range(items), (("exact_duplicate", copies), ("corrupt", others)))
    originals = [role.of for role in given_roles.values() if role.of is not None]
    assert len(given_roles) + len(originals) <= items // 2
    assert not set(originals) & set(given_roles)
    assert len(set(originals)) == len(originals)


def test_tongues_are_rich_enough_to_tell_pages_apart() -> None:
    assert len({tongue.tag for tongue in TONGUES}) == len(TONGUES) >= 12
    for tongue in TONGUES:
        assert len(set(tongue.lines)) == 12 and len(tongue.named) == 2
        assert all("{name}" in line and "{number}" in line for line in tongue.named)
