"""Every faulty or hostile file of the open set: its stated outcome, in bounded time and memory, nothing written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from expedition.data.decode import Reason
from expedition.data.sources import read_file

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
