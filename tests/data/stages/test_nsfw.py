"""Nakedness: the detector really runs, on generated pictures; thresholds by source; refusal without the extra."""

import importlib.machinery
import importlib.util

import pytest

from expedition.data.records import documents_of
from expedition.data.stages import standard_stages
from expedition.data.stages.image import Nsfw, NsfwPolicy, nsfw, nsfw_score
from expedition.errors import MissingExtra
from expedition.plan import load_programme
from tests.data.stages.documents import picture, picture_document, run

PICTURES = frozenset({"image-text"})
NAMED = ["data.stages.image-text=[image_filter,nsfw]"]


class Sure:
    """A detector that is sure of what it is told to see: the weights know no generated picture that is explicit."""

    def __init__(self, *found: tuple[str, float]) -> None:
        self.found = found

    def detect(self, pixels: object) -> list[dict[str, object]]:
        return [{"class": name, "score": score, "box": [0, 0, 1, 1]} for name, score in self.found]


def test_plain_pictures_score_nothing() -> None:
    pytest.importorskip("nudenet", reason="extra nsfw is not installed")
    assert [nsfw_score(picture(seed, 128, "JPEG")) for seed in range(3)] == [0.0, 0.0, 0.0]
    result = run(Nsfw(PICTURES), picture_document("a", picture(1), "a ring"))
    assert documents_of(result.batch)[0].meta["nsfw"] == 0.0
    assert result.counts == {"pictures judged": 1}


def test_broken_pictures_are_left_to_the_filter() -> None:
    pytest.importorskip("nudenet", reason="extra nsfw is not installed")
    result = run(Nsfw(PICTURES), picture_document("a", picture(1)[:60], "a ring"))
    assert (result.dropped, result.counts) == ((), {"pictures not judged": 1})


def test_threshold_is_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsfw, "_detector", lambda: Sure(("FEMALE_BREAST_EXPOSED", 0.8), ("FACE_FEMALE", 0.99)))
    document = picture_document("a", picture(1), "a ring")
    assert [item.reason for item in run(Nsfw(PICTURES), document).dropped] == ["nsfw picture"]
    kept = run(Nsfw(PICTURES, NsfwPolicy(by_source={"pictures": 1.0})), document)
    assert documents_of(kept.batch)[0].meta["nsfw"] == 0.8


def test_faces_and_covered_parts_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsfw, "_detector", lambda: Sure(("FACE_MALE", 0.99), ("BUTTOCKS_COVERED", 0.9)))
    assert nsfw_score(picture(1)) == 0.0


def test_a_plan_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def absent(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
        return None if name == "nudenet" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(MissingExtra, match=r"expedition-programme\[nsfw\]") as caught:
        standard_stages(load_programme("rehearsal", NAMED).data)
    assert caught.value.exit_code == 2


def test_a_plan_may_name_the_stage() -> None:
    pytest.importorskip("nudenet", reason="extra nsfw is not installed")
    stages = standard_stages(load_programme("rehearsal", NAMED).data)
    assert [
        stage.name for stage in stages if "image-text" in stage.kinds and stage.name in ("image_filter", "nsfw")
    ] == [
        "image_filter",
        "nsfw",
    ]
