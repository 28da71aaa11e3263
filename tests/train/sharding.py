"""One rank of a world of four: python -m tests.train.sharding WORKSPACE.

Reads `checkpoint_1k_tokens` of run `one` (written by one process) into tensors spread in many ways over four ranks and
over two, compares with the whole tensors, and writes each of these states back under another run name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard

from expedition.errors import StorageError
from expedition.parallel.mesh import Ranks, lay_meshes
from expedition.plan.runs import RunPlan
from expedition.train.checkpoint import MODEL, OPTIMIZER, load_tensors, newest_intact
from expedition.train.saving.agreement import Agreement
from expedition.train.saving.commit import Snapshot, write_checkpoint
from expedition.train.saving.shards import held
from expedition.train.saving.snapshot import restore, state_tensors
from expedition.train.setup import build
from expedition.workspace import Workspace
from expedition.workspace.store import FolderStore
from tests.train.state import full_tensor
from tests.train.tiny import tiny_config, tiny_run

SIZES: dict[str, tuple[int, ...]] = {
    "matrix": (8, 12),
    "uneven": (7, 5),
    "experts": (4, 6, 10),
    "vector": (16,),
    "short": (3,),
    "scalar": (),
}


PLANS: dict[str, dict[str, int]] = {
    "fsdp": {"dp_shard": 4},
    "hsdp": {"dp_replicate": 2, "dp_shard": 2},
    "tensor": {"dp_shard": 2, "tp": 2},
    "experts": {"dp_shard": 4, "ep": 2},
    "context": {"dp_shard": 2, "cp": 2},
    "pipeline": {"dp_shard": 2, "pp": 2},
}
"""Degrees of four ranks."""


def plan_of(degrees: dict[str, int]) -> RunPlan:
    return tiny_run(parallel=degrees, micro_batches=degrees.get("pp", 1))


def whole_tensors() -> dict[str, Tensor]:
    """What run `one` holds: every element differs; three dtypes."""
    made = {name: torch.arange(1.0, 1 + torch.Size(size).numel()).reshape(size) for name, size in SIZES.items()}
    return {**made, "vector": made["vector"].bfloat16(), "short": made["short"].long()}


def placements(mesh: DeviceMesh) -> dict[str, list[Placement]]:
    """How each tensor lies on a mesh of two axes."""
    strided = _StridedShard(1, split_factor=3)
    return {
        "matrix": [Shard(0), Shard(1)],
        "uneven": [Shard(0), Replicate()],
        "experts": [Replicate(), strided] if mesh.size(1) == 2 else [Shard(0), Replicate()],
        "vector": [_StridedShard(0, split_factor=mesh.size(1)), Shard(0)],
        "short": [Shard(0), Shard(0)],
    }


def spread(mesh: DeviceMesh, empty: bool = True) -> dict[str, Tensor]:
    """Run `one`'s tensors on a mesh, filled with zeros if `empty`; the scalar stays plain."""
    there = placements(mesh)
    return {
        name: _on(mesh, torch.zeros_like(value) if empty else value, there[name]) if name in there else torch.zeros(())
        for name, value in whole_tensors().items()
    }


def _on(mesh: DeviceMesh, value: Tensor, placement: list[Placement]) -> DTensor:
    """As `distribute_tensor`, which refuses strided shards."""
    local = value
    coordinate = mesh.get_coordinate()
    assert coordinate is not None
    for axis, (place, here) in enumerate(zip(placement, coordinate, strict=True)):
        if not place.is_replicate():
            local = place._split_tensor(local, mesh.size(axis), with_padding=False, contiguous=True)[0][here]  # type: ignore[attr-defined]
    stride = value.stride()
    return DTensor.from_local(local.contiguous(), mesh, placement, run_check=False, shape=value.shape, stride=stride)


def rebuilt(tensor: Tensor) -> Tensor:
    """The whole of a tensor from every rank's boxes, without DTensor's own redistribution."""
    if not isinstance(tensor, DTensor):
        return tensor
    total, times = torch.zeros(tensor.shape), torch.zeros(tensor.shape)
    for part in held(tensor):
        place = tuple(slice(a, b) for a, b in zip(part.box.start, part.box.stop, strict=True))
        total[place] += tensor.to_local()[part.local].float()
        times[place] += 1
    for value in (total, times):
        for axis in range(tensor.device_mesh.ndim):
            dist.all_reduce(value, group=tensor.device_mesh.get_group(axis))
    assert int(times.min()) == int(times.max()) > 0
    return (total / times).to(tensor.dtype)


def check(ws: Workspace, run: str, mesh: DeviceMesh, agreement: Agreement) -> None:
    """Read `run` into a mesh and compare."""
    info, corrupt = newest_intact(ws, run, agreement)
    assert info is not None and not corrupt
    for file in (MODEL, OPTIMIZER):
        tensors = spread(mesh)
        load_tensors(ws, info, file).fill(tensors)
        for name, expected in whole_tensors().items():
            assert torch.equal(rebuilt(tensors[name]), expected), f"{run} {name} on {mesh}"


