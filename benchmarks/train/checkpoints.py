"""Checkpoints beside torch's own: python -m benchmarks.train.checkpoints [--parameters N] [--ranks 1,2] [--folder DIR]

The state of `--parameters` fp32 weights and two moments, spread by FSDP's layout (Shard(0)) over gloo ranks, is saved and
restored by ours and by torch.distributed.checkpoint (DCP: `sync_files`, one file a rank) in the same processes and folder.
Ours hashes every byte twice (file, ranges) and checks the hashes before it restores; DCP does neither. Process time is the
sum over ranks; reads come from the page cache. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save, save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from expedition.train.checkpoint import MODEL, OPTIMIZER, load_tensors, verify
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.commit import Snapshot, commit, stage
from expedition.train.saving.staging import Staging
from expedition.workspace import Workspace

LAYERS = 24
ROUNDS = 3


def state(parameters: int, world: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(model, optimizer): `LAYERS` times two matrices, and two moments of each."""
    width = int((parameters / LAYERS / 2) ** 0.5) // 8 * 8
    mesh = init_device_mesh("cpu", (world,)) if world > 1 else None

    def tensor(seed: int) -> Tensor:
        value = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
        return value if mesh is None else distribute_tensor(value, mesh, [Shard(0)], src_data_rank=None)

    names = [f"layers.{layer}.{part}" for layer in range(LAYERS) for part in ("in", "out")]
    model = {name: tensor(number) for number, name in enumerate(names)}
    moments = {f"{moment}.{name}": tensor(1000 + n) for moment in ("first", "second") for n, name in enumerate(names)}
    return model, {**moments, "updates": torch.tensor(7)}


def timed(agreement: Agreement, work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What `work` gives, the wall time of the slowest rank and the process time of all ranks."""
    agreement.gather(None)
    wall, process = time.perf_counter(), time.process_time()
    result = work()
    spent = agreement.gather([time.perf_counter() - wall, time.process_time() - process])
    return result, {"wall_s": max(w for w, _ in spent), "process_s": sum(p for _, p in spent)}


def ours(folder: Path, model: dict[str, Tensor], optimizer: dict[str, Tensor], agreement: Agreement) -> dict[str, Any]:
    ws = Workspace.open(folder, create=True)
    snapshot = Snapshot("checkpoint_1k_tokens", 1, 1000, True, model, optimizer, {})
    staging = Staging()
    stage(snapshot, staging, agreement)
    staged, copy = timed(agreement, lambda: stage(snapshot, staging, agreement))
    info, write = timed(agreement, lambda: commit(ws, "main", staged, agreement))

    def check() -> None:
        problems = agreement.gather(verify(ws, info, (agreement.rank, agreement.world)))
        assert not any(problems), problems

    _, checked = timed(agreement, check)
    empty = [{name: torch.zeros_like(value) for name, value in group.items()} for group in (model, optimizer)]

    def restore() -> None:
        load_tensors(ws, info, MODEL).fill(empty[0])
        load_tensors(ws, info, OPTIMIZER).fill(empty[1])

    _, restored = timed(agreement, restore)
    same = all(
        bool((found[name] == value).all())
        for found, group in zip(empty, (model, optimizer), strict=True)
        for name, value in group.items()
    )
    assert same
    size = sum(entry["bytes"] for entry in info.files.values())
    return {"training waits": copy, "write": write, "check hashes": checked, "restore": restored, "bytes": size}


def peer(folder: Path, model: dict[str, Tensor], optimizer: dict[str, Tensor], agreement: Agreement) -> dict[str, Any]:
    content = {"model": model, "optimizer": optimizer}
    writer = FileSystemWriter(folder / "sync", sync_files=True)
    alone = agreement.world == 1
    _, write = timed(agreement, lambda: save(content, storage_writer=writer, no_dist=alone))
    result: dict[str, Any] = {"write": write}
    if not alone:
        begun, copy = timed(
            agreement,
            lambda: async_save(content, storage_writer=FileSystemWriter(folder / "async", sync_files=True)),
        )
        begun.result()
        result["training waits"] = copy
    empty = {
        group: {name: torch.zeros_like(value) for name, value in tensors.items()} for group, tensors in content.items()
    }
    reader = FileSystemReader(folder / "sync")
    _, result["restore"] = timed(agreement, lambda: load(empty, storage_reader=reader, no_dist=alone))
    return result


def measure(parameters: int, folder: Path) -> None:
    """One rank: interleaved rounds, medians."""
    torch.set_num_threads(1)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world > 1:
        dist.init_process_group("gloo")
    agreement = Agreement.join(rank, world)
    model, optimizer = state(parameters, world)
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(ROUNDS):
        found = {}
        for name, side in (("expedition", ours), ("dcp", peer)):
            place = folder / f"{name}-{number}"
            found[name] = side(place, model, optimizer, agreement)
            agreement.gather(None)
            if rank == 0:
                shutil.rmtree(place)
        rounds.append(found)
    if rank == 0:
        sys.stdout.write(
            json.dumps({"ranks": world, **{side: _medians([r[side] for r in rounds]) for side in rounds[0]}}) + "\n"
        )
    if world > 1:
        dist.destroy_process_group()


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        what: statistics.median(r[what] for r in rounds)
        if isinstance(value, int)
        else {key: round(statistics.median(r[what][key] for r in rounds), 3) for key in value}
        for what, value in rounds[0].items()
    }


def main() -> int:
    """Prints a table and JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=float, default=1e8)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--inside", action="store_true")
    options = parser.parse_args()
    if options.inside:
        measure(int(options.parameters), options.folder)
        return 0
    results = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for world in (int(text) for text in options.ranks.split(",")):
            launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"] if world > 1 else []
            inside = ["-m", "benchmarks.train.checkpoints", "--inside", f"--parameters={options.parameters}"]
            done = subprocess.run(
                [sys.executable, *launch, *inside, f"--folder={folder}"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.stderr.write(done.stderr[-4000:])
                return 1
            results.append(json.loads(done.stdout.strip().splitlines()[-1]))
    for result in results:
        for side in ("expedition", "dcp"):
            for what, spent in sorted(result[side].items()):
                if isinstance(spent, dict):
                    figures = f"{spent['wall_s']:8.2f} s wall {spent['process_s']:8.2f} s process"
                    sys.stdout.write(f"{result['ranks']} ranks  {side:<11}{what:<15}{figures}\n")
    sys.stdout.write(json.dumps({"parameters": int(options.parameters), "results": results}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
