"""Truth against what a build did."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from expedition.data.quality import Seen, compare_with_truth, labelled_report, quality_report
from expedition.data.quality.copies import is_copy, similarity
from expedition.data.quality.seen import Gone, Kept
from expedition.errors import InputError

TRUTH = [
    {"kind": "exact_duplicate", "path": "a.warc", "item": "http://x/1", "of": {"path": "a.warc", "item": "http://x/2"}},
    {"kind": "near_duplicate", "path": "n.jsonl", "item": "note-2", "of": {"path": "n.jsonl", "item": "note-1"}},
    {"kind": "pii", "path": "a.warc", "item": "http://x/3", "type": "email", "value": "joe@example.com"},
    {"kind": "language", "path": "a.warc", "item": "http://x/3", "language": "en"},
    {"kind": "corrupt", "path": "p/1.jpg", "item": None, "reason": "truncated"},
    {"kind": "misaligned", "path": "v/1.mp4", "item": None, "offset_s": 2.0},
    {"kind": "leak", "path": "a.warc", "item": "http://x/4"},
    {"kind": "toxic", "path": "a.warc", "item": "http://x/5"},
    {"kind": "unapproved", "source": "forum", "path": "forum/1.html", "item": None},
]


def notes(folder: Path) -> Path:
    rows = [{"id": f"note-{number}", "text": f"text {number}"} for number in range(4)]
    (folder / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def kept(id_: str, **more: object) -> dict[str, object]:
    return {"id": id_, "source": "s", "kind": "web", "path": "a.warc", "inner": f"record {id_}", **more}


def gone(stage: str, reason: str, **more: object) -> dict[str, object]:
    return {"source": "s", "path": "a.warc", "stage": stage, "reason": reason, **more}


def perfect() -> Seen:
    return Seen.from_rows(
        [
            kept("2", url="http://x/2"),
            kept("3", url="http://x/3", language="en-GB"),
            kept("n1", path="n.jsonl", inner="line 2"),
        ],
        [
            gone("dedup", "exact duplicate", url="http://x/1", of="2"),
            gone("dedup", "near duplicate", path="n.jsonl", inner="line 3", of="n1"),
            gone("decode", "truncated", path="p/1.jpg"),
            gone("video_align", "misaligned: subtitles outside the clip", path="v/1.mp4"),
            gone("decontaminate", "benchmark leak: x", url="http://x/4"),
            gone("toxicity", "toxic", url="http://x/5"),
            gone("compliance", "no approval", source="forum", path="forum"),
        ],
        lambda id_: "mail <EMAIL_ADDRESS> now" if id_ == "3" else "text",
    )


def test_perfect_build_scores_one(tmp_path: Path) -> None:
    report = compare_with_truth(TRUTH, perfect(), notes(tmp_path))
    for name, figures in report.items():
        assert (figures["recall"], figures["precision"]) == (1.0, 1.0), name
        assert figures["planted"] == 1, name


def test_a_build_that_finds_nothing_scores_zero(tmp_path: Path) -> None:
    rows = [kept(str(number), url=f"http://x/{number}", language="zh-Hans") for number in range(1, 6)]
    rows += [kept("n1", path="n.jsonl", inner="line 2"), kept("n2", path="n.jsonl", inner="line 3")]
    rows += [kept("p", path="p/1.jpg", inner=None), kept("v", path="v/1.mp4", inner=None)]
    rows += [kept("f", source="forum", path="forum/1.html", inner=None)]
    seen = Seen.from_rows(rows, [], lambda _: "mail joe@example.com")
    report = compare_with_truth(TRUTH, seen, notes(tmp_path))
    assert {name: figures["recall"] for name, figures in report.items()} == dict.fromkeys(report, 0.0)


def test_false_findings_cost_precision(tmp_path: Path) -> None:
    seen = perfect()
    more = Seen(
        seen.kept, (*seen.gone, *Seen.from_rows([], [gone("toxicity", "toxic", url="http://x/9")]).gone), seen.text_of
    )
    report = compare_with_truth(TRUTH, more, notes(tmp_path))
    assert report["toxicity"]["precision"] == 0.5
    assert report["toxicity"]["recall"] == 1.0


def test_copies_that_nobody_planted_are_checked_in_the_raw_file(tmp_path: Path) -> None:
    rows = [{"id": f"note-{number}", "text": text} for number, text in enumerate(["one", "two", "three", "two"])]
    (tmp_path / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    truth = [entry for entry in TRUTH if entry["kind"] == "exact_duplicate"]
    seen = Seen.from_rows(
        [kept("2", url="http://x/2"), kept("n1", path="n.jsonl", inner="line 2")],
        [
            gone("dedup", "exact duplicate", url="http://x/1", of="2"),
            gone("dedup", "exact duplicate", path="n.jsonl", inner="line 4", of="n1"),
            gone("dedup", "exact duplicate", path="n.jsonl", inner="line 3", of="n1"),
        ],
        lambda id_: "two" if id_ == "n1" else "x",
    )
    figures = compare_with_truth(truth, seen, tmp_path)["dedup"]
    assert (figures["natural"], figures["found"], figures["precision"]) == (1, 3, 0.6667)
    assert similarity("a b c d e f", "a b c d e f") == 1.0


def test_copies_in_archives_are_checked_in_their_members(tmp_path: Path) -> None:
    licence = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software."
    texts = {"r/LICENSE": licence, "r/a.py": "def sort(boxes): return sorted(boxes)", "r/gone.py": ""}
    with tarfile.open(tmp_path / "r.tar.gz", "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    (tmp_path / "cut.tar.gz").write_bytes(b"no archive")

    def found(path: str, inner: str) -> bool:
        row = Gone("code", path, "dedup", "near duplicate", inner=inner, of="k")
        seen = Seen((Kept("k", "code", "code", "s.tar.gz", "s/LICENSE"),), (row,), lambda _: f"Copyright B. {licence}")
        return is_copy(row, seen, tmp_path)

    assert found("r.tar.gz", "r/LICENSE")
    assert not any(
        found(path, inner)
        for path, inner in [("r.tar.gz", "r/a.py"), ("r.tar.gz", "r/none"), ("cut.tar.gz", "x"), ("none.tar", "x")]
    )


def test_what_an_earlier_stage_removed_is_not_judged(tmp_path: Path) -> None:
    seen = Seen.from_rows([], [gone("quality", "too short", url="http://x/5")])
    figures = compare_with_truth([entry for entry in TRUTH if entry["kind"] == "toxic"], seen, tmp_path)["toxicity"]
    assert (figures["planted"], figures["not_judged"], figures["recall"]) == (0, 1, None)


def test_absent_sets_are_none(tmp_path: Path) -> None:
    report = quality_report(None, Seen((), ()), tmp_path)
    assert set(report["truth"].values()) == {None}
    assert report["labelled"] == dict.fromkeys(("pii_en", "pii_zh", "dedup", "languages", "toxicity"))


def test_a_broken_truth_file_says_where(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text('{"kind": "pii", "path": "x"}\n{broken\n')
    with pytest.raises(InputError, match="truth"):
        quality_report(path, Seen((), ()))


def test_detectors_hold_their_level_on_real_labels(open_data: Path, tmp_path: Path) -> None:
    """Floors under the measured figures, so that a change that loses quality is seen."""
    for name in ("pii", "dedup", "toxicity", "languages"):
        (tmp_path / name).symlink_to(open_data / name)
    report = labelled_report(tmp_path)
    assert report["pii_en"]["recall"] > 0.95
    assert report["pii_en"]["precision"] > 0.95
    assert report["pii_zh"]["recall"] > 0.97
    assert report["pii_zh"]["precision"] > 0.97
    assert report["dedup"]["recall"] > 0.95
    assert report["dedup"]["unrelated_joined"] == 0
    assert report["languages"]["classes"]["large"] > 0.98
    assert report["languages"]["classes"]["minority"] > 0.88
    for figures in report["toxicity"].values():
        assert figures["precision"] > 0.85
        assert figures["specificity"] > 0.8