def save(ws: Workspace, run: str, mesh: DeviceMesh, agreement: Agreement) -> None:
    tensors = spread(mesh, empty=False)
    tensors["scalar"] = whole_tensors()["scalar"]
    write_checkpoint(ws, run, Snapshot("checkpoint_1k_tokens", 1, 1000, True, tensors, tensors, {}), agreement)


def stages(ws: Workspace, agreement: Agreement) -> None:
    """Two pipeline stages of two ranks with parameters of their own names, sharded inside the stage, and a plain one."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("pp", "dp"))
    stage = mesh.get_local_rank("pp")
    mine = {f"layer{stage}.{name}": value for name, value in whole_tensors().items() if value.dim() == 2}
    tensors: dict[str, Tensor] = {
        name: distribute_tensor(value, mesh["dp"], [Shard(0)]) for name, value in mine.items()
    }
    tensors |= {f"layer{stage}.count": torch.tensor(stage), "updates": torch.tensor(5)}
    snapshot = Snapshot("checkpoint_1k_tokens", 1, 1000, True, tensors, {}, {})
    info = write_checkpoint(ws, "stages", snapshot, agreement)
    found = {name: torch.zeros_like(value) for name, value in tensors.items()}
    load_tensors(ws, info, MODEL).fill(found)
    for name, value in tensors.items():
        assert torch.equal(full_tensor(found[name]), full_tensor(value)), name


def tensor_parallel(ws: Workspace, agreement: Agreement) -> None:
    """FSDP2 over tensor parallelism as torch lays it out; read back on the other mesh, and by one process."""
    torch.manual_seed(0)
    built = nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 8))
    plain = {name: value.detach().clone() for name, value in built.named_parameters()}
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    parallelize_module(built, mesh["tp"], {"0": ColwiseParallel(), "1": RowwiseParallel()})
    fully_shard(built, mesh=mesh["dp"])
    tensors = dict(built.named_parameters())
    assert any(isinstance(p, _StridedShard) for value in tensors.values() for p in value.placements)  # type: ignore[attr-defined]
    snapshot = Snapshot("checkpoint_1k_tokens", 1, 1000, True, tensors, {}, {})
    info = write_checkpoint(ws, "tp", snapshot, agreement)
    reader = load_tensors(ws, info, MODEL)
    other = {
        name: distribute_tensor(torch.zeros_like(value), mesh, [Replicate(), Shard(0)]) for name, value in plain.items()
    }
    reader.fill(other)
    for name, value in plain.items():
        assert torch.equal(reader[name], value), name
        assert torch.equal(full_tensor(other[name]), value), name


def plans(ws: Workspace, agreement: Agreement) -> None:
    """The whole training state of a model, restored under each plan and written back as it lies."""
    for name, degrees in PLANS.items():
        run = plan_of(degrees)
        ranks = Ranks(agreement.rank, agreement.world, run.parallel, lay_meshes(run.parallel, "cpu"))
        state = build(tiny_config(), run, ranks, torch.device("cpu")).state
        info, _ = newest_intact(ws, "real", agreement)
        assert info is not None
        restore(state, load_tensors(ws, info, MODEL), load_tensors(ws, info, OPTIMIZER), info.step, agreement)
        assert state.step == info.step
        model, optimizer = state_tensors(state)
        snapshot = Snapshot(info.name, info.step, info.tokens, True, model, optimizer, {})
        write_checkpoint(ws, f"plan-{name}", snapshot, agreement)


class Refusing(FolderStore):
    """A folder that takes no checkpoint file."""

    def upload(self, key: str, path: Path, *, keep: bool = False) -> None:
        raise StorageError("cannot write: no space left on device", where=key)


def one_refuses(ws: Workspace, mesh: DeviceMesh, agreement: Agreement) -> None:
    """The disk of rank 2 is full: all ranks hear of it, nothing stays, and the next try is whole."""
    mine = Workspace(Refusing(Path(ws.place)), ws.place) if agreement.rank == 2 else ws
    try:
        save(mine, "refused", mesh, agreement)
    except StorageError as error:
        assert "no space left" in str(error)
        assert agreement.rank == 2 or "rank 2" in str(error)
    else:
        raise AssertionError("nobody heard of it")
    agreement.gather(None)
    assert not list(ws.store.list("runs/refused"))
    agreement.gather(None)
    save(ws, "refused", mesh, agreement)
    check(ws, "refused", mesh, agreement)


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ws = dist.get_rank(), Workspace.open(sys.argv[1])
    four = Agreement.join(rank, 4)
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp_replicate", "dp_shard"))
    flat = init_device_mesh("cpu", (4, 1), mesh_dim_names=("a", "b"))
    pair = init_device_mesh("cpu", (2, 2, 1), mesh_dim_names=("half", "x", "y"))["x", "y"]
    halves = [dist.new_group([0, 1], backend="gloo"), dist.new_group([2, 3], backend="gloo")]
    check(ws, "one", square, four)
    save(ws, "square", square, four)
    check(ws, "square", flat, four)
    save(ws, "flat", flat, four)
    if rank < 2:
        two = Agreement(rank, 2, halves[0])
        check(ws, "flat", pair, two)
        save(ws, "pair", pair, two)
    dist.barrier()
    check(ws, "pair", square, four)
    stages(ws, four)
    tensor_parallel(ws, four)
    one_refuses(ws, square, four)
    plans(ws, four)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
