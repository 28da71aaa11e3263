"""Checkpoints of many ranks: any mesh reads what any other wrote, to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from expedition.errors import InputError
from expedition.parallel.mesh import Ranks
from expedition.train.checkpoint import MODEL, OPTIMIZER, load_tensors, newest_intact, read_info, verify
from expedition.train.saving.commit import Snapshot, write_checkpoint
from expedition.train.saving.snapshot import state_tensors
from expedition.train.setup import build
from expedition.workspace import Workspace
from tests.parallel.processes import run_ranks
from tests.train.sharding import PLANS, plan_of, whole_tensors
from tests.train.tiny import tiny_config

NAME = "checkpoint_1k_tokens"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """What four ranks made of the checkpoint of one process; see tests/train/sharding.py."""
    place = tmp_path_factory.mktemp("shards") / "w"
    ws = Workspace.open(place, create=True)
    tensors = whole_tensors()
    write_checkpoint(ws, "one", Snapshot(NAME, 1, 1000, True, tensors, tensors, {}))
    state = build(tiny_config(), plan_of({}), Ranks(0, 1), torch.device("cpu")).state
    chance = torch.Generator().manual_seed(3)
    for group in state_tensors(state):
        for value in group.values():
            noise = torch.rand(value.shape, generator=chance, dtype=torch.float64) * 100
            value.detach().copy_(noise)
    write_checkpoint(ws, "real", Snapshot(NAME, 1, 1000, True, *state_tensors(state), {}))
    run_ranks(4, ["tests.train.sharding", str(place)])
    return ws


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_restores_the_whole_state_to_the_bit_and_writes_it_back(world: Workspace, name: str) -> None:
    before, after = read_info(world, "real", NAME), read_info(world, f"plan-{name}", NAME)
    assert verify(world, after) is None
    for file in (MODEL, OPTIMIZER):
        expected, found = load_tensors(world, before, file), load_tensors(world, after, file)
        assert found.keys() == expected.keys()
        for tensor in expected:
            assert torch.equal(found[tensor], expected[tensor]), tensor


@pytest.mark.parametrize("run", ["one", "square", "flat", "pair"])
def test_one_process_reads_what_any_ranks_wrote(world: Workspace, run: str) -> None:
    info, corrupt = newest_intact(world, run)
    assert info is not None and not corrupt
    for file in (MODEL, OPTIMIZER):
        found = load_tensors(world, info, file)
        assert found.keys() == whole_tensors().keys()
        for name, expected in whole_tensors().items():
            assert found[name].dtype == expected.dtype
            assert torch.equal(found[name], expected), name


@pytest.mark.parametrize(("run", "ranks"), [("square", 4), ("flat", 4), ("pair", 2)])
def test_each_element_is_written_once_and_no_rank_gathers(world: Workspace, run: str, ranks: int) -> None:
    info = read_info(world, run, NAME)
    assert len(info.shards(MODEL)) == ranks
    spaces = [load_tensors(world, info, MODEL)._read_entries(file) for file in info.shards(MODEL)]
    total = sum(value.numel() for value in whole_tensors().values())
    elements = [sum(entry.box.elements for entry in entries) for entries in spaces]
    assert sum(elements) == total
    assert max(elements) < 0.8 * total


def test_stages_write_their_own_names_and_the_manifest_is_json(world: Workspace) -> None:
    info = read_info(world, "stages", NAME)
    found = load_tensors(world, info, MODEL)
    assert set(found) == {
        *(f"layer{stage}.{name}" for stage in (0, 1) for name in ("matrix", "uneven", "count")),
        "updates",
    }
    assert int(found["layer1.count"]) == 1
    for name in info.files:
        data = world.store.read(f"{info.folder}/{name}")
        if name.endswith(".json"):
            json.loads(data)
        else:
            assert name.endswith(".safetensors")


def test_an_object_store_gives_the_same_tensors(world: Workspace, s3_endpoint: str) -> None:
    remote = Workspace.open(f"s3://expedition/shards?endpoint={s3_endpoint}", create=True)
    here = read_info(world, "square", NAME)
    for key in world.store.list(here.folder):
        remote.store.write(key, world.store.read(key))
    info, corrupt = newest_intact(remote, "square")
    assert info == here and not corrupt
    found = load_tensors(remote, info, OPTIMIZER)
    assert all(torch.equal(found[name], value) for name, value in whole_tensors().items())


def test_a_missing_shard_and_a_damaged_one_are_named(world: Workspace, tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "w", create=True)
    info = read_info(world, "square", NAME)
    for key in world.store.list(info.folder):
        ws.store.write(key, world.store.read(key))
    shard = info.shards(OPTIMIZER)[2]
    data = bytearray(ws.store.read(f"{info.folder}/{shard}"))
    entries = load_tensors(ws, info, OPTIMIZER)._read_entries(shard)
    data[entries[-1].begin] ^= 1
    ws.store.write(f"{info.folder}/{shard}", bytes(data))
    problem = verify(ws, info)
    assert problem is not None and shard in problem and entries[-1].name in problem
    assert f"bytes {entries[-1].begin}–{entries[-1].end - 1}" in problem
    shares = [verify(ws, info, (place, 3)) for place in range(3)]
    assert [found is not None for found in shares] == [False, False, True]
    ws.store.delete(f"{info.folder}/{shard}")
    assert verify(ws, info) == f"{shard} is missing"


def test_a_set_of_files_with_a_hole_is_refused(world: Workspace, tmp_path: Path) -> None:
    info = read_info(world, "square", NAME)
    reader = load_tensors(world, info, MODEL)
    reader._files = reader._files[:3]
    with pytest.raises(InputError, match=r"of \d+ elements are in the files"):
        len(reader)
