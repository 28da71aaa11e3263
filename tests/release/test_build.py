"""The release: loads in transformers with our logits, is idempotent, immutable, and survives a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from expedition.data.tokenizer import Tokenizer
from expedition.errors import UsageError
from expedition.release import build_release
from expedition.release.contents import UNLISTED, list_files
from expedition.release.parity import check_parity
from expedition.train import load_model
from expedition.workspace import Workspace
from tests.evaluate.world import programme, write_workspace

KILLED = """
import os, signal, sys
from expedition.release import build_release
from expedition.workspace import Workspace
from expedition.workspace.store import FolderStore
from tests.evaluate.world import programme
at, whole = int(sys.argv[3]), FolderStore.upload
left = [at]
def upload(self, key, path):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    whole(self, key, path)
FolderStore.upload = upload
build_release(Workspace.open(sys.argv[1]), programme(), "main", data_dir=sys.argv[2])
"""


def test_release_loads_in_transformers(ws: Workspace) -> None:
    report = ws.read_json("reports/release.json")
    assert report["verified"] and report["loads_without_custom_code"]
    assert report["logits_modalities"] == ["text", "image", "video", "audio"]
    assert 0 < report["logits_max_difference"] <= report["logits_bound"]
    folder = ws.path("release/v1.0")
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["Qwen3OmniMoeForConditionalGeneration"] and "auto_map" not in config
    assert not [path for path in folder.glob("*.py")], "no code beside the weights"
    assert not [path for path in folder.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]


def test_bound_does_not_pass_a_wrong_weight(ws: Workspace) -> None:
    """A hundredth of a part on one matrix of one layer is far beyond the bound."""
    model = load_model(ws, "main").eval()
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.mul_(1.01)
    folder = ws.path("release/v1.0")
    parity = check_parity(folder, model, Tokenizer.load(folder), programme().media)
    assert parity.loads_without_custom_code and not parity.equal


def test_manifest_lists_every_file(ws: Workspace) -> None:
    folder = ws.path("release/v1.0")
    manifest = json.loads((folder / "manifest.json").read_text())
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {file["path"] for file in manifest["files"]} == there - UNLISTED
    assert manifest["checkpoint"] == "checkpoint_2k_tokens", "the newest"
    report = ws.read_json("reports/release.json")
    assert set(report["kit"]) == {"inference_example", "benchmark_scripts", "dockerfile", "sample_data"}
    assert all(report["kit"].values())


def test_same_command_again_changes_nothing(ws: Workspace, questions: Path) -> None:
    before = [event for event in ws.events_all("release.")]
    first = ws.read_json("reports/release.json")
    assert build_release(ws, programme(), "main", data_dir=questions) == first
    assert len(list(ws.events_all("release."))) == len(before)


def test_other_weights_under_the_same_version_are_refused(ws: Workspace, questions: Path) -> None:
    with pytest.raises(UsageError, match="never changes"):
        build_release(ws, programme(), "main", "checkpoint_1k_tokens", questions)
    with pytest.raises(UsageError, match="checkpoint_2k_tokens"):
        build_release(ws, programme(), "main", "checkpoint_9k_tokens", questions)


@pytest.mark.parametrize("uploads", [12])
def test_killed_build_ends_with_the_same_bytes(ws: Workspace, questions: Path, tmp_path: Path, uploads: int) -> None:
    other = write_workspace(tmp_path / "killed")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(questions), str(uploads)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    half = other.path("release/v1.0")
    assert len(list_files(half)) == uploads and not (half / "model.sig").exists()
    build_release(other, programme(), "main", data_dir=questions)
    assert list_files(half) == list_files(ws.path("release/v1.0"))
    assert not list(other.scratch("release").iterdir()), "scratch space is cleared"
