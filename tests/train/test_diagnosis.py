"""What an incident keeps of its step is the same where the model is cut into stages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from expedition.parallel.mesh import Ranks
from tests.parallel.processes import run_ranks
from tests.train.diagnosis_rank import diagnosed_steps
from tests.train.tiny import tiny_run


def test_stages_diagnose_a_step_as_one_process_does(tmp_path: Path) -> None:
    """Activations of every part, also after a step whose predecessor was diagnosed: that changes no weight."""
    torch.set_num_threads(1)
    settings = {"batch_sequences": 8, "micro_batches": 4, "length": "2 steps", "optimizer": {"eps": 1e-2}}
    parallel = {"pp": 2, "schedule": "interleaved", "stages_per_rank": 2}
    plan = tmp_path / "run.json"
    plan.write_text(tiny_run(parallel=parallel, **settings).model_dump_json())
    run_ranks(2, ["tests.train.diagnosis_rank", str(plan), str(tmp_path / "found.json")])
    many = json.loads((tmp_path / "found.json").read_text())
    one = diagnosed_steps(tiny_run(**settings), Ranks(0, 1))
    layers = [f"model.layers.{layer}" for layer in range(4)]
    for staged, whole in zip(many, one, strict=True):
        assert list(staged["activations"]) == [*list(staged["activations"])[:2], *layers]
        assert staged["activations"].keys() == whole["activations"].keys() == {"visual", "audio_tower", *layers}
        for part, figures in whole["activations"].items():
            assert staged["activations"][part] == pytest.approx(figures, rel=1e-4, abs=1e-6), part
        assert staged["gradients"] == pytest.approx(whole["gradients"], rel=1e-4)
        assert staged["samples"] == whole["samples"] and staged["loss"] == pytest.approx(whole["loss"], rel=1e-5)
