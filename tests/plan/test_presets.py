"""Presets load, agree with the chapter, and survive a round trip."""

from __future__ import annotations

from pathlib import Path

import pytest

from expedition.plan import PRESETS, dump_programme, load_programme


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_round_trip(preset: str, tmp_path: Path) -> None:
    programme = load_programme(preset)
    file = tmp_path / "programme.yaml"
    file.write_text(dump_programme(programme))
    assert load_programme(file) == programme


def test_the_chapter_is_in_w26() -> None:
    programme = load_programme("w26")
    shares = {share.kind: share.tokens for share in programme.data.mix.shares}
    assert programme.data.mix.total_tokens == 30e12
    assert shares == {
        "web": 15e12, "code": 5e12, "books": 2e12, "image-text": 3e12, "video-text": 3e12, "audio-text": 1e12,
        "synthetic": 1e12,
    }  # fmt: skip
    assert programme.cluster.gpus == 256
    assert programme.cluster.price_usd_per_gpu_hour == 4
    assert programme.runs["main"].checkpoint.permanent_every.value == 500 * 10**9
    assert programme.runs["main"].length.value == 10 * 10**12
    assert programme.data.tokenizer.base_size == 151_643
    assert programme.rules.rise is not None and programme.rules.rise.span.value == 24
    assert programme.rules.plateau is not None and programme.rules.plateau.span.value == 72
    assert {stream.id for stream in programme.schedule.workstreams} == {
        "data", "model", "infra", "training", "evaluation", "delivery",
    }  # fmt: skip


def test_presets_have_the_same_shape_and_differ_in_data_only() -> None:
    programmes = [load_programme(preset) for preset in PRESETS]
    assert len({tuple(programme.runs) for programme in programmes}) == 1
    assert len({tuple(criterion.id for criterion in programme.criteria) for programme in programmes}) == 1
    assert len({tuple(programme.data.stages) for programme in programmes}) == 1


def test_overrides_reach_values_and_records() -> None:
    programme = load_programme(
        "rehearsal", ["cluster.price_usd_per_gpu_hour=2.5", "schedule.tasks.main_run.weeks=9", "workers=3"]
    )
    assert programme.cluster.price_usd_per_gpu_hour == 2.5
    assert next(task for task in programme.schedule.tasks if task.id == "main_run").weeks == 9
    assert programme.workers == 3
