"""The load of a burn-in: a training-like job whose right answer is known. Runs as a process of its own on each node.

A round is: a two-layer network's forward and backward pass (matrix products), a permuted copy through memory, a file
that is written, synced, read back and compared. All numbers are small integers in float64, so every product is exact
and every healthy machine gives the same digest, whatever its number of threads or order of summation.

Started as `python -m expedition.cluster.load` with a LoadPlan as JSON on stdin; prints one JSON line a round.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Fault = Literal["none", "wrong", "slow", "dead"]


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What one worker does. `rounds` 0 = until `seconds` are over. `fault` plants one, to test the test."""

    node: str
    seed: int
    rounds: int
    seconds: float
    matrix_size: int
    memory_bytes: int
    file_bytes: int
    folder: str
    fault: Fault = "none"


@dataclass(frozen=True, slots=True)
class Round:
    """One round's result. Times of compute and memory are CPU seconds, as a busy machine is no slow node."""

    node: str
    number: int
    digest: str
    file_ok: bool
    compute_cpu_s: float
    memory_cpu_s: float
    file_s: float
    wall_s: float


def expected_digest(seed: int, number: int, matrix_size: int, memory_bytes: int) -> str:
    """The digest that a healthy worker gives for a round."""
    digest = hashlib.sha256()
    for part in (_compute(seed, number, matrix_size), _memory(seed, number, memory_bytes)):
        digest.update(part)
    return digest.hexdigest()


def run_load(plan: LoadPlan) -> Iterator[Round]:
    """Rounds of the load, one at a time."""
    started = time.monotonic()
    number = 0
    while (plan.rounds and number < plan.rounds) or (not plan.rounds and time.monotonic() - started < plan.seconds):
        if plan.fault == "dead" and number == 1:
            os._exit(70)
        yield _round(plan, number)
        number += 1


def _round(plan: LoadPlan, number: int) -> Round:
    began = time.monotonic()
    cpu = time.process_time()
    for _ in range(4 if plan.fault == "slow" else 1):
        products = _compute(plan.seed, number, plan.matrix_size)
    compute_s = time.process_time() - cpu
    cpu = time.process_time()
    copied = _memory(plan.seed, number, plan.memory_bytes)
    memory_s = time.process_time() - cpu
    if plan.fault == "wrong":
        products = bytes([products[0] ^ 1]) + products[1:]
    digest = hashlib.sha256(products + copied).hexdigest()
    file_began = time.monotonic()
    file_ok = _file(plan, number)
    ended = time.monotonic()
    return Round(plan.node, number, digest, file_ok, compute_s, memory_s, ended - file_began, ended - began)


def _compute(seed: int, number: int, size: int) -> bytes:
    """Forward and backward of `relu(x W1) W2` with integers: exact below 2^53."""
    random = np.random.Generator(np.random.PCG64([seed, number, 1]))
    x_BH, w1_HF, w2_FH = (random.integers(-3, 4, (size, size)).astype(np.float64) for _ in range(3))
    inner_BF = x_BH @ w1_HF
    active_BF = np.maximum(inner_BF, 0)
    out_BH = active_BF @ w2_FH
    grad_BH = np.sign(out_BH)
    grad_w2_FH = active_BF.T @ grad_BH
    grad_inner_BF = (grad_BH @ w2_FH.T) * (inner_BF > 0)
    grad_w1_HF = x_BH.T @ grad_inner_BF
    return b"".join(np.ascontiguousarray(a).sum(axis=0).tobytes() for a in (out_BH, grad_w2_FH, grad_w1_HF))


def _memory(seed: int, number: int, size_bytes: int) -> bytes:
    """A permuted copy there and back; the digest of what came back."""
    words = np.arange(size_bytes // 8, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed + number)
    stride = 4097
    rows = len(words) // stride * stride
    turned = np.ascontiguousarray(words[:rows].reshape(-1, stride).T)
    back = np.ascontiguousarray(turned.T).reshape(-1)
    return hashlib.sha256(back.tobytes()).digest()


def _file(plan: LoadPlan, number: int) -> bool:
    content = np.random.Generator(np.random.PCG64([plan.seed, number, 2])).bytes(plan.file_bytes)
    path = Path(plan.folder) / f"{plan.node}.bin"
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    same = path.read_bytes() == content
    path.unlink()
    return same


def main() -> None:
    """Run the plan on stdin and print its rounds."""
    for result in run_load(LoadPlan(**json.load(sys.stdin))):
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
