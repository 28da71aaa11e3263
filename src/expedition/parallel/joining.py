"""How the ranks of a run find each other, and what is said when one does not come."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from expedition.errors import Interrupted

POLL_S = 0.1


def meet(rank: int, world: int, timeout_s: float) -> Store:
    """The store that torchrun's environment names (MASTER_ADDR, MASTER_PORT), once every rank has come to it. Blocking.

    Raises Interrupted, with the numbers of the ranks that are missing, when they have not all come in `timeout_s`: one
    died on its way, or was never started.
    """
    address = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
    deadline = time.monotonic() + timeout_s
    try:
        found = _store(rank, timedelta(seconds=timeout_s))
        # torchrun keeps its store over restarts: what an earlier attempt wrote there is not counted.
        store = PrefixStore(f"joined/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", found)
        store.set(str(rank), socket.gethostname())
        missing = list(range(world))
        while missing := [other for other in missing if not store.check([str(other)])]:
            if time.monotonic() > deadline:
                raise _alone(rank, world, timeout_s, address, f"rank {', '.join(map(str, missing[:8]))} did not come")
            time.sleep(POLL_S)
    except (dist.DistError, RuntimeError, OSError) as error:
        raise _alone(rank, world, timeout_s, address, f"the store does not answer: {_first(error)}") from error
    return PrefixStore("run", found)


def _store(rank: int, timeout: timedelta) -> Store:
    """torchrun's own store where its agent keeps one, else one that the first rank keeps."""
    kept_by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not kept_by_agent,
        timeout=timeout,
        wait_for_workers=False,
        multi_tenant=True,
    )


def _alone(rank: int, world: int, timeout_s: float, address: str, why: str) -> Interrupted:
    return Interrupted(
        f"rank {rank} of {world} waited {timeout_s:g} s for the others at {address}: {why}",
        where="joining",
        fix="look at the output of the missing rank, then start all of them again; nothing was trained. A slow start "
        "needs a longer runs.*.parallel.join_timeout_s",
    )


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
