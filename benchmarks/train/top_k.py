"""How much of a teacher is in its k largest probabilities: divergence over k + 1 outcomes against the whole one.

    python -m benchmarks.train.top_k WORKSPACE [--run student] [--student student-baseline] [--batches 8]

Reads a workspace in which the teacher and a student were trained; writes nothing. For each k: the mean divergence by
learnt position, its share of the whole, the probability of the rest, and the bytes that a position takes on disk.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

from expedition.plan import load_programme
from expedition.train.batches import to_tensors
from expedition.train.compute import Forward
from expedition.train.losses import IGNORED, divergence
from expedition.train.run import dataset_inputs
from expedition.train.setup import load_model
from expedition.train.top_k import largest, top_k_divergence
from expedition.workspace import Workspace

CPU = torch.device("cpu")


@torch.no_grad()
def measure(ws: Workspace, preset: str, run: str, student: str, batches: int, sizes: list[int]) -> dict[str, Any]:
    """Sums over all learnt positions of the first batches."""
    programme = load_programme(preset)
    plan = programme.runs[run].teacher
    if plan is None:
        raise SystemExit(f"run {run!r} has no teacher")
    source = dataset_inputs(ws, programme, run).source
    models = [Forward(load_model(ws, name).eval(), torch.float32, sharded=False) for name in (plan.run, student)]
    positions, whole = 0, 0.0
    sums = {k: [0.0, 0.0] for k in sizes}
    vocabulary = 0
    for step in range(batches):
        for batch in source.rank_batch(step, 0, 1):
            tensors = to_tensors(batch, CPU, torch.float32)
            places = (tensors.labels_BS.flatten() != IGNORED).nonzero().squeeze(1)
            logits = []
            for model in models:
                output, head = model(tensors)
                logits.append(head(output.hidden_BSH.flatten(0, 1)[places]))
            teacher_TV, student_TV = logits
            vocabulary = teacher_TV.shape[1]
            positions += len(places)
            whole += float(divergence(student_TV, teacher_TV, plan.temperature).sum())
            for k, found in sums.items():
                ids, log_p, log_rest = largest(teacher_TV, k, plan.temperature)
                found[0] += float(top_k_divergence(student_TV, ids, log_p, log_rest, plan.temperature).sum())
                found[1] += float(log_rest.exp().sum())
    rows = [
        {
            "k": k,
            "divergence_nats": total / positions,
            "share_of_whole": total / whole,
            "rest_probability": rest / positions,
            "bytes_a_position_fp32": 8 * k + 8,
            "bytes_a_position_fp16": 6 * k + 8,
        }
        for k, (total, rest) in sums.items()
    ]
    return {"positions": positions, "vocabulary": vocabulary, "whole_divergence_nats": whole / positions, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace")
    parser.add_argument("--preset", default="rehearsal")
    parser.add_argument("--run", default="student")
    parser.add_argument("--student", default="student-baseline")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    given = parser.parse_args()
    ws = Workspace.open(given.workspace)
    print(json.dumps(measure(ws, given.preset, given.run, given.student, given.batches, given.k), indent=1))


if __name__ == "__main__":
    main()
