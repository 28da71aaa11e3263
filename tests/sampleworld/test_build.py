"""Determinism, completeness and safety of building a sample."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from expedition.errors import UsageError
from expedition.sampleworld import SIZES, build_sample
from expedition.sampleworld.build import SUMMARY
from expedition.sampleworld.catalogue import SOURCES

from .conftest import SEED


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_same_seed_same_bytes(sample: Path, tmp_path: Path) -> None:
    again = build_sample(tmp_path / "again", SEED, "smoke", processes=2)
    assert again.made
    assert hashes(tmp_path / "again") == hashes(sample)


def test_another_seed_gives_other_bytes(sample: Path, tmp_path: Path) -> None:
    build_sample(tmp_path / "other", SEED + 1, "smoke")
    ours, theirs = hashes(sample), hashes(tmp_path / "other")
    media = [name for name in ours if name.endswith((".jpg", ".png", ".flac", ".mp4"))]
    assert len(media) > 100
    changed = [name for name in media if ours[name] != theirs.get(name) and theirs.get(name)]
    assert len(changed) > 0.9 * len(media)


def test_a_complete_sample_is_left_alone(sample: Path) -> None:
    before = (sample / SUMMARY).stat().st_mtime_ns
    summary = build_sample(sample, SEED, "smoke")
    assert not summary.made
    assert (sample / SUMMARY).stat().st_mtime_ns == before


def test_a_folder_with_something_else_is_refused(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not a sample"):
        build_sample(tmp_path / "mine", SEED, "smoke")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep me"
    with pytest.raises(UsageError, match="another sample"):
        build_sample(sample, SEED + 1, "smoke")
    with pytest.raises(UsageError, match="huge"):
        build_sample(tmp_path / "new", SEED, "huge")


def test_a_kill_leaves_nothing_and_the_same_command_finishes(sample: Path, tmp_path: Path) -> None:
    target = tmp_path / "killed"
    command = [sys.executable, "-m", "expedition.sampleworld", str(target), "--size", "smoke", "--seed", str(SEED)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(2000):
            if list(tmp_path.glob(".killed.partial-*/image_text/*.jpg")):
                break
            time.sleep(0.005)
        process.kill()
    assert not target.exists()
    assert list(tmp_path.glob(".killed.partial-*"))
    build_sample(target, SEED, "smoke")
    assert hashes(target) == hashes(sample)
    assert not list(tmp_path.glob(".killed.partial-*"))


def test_every_first_level_folder_is_a_listed_source(sample: Path) -> None:
    listed: dict[str, Any] = yaml.safe_load((sample / "sources.yaml").read_text("utf-8"))["sources"]
    folders = {path.name for path in sample.iterdir() if path.is_dir()}
    assert folders == set(listed) | {"eval"}
    assert {entry["kind"] for entry in listed.values()} == {
        "web", "code", "books", "image-text", "video-text", "audio-text", "driving", "synthetic",
    }  # fmt: skip
    assert [name for name, entry in listed.items() if entry["approval"] != "approve"] == ["scraped_forum"]
    assert {entry["since"] for entry in listed.values()} == {"v0.1", "v0.2"}


def test_sizes_grow() -> None:
    counts = [(s.pages, s.pictures, s.clips, s.utterances, s.drives, s.notes) for s in SIZES.values()]
    assert list(SIZES) == ["smoke", "small", "medium", "large"]
    assert all(all(a < b for a, b in zip(one, two, strict=True)) for one, two in itertools.pairwise(counts))
    assert len({card.name for card in SOURCES}) == len(SOURCES)
