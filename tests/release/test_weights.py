"""`release export`: a checkpoint as a folder for transformers' class, alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expedition.errors import UsageError
from expedition.model import load_export
from expedition.release import export_checkpoint
from expedition.train import load_model
from expedition.workspace import Workspace
from tests.evaluate.world import programme


def test_an_exported_checkpoint_loads_here_and_there_with_its_weights(ws: Workspace, tmp_path: Path) -> None:
    from transformers import AutoModelForMultimodalLM

    facts = export_checkpoint(ws, programme(), "main", None, tmp_path / "out", shard_bytes=100_000)
    again = export_checkpoint(ws, programme(), "main", facts["checkpoint"], tmp_path / "out", shard_bytes=100_000)
    assert again == facts and len([name for name in facts["files"] if name.startswith("model-")]) > 1
    assert facts["bytes"] == sum(file.stat().st_size for file in (tmp_path / "out").iterdir())
    expected = load_model(ws, "main", facts["checkpoint"]).state_dict()
    ours = load_export(tmp_path / "out").state_dict()
    theirs = AutoModelForMultimodalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).thinker.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in expected.items())
    assert all(torch.equal(theirs[name], tensor) for name, tensor in expected.items())


def test_bfloat16_halves_it(ws: Workspace, tmp_path: Path) -> None:
    export_checkpoint(ws, programme(), "main", None, tmp_path, dtype="bfloat16")
    assert {tensor.dtype for tensor in load_export(tmp_path).state_dict().values()} == {torch.bfloat16}


def test_wrong_requests_are_refused(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "model-of-a-ship.safetensors").write_text("mine")
    with pytest.raises(UsageError, match="holds something that is no export"):
        export_checkpoint(ws, programme(), "main", None, tmp_path / "letters")
    assert (tmp_path / "letters" / "model-of-a-ship.safetensors").exists()
    with pytest.raises(UsageError, match="no checkpoint 'checkpoint_9T_tokens'"):
        export_checkpoint(ws, programme(), "main", "checkpoint_9T_tokens", tmp_path / "out")
    with pytest.raises(UsageError, match="no dtype 'float8'"):
        export_checkpoint(ws, programme(), "main", None, tmp_path / "out", dtype="float8")
    assert not (tmp_path / "out").exists()
