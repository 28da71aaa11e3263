"""One rank that joins: python -m tests.parallel.join WORLD TIMEOUT_S. Exit codes as the command's."""

from __future__ import annotations

import sys

import torch

from expedition.errors import ExpeditionError
from expedition.parallel.mesh import join_ranks, leave_ranks
from expedition.plan.runs import ParallelPlan


def main() -> int:
    world, timeout_s = int(sys.argv[1]), float(sys.argv[2])
    try:
        ranks = join_ranks(ParallelPlan(dp_shard=world, join_timeout_s=timeout_s), torch.device("cpu"))
        sys.stderr.write(f"joined as {ranks.rank}\n")
        ranks.barrier()
        leave_ranks(ranks)
    except ExpeditionError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
