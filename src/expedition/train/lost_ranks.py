"""What it means for a rank when another one is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from expedition.errors import Interrupted
from expedition.parallel.mesh import Ranks


@contextmanager
def lost_ranks(ranks: Ranks, run: str) -> Iterator[None]:
    """Say what a broken collective means: another rank is gone, and the run goes on from its last checkpoint.

    gloo breaks the collective at once when a peer's connection closes, and after the group's timeout when it is silent.
    """
    try:
        yield
    except RuntimeError as error:
        if ranks.world == 1 or not _is_broken_collective(error):
            raise
        raise Interrupted(
            f"run {run}: rank {ranks.rank} of {ranks.world} lost another rank: {str(error).splitlines()[0]}",
            fix=f"expedition train resume --run {run}: it goes on from the last complete checkpoint, on any number of "
            "ranks that the plan fits",
        ) from error


def _is_broken_collective(error: RuntimeError) -> bool:
    """gloo raises plain RuntimeErrors, NCCL and the store their own subclasses."""
    words = ("Connection closed by peer", "Connection reset", "Broken pipe", "Timed out waiting", "Socket closed")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)
