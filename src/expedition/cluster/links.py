"""Bandwidth between ranks, measured: every pair of local processes exchanges tensors over gloo, one pair at a time.

On one machine these are loopback links between processes, and the report says so.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expedition.workspace import Workspace

SCHEMA = "cluster.links/1"
LINKS = "cluster/links.json"


def measure_links(ws: Workspace, ranks: int = 4, payload_bytes: int = 8 * 2**20, repeats: int = 3) -> dict[str, Any]:
    """Write cluster/links.json with `bytes_per_s[from][to]` (null on the diagonal). Blocking; some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"file://{folder}/rendezvous"
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(rank), str(ranks), address, str(payload_bytes), str(repeats)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for rank in range(ranks)
        ]
        outputs = [worker.communicate()[0] for worker in workers]
    rows = [json.loads(text.splitlines()[-1]) if text.strip() else [None] * ranks for text in outputs]
    document = {
        "ranks": ranks,
        "payload_bytes": payload_bytes,
        "bytes_per_s": rows,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "conditions": ["gloo between local processes", "loopback, not NVLink or InfiniBand"],
    }
    ws.write_json(LINKS, document, schema=SCHEMA)
    return document


def _worker(rank: int, ranks: int, address: str, payload_bytes: int, repeats: int) -> list[float | None]:
    """This rank's row: bytes a second that it sent to each other rank, best of `repeats`."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=ranks)
    payload = torch.zeros(payload_bytes, dtype=torch.uint8)
    receipt = torch.zeros(1, dtype=torch.uint8)
    row: list[float | None] = [None] * ranks
    for sender in range(ranks):
        for receiver in range(ranks):
            if sender == receiver:
                continue
            dist.barrier()
            if rank == sender:
                row[receiver] = payload_bytes / min(_timed(partial(_send, payload, receipt, receiver), repeats))
            elif rank == receiver:
                for _ in range(repeats):
                    dist.recv(payload, sender)
                    dist.send(receipt, sender)
    dist.destroy_process_group()
    return row


def _send(payload: Any, receipt: Any, to: int) -> None:
    import torch.distributed as dist

    dist.send(payload, to)
    dist.recv(receipt, to)


def _timed(action: Callable[[], None], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return times


def main(arguments: list[str]) -> None:
    """One rank: RANK RANKS ADDRESS BYTES REPEATS; prints its row as JSON."""
    rank, ranks, address, payload_bytes, repeats = arguments
    sys.stdout.write(json.dumps(_worker(int(rank), int(ranks), address, int(payload_bytes), int(repeats))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
