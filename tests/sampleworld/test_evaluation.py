"""The evaluation set: what is held out, what choices differ in, and that nothing of it is in training by accident."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.sampleworld.evaluation.tasks import TASKS, VARIATIONS
from expedition.sampleworld.media import driving
from expedition.sampleworld.media.cameras import RIG
from expedition.sampleworld.text.prose import GUARD_WORDS, sequences
from expedition.sampleworld.world import COLOURS, NAMES, WORDS, Scene, movements, scenes, stream, successions

Items = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def items(sample: Path) -> Items:
    return {
        task: [json.loads(line) for line in (sample / "eval" / task / "items.jsonl").read_text("utf-8").splitlines()]
        for task in TASKS
    }


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def training_texts(sample: Path, pages: dict[str, str], truth: list[dict[str, Any]]) -> list[str]:
    leaked = {line["item"] for line in truth if line["kind"] == "leak"}
    texts = [text for url, text in pages.items() if url not in leaked]
    texts += [row["text"] for path in sample.glob("synthetic/*.jsonl") for row in rows(path)]
    texts += [path.read_text("utf-8", "replace") for path in sample.glob("books/*.txt")]
    texts += [path.read_text("utf-8") for path in sample.glob("video_text/*.srt")]
    return texts + [row["caption"] for path in sample.glob("image_text*/captions.jsonl") for row in rows(path)]


def test_items_have_the_agreed_fields_and_existing_media(sample: Path, items: Items) -> None:
    for task, listed in items.items():
        assert len(listed) >= 12
        assert len({item["id"] for item in listed}) == len(listed)
        for item in listed:
            assert {"id", "task", "attribute", "modality", "media", "text_before", "choices", "answer"} <= set(item)
            for medium in item["media"]:
                assert (sample / "eval" / task / medium["path"]).is_file()


@given(st.builds(Scene, st.integers(1, 3), st.sampled_from(list(COLOURS)), st.just("ring"), st.just("top")))
def test_variations_change_one_attribute_only(scene: Scene) -> None:
    fields = {"colour": "colour", "shape": "shape", "count": "count", "position": "position"}
    for task, vary in VARIATIONS.items():
        others = [other for other in vary(scene) if other != scene]
        assert len(others) == len(vary(scene)) - 1
        for other in others:
            changed = {
                name
                for name in ("count", "colour", "shape", "position")
                if getattr(other, name) != getattr(scene, name)
            }
            assert changed == {fields[task]}


def test_choices_differ_in_one_attribute(items: Items) -> None:
    captions = {scene.caption: scene for scene in (*scenes(True), *scenes(False))}
    for task, vary in VARIATIONS.items():
        for item in items[task]:
            right = captions[item["choices"][item["answer"]].strip()]
            assert [captions[choice.strip()] for choice in item["choices"]] == vary(right)
    for item in items["direction"]:
        assert len({choice.rsplit(" ", 1)[0] for choice in item["choices"]}) == 1
    for item in items["order"]:
        first, second = (
            choice.strip().replace("first ", "").replace("then ", "").split("\n") for choice in item["choices"]
        )
        assert first == second[::-1]
    for item in items["word"]:
        assert item["choices"] == [f" {word}" for word in WORDS]


def test_every_text_after_a_medium_begins_with_a_space(sample: Path, items: Items) -> None:
    for listed in items.values():
        for item in listed:
            assert all(choice.startswith(" ") and choice == f" {choice.strip()}" for choice in item["choices"])
            assert item["text_before"] == "" or item["task"] in ("needle", "trajectory")
            assert item["text_before"].startswith(" ") == (item["task"] == "trajectory")
    for kind in ("image-text", "video-text", "audio-text", "driving"):
        assert all(row["text"].startswith(" ") for row in rows(sample / f"eval/heldout/{kind}.jsonl"))


def test_answers_are_even(items: Items) -> None:
    for task, listed in items.items():
        if task != "trajectory":
            counts = Counter(item["answer"] for item in listed)
            assert max(counts.values()) - min(counts.values()) <= 1 or task == "word"


def test_held_out_combinations_are_nowhere_in_training(
    sample: Path, items: Items, pages: dict[str, str], truth: list[dict[str, Any]]
) -> None:
    text = "\n".join(training_texts(sample, pages, truth)).lower()
    for task in VARIATIONS:
        assert all(
            item["choices"][item["answer"]].strip() in {scene.caption for scene in scenes(True)} for item in items[task]
        )
    assert not [scene.caption for scene in scenes(True) if scene.caption in text]
    assert not [m for m in movements(True) if f"{m[0].phrase} moves {m[1]}" in text]
    assert not [p for p in successions(True) if f"first {p[0].phrase} then {p[1].phrase}" in text]
    assert [scene.caption for scene in scenes(False) if scene.caption in text]


def test_speakers_of_the_evaluation_are_not_in_training(sample: Path) -> None:
    assert all(row["speaker"].startswith("train-") for row in rows(sample / "audio_text/transcripts.jsonl"))


def test_no_medium_of_the_evaluation_is_in_training(sample: Path) -> None:
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for path in sample.rglob("*"):
        if path.suffix in (".jpg", ".png", ".flac", ".wav", ".mp4") and path.stat().st_size:
            held = path.relative_to(sample).parts[0] == "eval"
            sides[held].add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(sides[True]) > 100
    assert not sides[True] & sides[False]


def test_training_text_shares_no_long_sequence_with_the_evaluation(
    sample: Path, items: Items, pages: dict[str, str], truth: list[dict[str, Any]]
) -> None:
    guarded = {s for item in items["needle"] for s in sequences(item["text_before"] + item["choices"][item["answer"]])}
    for kind in ("web", "books", "synthetic"):
        guarded |= {s for row in rows(sample / f"eval/heldout/{kind}.jsonl") for s in sequences(row["text"])}
    assert len(guarded) > 300 and GUARD_WORDS == 12
    for text in training_texts(sample, pages, truth):
        assert guarded.isdisjoint(sequences(text)), text


def test_short_texts_of_the_evaluation_stay_below_the_length_of_a_leak(sample: Path, items: Items) -> None:
    """Decontamination looks for texts of eight words and more: captions and the like must stay shorter."""
    for task in (*VARIATIONS, "word", "direction"):
        assert all(len(choice.split()) < 8 for item in items[task] for choice in item["choices"])
    for kind in ("image-text", "video-text", "audio-text", "driving"):
        assert all(len(row["text"].split()) < 8 for row in rows(sample / f"eval/heldout/{kind}.jsonl"))
    assert all(len(item["text_before"].split()) < 8 for item in items["trajectory"])


def test_the_needle_is_in_its_haystack(items: Items) -> None:
    for item in items["needle"]:
        name = item["text_before"].rsplit(" ", 1)[1]
        assert name in NAMES
        assert f"The box gives {name}{item['choices'][item['answer']]}." in item["text_before"]
        assert sum(f"The box gives {name}{choice}." in item["text_before"] for choice in item["choices"]) == 1


def test_the_description_of_a_drive_does_not_tell_its_actions(items: Items) -> None:
    by_text: dict[str, set[tuple[int, ...]]] = {}
    for number in range(300):
        scene = driving.drive(stream(number, "drive"), number)
        by_text.setdefault(scene.description, set()).add(tuple(driving.actions(scene)))
    assert all(len(found) > 2 for found in by_text.values())
    for item in items["trajectory"]:
        assert item["target_actions"] and all(0 <= action < driving.BINS for action in item["target_actions"])
        assert [medium["special"] for medium in item["media"]] == [f"<|camera_{c.name}|>" for c in RIG]


@given(st.sampled_from(sorted(driving.RANGES)), st.floats(-30, 30))
def test_action_bins_cover_the_range_in_order(quantity: str, value: float) -> None:
    number = driving.action_bin(quantity, value)
    low, high = driving.RANGES[quantity]
    assert 0 <= number < driving.BINS
    if low <= value < high:
        middle = low + (number + 0.5) * (high - low) / driving.BINS
        assert abs(middle - value) <= (high - low) / driving.BINS


def test_calibration_projects_a_point_ahead_into_the_front_camera() -> None:
    import numpy as np

    front = next(camera for camera in RIG if camera.name == "front")
    stated = front.calibration()
    to_car, intrinsics = np.array(stated["camera_to_car"]), np.array(stated["intrinsics"])
    point = np.linalg.inv(to_car) @ np.array([8.0, 0.0, 0.0, 1.0])
    column, row, depth = intrinsics @ point[:3]
    assert depth > 0
    assert column / depth == pytest.approx(32, abs=1e-3)
    ray = front.rays()[int(row / depth), 31]
    reach = front.height_m / -ray[2]
    assert ray[0] * reach == pytest.approx(8.0, abs=0.6)
