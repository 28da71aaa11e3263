"""Every faulty or hostile file, of the open set and made here: its outcome, in bounded time and memory, nothing written."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import socket
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expedition.data.decode import Reason
from expedition.data.sources import list_items, read_documents, read_file
from expedition.data.sources.folder import survey

from . import hostile_files

MOST_SECONDS = 5.0
MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Expected:
    """Number of documents, and the reasons that must be named (and, for rejects, how many there are)."""

    documents: int = 0
    rejects: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    rejected: int | None = None


EXPECTED = {
    "bad_crc.html.gz": Expected(rejects=("checksum",)),
    "bomb.gz": Expected(rejects=("unpacked too large",)),
    "bomb.yaml": Expected(rejects=("unpacked too large",)),
    "bomb.zip": Expected(rejects=("unpacked too large",), rejected=4),
    "broken_lines.jsonl": Expected(
        2,
        ("broken line", "empty", "missing field", "wrong type", "duplicate key", "lone surrogate"),
        rejected=9,
    ),
    "broken_shard.tar": Expected(1, ("truncated", "broken line"), rejected=3),
    "control_chars.txt": Expected(1, repairs=("control characters",)),
    "corrupt_scan.jpg": Expected(rejects=("corrupt",)),
    "deep.json": Expected(rejects=("nested too deep",)),
    "deep_nesting.html": Expected(1, repairs=("nested too deep",)),
    "empty.jpg": Expected(rejects=("empty",)),
    "empty.jsonl": Expected(rejects=("empty",)),
    "empty.mp4": Expected(rejects=("empty",)),
    "empty.txt": Expected(rejects=("empty",)),
    "empty.warc.gz": Expected(rejects=("empty",)),
    "empty.wav": Expected(rejects=("empty",)),
    "false_header.wav": Expected(1, repairs=("declared length",)),
    "gbk.txt": Expected(1, repairs=("guessed encoding",)),
    "html_as.jpg": Expected(rejects=("wrong format",)),
    "huge.csv": Expected(rejects=("broken row",), rejected=3),
    "huge_dims.png": Expected(rejects=("too many pixels",)),
    "huge_length.warc": Expected(2, ("declared length",), rejected=1),
    "invalid_utf8.txt": Expected(1, repairs=("replaced bytes",)),
    "long_line.txt": Expected(1),
    "not_gzip.html.gz": Expected(1, repairs=("wrong format",)),
    "nul_bytes.txt": Expected(1, repairs=("control characters",)),
    "object.pkl": Expected(rejects=("unsafe format",)),
    "object_tag.yaml": Expected(rejects=("unsafe tag",)),
    "regex_trap.txt": Expected(1),
    "reversed.srt": Expected(1, repairs=("bad cues",)),
    "robots_bad.txt": Expected(rejects=("not a document", "robots line"), rejected=4),
    "tiny_1x1.png": Expected(rejects=("too small",)),
    "traversal.tar": Expected(1, ("unsafe path", "not a plain file", "duplicate name"), rejected=7),
    "traversal.zip": Expected(1, ("unsafe path",), rejected=1),
    "truncated.html.gz": Expected(1, repairs=("truncated",)),
    "truncated.jpg": Expected(rejects=("truncated",)),
    "truncated.mp4": Expected(rejects=("truncated",)),
    "truncated.warc.gz": Expected(1, ("truncated",), rejected=1),
    "unclosed.html": Expected(rejects=("no text",)),
    "utf16_bom.txt": Expected(1),
    "wrong_length.warc": Expected(2, ("declared length",), rejected=1),
    "zero_rate.wav": Expected(rejects=("corrupt",)),
}


@pytest.fixture(scope="module")
def outcomes(open_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one worker process makes of every file, its working folder empty before and after."""
    folder = tmp_path_factory.mktemp("worker")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bad_input_probe.py")), str(open_data / "bad")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(folder.iterdir()) == []
    return {row["file"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_every_bad_file_is_in_the_table(open_data: Path) -> None:
    assert {path.name for path in (open_data / "bad").iterdir()} - {"EXPECTED.md"} == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_bad_file_has_its_outcome(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    row, expected = outcomes[name], EXPECTED[name]
    assert len(row["texts"]) == expected.documents
    assert set(expected.rejects) == set(row["rejects"])
    assert set(expected.repairs) <= set(row["repairs"])
    assert expected.rejected is None or row["rejected"] == expected.rejected


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_bad_file_stays_within_time_and_memory(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes[name]["wall_s"] < MOST_SECONDS
    assert outcomes[name]["peak_bytes"] < MOST_BYTES


def test_what_is_kept_of_bad_files_is_right(outcomes: dict[str, dict[str, Any]]) -> None:
    texts = {name: row["texts"] for name, row in outcomes.items()}
    assert texts["broken_lines.jsonl"] == ["good", "good"]
    assert texts["control_chars.txt"] == ["red reversed"]
    assert texts["gbk.txt"][0].startswith("这个文件是用国标编码保存的，不是统一码。")
    assert texts["utf16_bom.txt"][0].startswith("Text saved as UTF-16. 文本。")
    assert texts["wrong_length.warc"] == ["first record, correct", "third record, correct"]
    assert texts["truncated.warc.gz"] == ["first record, correct"]
    assert texts["nul_bytes.txt"] == ["line one\nlinetwo\n\nend"]
    assert texts["traversal.tar"] == ["good"]
    assert texts["reversed.srt"] == ["Before the first one."]
    assert "\ufffd" in texts["invalid_utf8.txt"][0]
    assert outcomes["broken_shard.tar"]["inserts"] == 1
    assert outcomes["false_header.wav"]["inserts"] == 1


HOSTILE = {
    "absolute.zip": Expected(1, ("unsafe path", "not a plain file"), rejected=5),
    "nested.zip": Expected(rejects=("nested too deep",)),
    "many.zip": Expected(rejects=("unpacked too large",)),
    "overlap.zip": Expected(rejects=("corrupt",), rejected=2000),
    "locked.zip": Expected(rejects=("encrypted",)),
    "cut.zip": Expected(rejects=("corrupt",)),
    "quine.gz": Expected(rejects=("nested too deep",)),
    "trailing.html.gz": Expected(1, repairs=("corrupt",)),
    "two.html.gz": Expected(1),
    "bomb.bz2": Expected(rejects=("unpacked too large",)),
    "bomb.xz": Expected(rejects=("unpacked too large",)),
    "long_name.tar.gz": Expected(rejects=("unpacked too large",)),
    "pax.tar.gz": Expected(rejects=("unpacked too large",)),
    "sparse.tar.gz": Expected(rejects=("not a plain file",)),
    "chain.tar": Expected(rejects=("corrupt",)),
    "tricks.tar": Expected(4, ("not a plain file",), rejected=2),
    "pax_size.tar": Expected(rejects=("truncated", "unpacked too large")),
    "pax_path.tar": Expected(rejects=("unsafe path",)),
    "long_line.jsonl": Expected(1, ("too large",), rejected=1),
    "numbers.jsonl": Expected(1, ("broken line", "wrong type"), rejected=2),
    "surrogates.jsonl": Expected(1, ("encoding", "lone surrogate"), rejected=3),
    "deep.jsonl": Expected(1, ("nested too deep",), rejected=1),
    "keys.jsonl": Expected(1),
    "footer_long.parquet": Expected(rejects=("corrupt",)),
    "footer_noise.parquet": Expected(rejects=("corrupt",)),
    "footer_cut.parquet": Expected(rejects=("corrupt",)),
    "lists.parquet": Expected(rejects=("corrupt",)),
    "dictionary.parquet": Expected(rejects=("too long", "unpacked too large")),
    "headers.warc": Expected(1, ("declared length",), rejected=1),
    "http_headers.warc": Expected(1),
    "chunks.warc": Expected(1),
    "negative.warc": Expected(1, ("declared length",), rejected=1),
    "coded.warc": Expected(rejects=("unpacked too large",)),
    "entity.epub": Expected(1),
    "laughs.epub": Expected(1),
    "spine.epub": Expected(rejects=("unpacked too large",)),
    "bomb.epub": Expected(1, ("unpacked too large",)),
    "loop.pdf": Expected(rejects=("corrupt",)),
    "bomb.pdf": Expected(rejects=("no text",)),
    "no_end.pdf": Expected(rejects=("corrupt",)),
    "ages.mp4": Expected(rejects=("corrupt",)),
    "boxes.mp4": Expected(rejects=("corrupt",)),
    "million.srt": Expected(1, repairs=("cut",)),
    "half.wav": Expected(1, repairs=("declared length",)),
    "rate.wav": Expected(rejects=("corrupt",)),
    "channels.wav": Expected(rejects=("corrupt",)),
    "text_bomb.png": Expected(rejects=("corrupt",)),
    "profile_bomb.png": Expected(rejects=("corrupt",)),
    "data_bomb.png": Expected(1, repairs=("resized",)),
    "frames.gif": Expected(rejects=("truncated",)),
    "wide.jpg": Expected(rejects=("too many pixels",)),
    "laughs.svg": Expected(rejects=("no text",)),
    "laughs.xml": Expected(rejects=("no text",)),
    "outside.xml": Expected(1),
    "utf7.html": Expected(1),
    "cesu.txt": Expected(1, repairs=("replaced bytes",)),
    "combining.txt": Expected(1),
    "scripts.html": Expected(rejects=("no text",)),
    "attributes.html": Expected(1),
    "tables.html": Expected(1, repairs=("nested too deep",)),
    "columns.csv": Expected(1),
    "quotes.csv": Expected(rejects=("broken row",)),
    "anchors.yaml": Expected(rejects=("unpacked too large",)),
    "deep.yaml": Expected(rejects=("nested too deep",)),
    "zero.robots.txt": Expected(rejects=("not a document",)),
}
"""What comes of each file that `hostile_files` makes."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one worker makes of every hostile file, in a working folder that is empty before and after."""
    made = hostile_files.write(tmp_path_factory.mktemp("hostile"))
    folder = tmp_path_factory.mktemp("worker")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bad_input_probe.py")), str(made)],
        capture_output=True, text=True, timeout=120, check=False, cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(folder.iterdir()) == []
    return {row["file"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_every_hostile_file_is_in_the_table() -> None:
    assert set(hostile_files.FILES) == set(HOSTILE)


def test_every_hostile_file_has_its_outcome(hostile: dict[str, dict[str, Any]]) -> None:
    wrong = {}
    for name, expected in HOSTILE.items():
        row = hostile[name]
        fits = (
            len(row["texts"]) == expected.documents
            and set(expected.rejects) == set(row["rejects"])
            and set(expected.repairs) <= set(row["repairs"])
            and expected.rejected in (None, row["rejected"])
        )
        if not fits:
            wrong[name] = (len(row["texts"]), row["rejects"], row["rejected"], row["repairs"])
    assert not wrong


def test_every_hostile_file_stays_within_time_and_memory(hostile: dict[str, dict[str, Any]]) -> None:
    slow = {name: row["cpu_s"] for name, row in hostile.items() if row["cpu_s"] > MOST_SECONDS}
    large = {name: row["peak_bytes"] >> 20 for name, row in hostile.items() if row["peak_bytes"] > MOST_BYTES}
    assert not slow and not large


def test_nothing_outside_a_hostile_file_gets_into_its_text(hostile: dict[str, dict[str, Any]]) -> None:
    host = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else socket.gethostname()
    for name in ("entity.epub", "outside.xml"):
        assert hostile[name]["texts"][0].rstrip().endswith("&f;"), (name, host)
    for row in hostile.values():
        assert not any("lollol" in text or "\x1b" in text for text in row["texts"])
    assert "\ufffd" in hostile["cesu.txt"]["texts"][0] and "ν" not in hostile["cesu.txt"]["texts"][0]
    assert "<script" not in hostile["utf7.html"]["texts"][0]


def test_what_is_no_plain_file_in_a_data_folder_is_named_and_never_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("secret words " * 50)
    folder = tmp_path / "data" / "pages"
    folder.mkdir(parents=True)
    (folder / "good.html").write_bytes(hostile_files.PAGE)
    (folder / "line\nbreak.html").write_bytes(hostile_files.PAGE.replace(b"Lamps", b"Lines"))
    (folder / "out.txt").symlink_to(outside)
    (folder / "etc").symlink_to("/etc")
    (folder / "nowhere.txt").symlink_to("missing")
    (folder / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(folder / "pipe.html")
    expected = {"out.txt", "etc", "nowhere.txt", "loop.txt", "pipe.html"}
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(folder):
        listening.bind("socket.html")
    with contextlib.suppress(PermissionError):
        os.mknod(folder / "null.html", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        expected.add("null.html")
    Path(os.fsdecode(os.fsencode(folder) + b"/latin-\xe9.html")).write_bytes(hostile_files.PAGE)
    source = survey(tmp_path / "data").sources[0]
    texts, rejected = [], {}
    for found in read_documents(source, list_items(source)):
        if hasattr(found, "reason"):
            rejected[found.path] = (found.reason, found.detail)
        else:
            texts += found["text"].to_pylist()
    assert len(texts) == 2 and not any("secret" in text for text in texts)
    assert {path.removeprefix("pages/") for path in rejected} == {*expected, "socket.html", "latin-\\udce9.html"}
    assert {reason for reason, _ in rejected.values()} == {Reason.NOT_A_PLAIN_FILE}
    assert rejected["pages/pipe.html"][1] == "a pipe" and "leads out" in rejected["pages/out.txt"][1]


def whole_files() -> dict[str, bytes]:
    """A small valid file of each kind, to be damaged."""
    make = hostile_files
    return {
        "a.html": make.PAGE,
        "a.txt": make.GOOD.encode() * 3,
        "a.jsonl": b"".join(json.dumps({"text": f"{make.GOOD}{n}"}).encode() + b"\n" for n in range(5)),
        "a.parquet": make.parquet(make.texts(20)),
        "a.zip": make.zipped(("a.html", make.PAGE), ("b.txt", make.GOOD.encode())),
        "a.tar": make.tarred((make.member("a.html"), make.PAGE), (make.member("b.txt"), make.GOOD.encode())),
        "a.html.gz": make.gzip_of(iter([make.PAGE])),
        "a.warc": make.answer(make.PAGE) * 2,
        "a.png": make.png(side=32),
        "a.wav": make.sound(0.2),
        "a.epub": make.epub(make.PAGE),
        "a.pdf": make.pdf_bomb(1),
        "a.srt": make.cues(20),
        "a.csv": b"text,n\n" + make.GOOD.encode() + b",1\n",
        "a.mp4": make.mp4_of_ages(),
    }


WHOLE = whole_files()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(WHOLE)), seed=st.integers(0, 2**32), changes=st.integers(0, 12))
def test_any_damage_to_any_kind_of_file_ends_in_documents_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, changes: int
) -> None:
    """Bytes flipped, cut, doubled, moved: never an exception, never a text that cannot be written, always an outcome."""
    draw, data = random.Random(seed), bytearray(WHOLE[name])
    for _ in range(changes):
        at, size = draw.randrange(len(data) + 1), draw.randrange(1, 64)
        part = bytes(data[at : at + size])
        kind = draw.randrange(5)
        if kind == 0:
            data[at : at + size] = draw.randbytes(len(part))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = part * draw.randrange(1, 40)
        elif kind == 3:
            data[at : at + 4] = draw.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
        else:
            del data[at:]
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / name
    path.write_bytes(bytes(data))
    outcome = read_file(path)
    assert outcome.documents or outcome.rejects
    for document in outcome.documents:
        document.text.encode()
    assert all(isinstance(reject.reason, Reason) for reject in outcome.rejects)
    assert [entry.name for entry in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", ["header.csv", "nothing.zip", "nothing.parquet"])
def test_a_whole_file_that_holds_nothing_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "header.csv":
        path.write_text("text,n\n")
    elif name == "nothing.zip":
        zipfile.ZipFile(path, "w").close()
    else:
        pq.write_table(pa.table({"text": pa.array([], pa.string())}), path)
    outcome = read_file(path)
    assert not outcome.documents
    assert [reject.reason for reject in outcome.rejects] == [Reason.EMPTY]


def test_every_reason_explains_itself() -> None:
    assert all(reason.sentence.endswith(".") for reason in Reason)
    assert len({reason.value for reason in Reason}) == len(list(Reason))


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["object.pkl", "weights.pt", "page.html", "rows.jsonl", "note.txt", "picture.jpg"])
def test_a_pickle_is_never_loaded_whatever_its_name(name: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile(touched), protocol))
        outcome = read_file(tmp_path / name)
        assert not touched.exists()
        assert outcome.documents == ()
