"""parallel: a built model and a mesh plan into a model that is spread over ranks; the model knows nothing of it.

Why a room: everything about ranks is applied from outside, as one list. It trains nothing and reads no data.
Verbs (all that other rooms may call):
    join_ranks(plan, device) -> Ranks           from torchrun's environment; one process without it
    leave_ranks(ranks)                          takes the process group down
    parallelize(model, ranks, dtype) -> stages  recomputation, PP, CP, TP, EP, FSDP2; in place
    layout_from(settings, …) -> plan            a plan of NAME=VALUE settings
    dry_run(ws, programme, model, plan)         one rank's view of many, no device, no network; reports/dryrun.json
Seams: model.dispatch.TokenDispatcher (all-to-all, DeepEP) for experts; model.spread.Spread (SpreadRows) for positions.
Imports: errors, workspace, plan, model.  Imported by: train, cli.
Reads / writes in the workspace: reports/dryrun.json.
Invariants: loss, gradients and the updated weights are those of one process [test_ranks_take_the_step_of_one_process];
    [test_a_mesh_takes_the_step_of_one_process]; ranks with other modalities do not hang
    [test_ranks_with_different_modalities_do_not_hang].
Read in this order:
    mesh.py       the ranks of a run
    joining.py    how its processes find each other
    apply.py      the list
    sequence.py   which positions a rank has
    context.py    attention over them
    tensor.py     heads and dense MLPs over ranks
    encoders.py   pictures and sounds over ranks that read the same rows
    gather.py     an all-gather with a gradient
    experts.py    experts over ranks
    dispatch.py   tokens to them and back
    deepep.py     the same by DeepEP
    pipeline.py   layers over ranks
    recompute.py  what the backward pass computes again
    accumulate.py when weights are whole and gradients reduced
    materialise.py  first values of shards
    placement.py  which elements of a sharded tensor a rank holds
    norm.py       sums over sharded gradients
    dryrun.py     many ranks without any
Try: expedition train dryrun --help; pytest tests/parallel
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "join_ranks": "mesh",
    "leave_ranks": "mesh",
    "parallelize": "apply",
    "dry_run": "dryrun",
    "layout_from": "dryrun",
}

__all__ = ["dry_run", "join_ranks", "layout_from", "leave_ranks", "parallelize"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
