"""A fork goes on as its parent would have, says where it comes from, and needs its parent no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from expedition.errors import ProgrammeError, UsageError
from expedition.plan.recorded import with_recorded
from expedition.train.checkpoint import checkpoints, delete_checkpoint, load_state
from expedition.train.decisions import Skip, data_step, decisions, rewind_run
from expedition.train.forking import fork_run
from expedition.train.lineage import read_parent
from expedition.train.run import Inputs, train_run
from expedition.watch.segments import read_metrics
from expedition.workspace import Workspace
from tests.train.programme import programme_with
from tests.train.tiny import CountingSource, tiny_config, tiny_run

RUN = tiny_run(checkpoint={"permanent_every": "6 steps", "ephemeral_every": "2 steps"})
PROGRAMME = programme_with(main=RUN)


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a finished run."""
    ws = Workspace.open(tmp_path_factory.mktemp("forks") / "w", create=True)
    sail(ws, "main")
    return ws


def sail(ws: Workspace, name: str) -> dict[str, Any]:
    programme = with_recorded(ws, PROGRAMME)
    run = programme.runs[name]
    return train_run(ws, programme, name, inputs=Inputs(CountingSource(run), tiny_config()))


def tensors(ws: Workspace, name: str) -> dict[str, str]:
    last = checkpoints(ws, name)[-1]
    return {file: entry["sha256"] for file, entry in last.files.items() if file.endswith(".safetensors")}


def test_a_fork_without_changes_ends_with_its_parents_bits(ws: Workspace) -> None:
    made = fork_run(ws, PROGRAMME, "twin", "main", "6")
    assert fork_run(ws, PROGRAMME, "twin", "main", "6") == made
    assert sail(ws, "twin")["finished"]
    assert tensors(ws, "twin") == tensors(ws, "main")
    assert read_metrics(ws, "twin")["step"].tolist() == list(range(6, 12))
    parent = read_parent(ws, "twin")
    source = next(info for info in checkpoints(ws, "main") if info.step == 6)
    assert parent is not None and parent.manifest_sha256 == source.manifest_sha256
    config = yaml.safe_load(ws.store.read("runs/twin/config.yaml"))
    assert config["lineage"] == load_state(ws, checkpoints(ws, "twin")[-1])["lineage"]
    assert config["lineage"]["run"] == "main" and config["lineage"]["kind"] == "fork"


def test_a_fork_with_changes_has_its_own_plan_and_outlives_its_parents_checkpoint(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    sail(ws, "main")
    fork_run(ws, PROGRAMME, "hot", "main", "checkpoint_1.2k_tokens", ["learning_rate.peak=2e-2", "length=14 steps"])
    delete_checkpoint(ws, "main", "checkpoint_1.2k_tokens")
    assert sail(ws, "hot")["steps"] == 14
    assert tensors(ws, "hot") != tensors(ws, "main")
    with pytest.raises(UsageError, match="forked with another plan"):
        fork_run(ws, PROGRAMME, "hot", "main", "12", ["learning_rate.peak=3e-2"])


def test_a_fork_that_cannot_be_one_is_refused(ws: Workspace) -> None:
    with pytest.raises(UsageError, match="sequence_length"):
        fork_run(ws, PROGRAMME, "longer", "main", "6", ["sequence_length=96"])
    with pytest.raises(UsageError, match="batch_sequences"):
        fork_run(ws, PROGRAMME, "wider", "main", "6", ["batch_sequences=8"])
    with pytest.raises(ProgrammeError, match="unknown key"):
        fork_run(ws, PROGRAMME, "odd", "main", "6", ["learning_rate.peek=1"])
    with pytest.raises(UsageError, match="has begun already"):
        fork_run(ws, PROGRAMME, "main", "main", "6")
    with pytest.raises(UsageError, match="keeps no checkpoint"):
        fork_run(ws, PROGRAMME, "none", "main", "5")


def test_a_fork_reads_the_data_that_its_parent_would_have_read(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    sail(ws, "main")
    rewind_run(ws, "main", "6", Skip(((7, 9),)), abandon=True)
    sail(ws, "main")
    fork_run(ws, PROGRAMME, "twin", "main", "12", ["length=16 steps"])
    taken = decisions(ws, "twin")
    assert len(taken) == 1 and data_step(12, taken) == data_step(12, decisions(ws, "main")) == 14
    assert sail(ws, "twin")["finished"]
