"""parallel: a built model and a mesh plan into a model that is spread over ranks; the model knows nothing of it.

Why a room: everything about ranks is applied from outside, as one list. It trains nothing and reads no data.
Verbs (all that other rooms may call):
    join_ranks(plan, device) -> Ranks           from torchrun's environment; one process without it
    leave_ranks(ranks)                          takes the process group down
    parallelize(model, ranks, dtype) -> model   FSDP2 a layer, HSDP, replication; in place
    dry_run(ws, programme, model)               one rank's view of 256, no device, no network; reports/dryrun.json
Seams: none yet; tensor, context, pipeline and expert degrees are refused by join_ranks and seen by dry_run.
Imports: errors, workspace, plan, model.  Imported by: train, cli.
Reads / writes in the workspace: reports/dryrun.json.
Invariants: loss, gradients and the updated weights are those of one process [test_ranks_take_the_step_of_one_process];
    ranks with other modalities do not hang [test_ranks_with_different_modalities_do_not_hang].
Read in this order:
    mesh.py     the ranks of a run
    apply.py    the list
    norm.py     sums over sharded gradients
    dryrun.py   256 ranks without any
Try: expedition train dryrun --help; pytest tests/parallel
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {"join_ranks": "mesh", "leave_ranks": "mesh", "parallelize": "apply", "dry_run": "dryrun"}

__all__ = ["dry_run", "join_ranks", "leave_ranks", "parallelize"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
