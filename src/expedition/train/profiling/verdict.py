"""What holds a run back, by rules that are printed with their figures.

The first that holds, where shares are of the step:

    IO        data wait ≥ 10 %, and the loader's workers are busy less than half of the time: they wait for storage
    CPU       data wait ≥ 10 %, and they are busy: making batches is what the step waits for
    network   exposed communication ≥ 20 %
    CPU       the device (on a CPU run: the operators) idle ≥ 20 % with the host at work in between, the profiler's own
              cost taken off; or callbacks and checkpoints ≥ 10 %
    memory    else, if more than half of the compute time is in families that the memory's bandwidth bounds
    compute   else

Where several hold, the one with the largest share decides, and the others are named. A wait for data has the lower
threshold: batches are made beside the step, so any steady wait says that the loader is the slower of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Cause = Literal["IO", "CPU", "network", "compute", "memory"]

DATA_SHARE: Final = 0.10
NETWORK_SHARE: Final = 0.20
HOST_SHARE: Final = 0.20
CALLBACK_SHARE: Final = 0.10
BUSY_SHARE: Final = 0.5
MEMORY_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the step, but for the last two."""

    data: float
    communication: float
    host: float
    """Idle device or operators, without the profiler's own cost."""
    callbacks: float
    """Callbacks and checkpoints."""
    compute: float
    loader_busy: float | None
    """Share of the workers' time that they were on a processor or in its queue; None where it is not known."""
    memory_bound: float | None
    """Of the compute time that is known: in families bound by memory; None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause, a sentence, and the lines that it rests on."""

    bottleneck: Cause
    sentence: str
    evidence: tuple[str, ...]


def judge(shares: Shares) -> Verdict:
    """By the rules of this file."""
    found = sorted(_causes(shares), key=lambda cause: -cause[0])
    evidence = _evidence(shares)
    if found:
        _, cause, sentence = found[0]
        return Verdict(cause, sentence, (*evidence, *(f"also: {other}" for _, _, other in found[1:])))
    if shares.memory_bound is not None and shares.memory_bound > MEMORY_SHARE:
        return Verdict("memory", "compute time goes mostly to work that the memory's bandwidth bounds", evidence)
    return Verdict("compute", "the device computes nearly all of the step", evidence)


def _causes(shares: Shares) -> list[tuple[float, Cause, str]]:
    found: list[tuple[float, Cause, str]] = []
    if shares.data >= DATA_SHARE:
        if shares.loader_busy is None:
            found.append(
                (shares.data, "IO", "the step waits for batches; for storage or for a processor is not known here")
            )
        elif shares.loader_busy >= BUSY_SHARE:
            found.append(
                (shares.data, "CPU", "the step waits for batches, and the loader's workers compute all the time")
            )
        else:
            found.append((shares.data, "IO", "the step waits for batches, and the loader's workers wait for storage"))
    if shares.communication >= NETWORK_SHARE:
        found.append((shares.communication, "network", "the step waits for other ranks' data"))
    if shares.host >= HOST_SHARE:
        found.append((shares.host, "CPU", "the host does not start work as fast as it is done (launch-bound)"))
    if shares.callbacks >= CALLBACK_SHARE:
        found.append((shares.callbacks, "CPU", "callbacks and checkpoints hold the step up"))
    return found


def _evidence(shares: Shares) -> tuple[str, ...]:
    busy = "not known here" if shares.loader_busy is None else f"{shares.loader_busy:.0%}"
    bound = "not known" if shares.memory_bound is None else f"{shares.memory_bound:.0%}"
    return (
        f"data wait {shares.data:.1%} of the step (from {DATA_SHARE:.0%} it is IO or CPU)",
        f"loader's workers busy {busy} of their time (from {BUSY_SHARE:.0%} CPU, below IO)",
        f"exposed communication {shares.communication:.1%} (from {NETWORK_SHARE:.0%} network)",
        f"host overhead without the profiler's cost {shares.host:.1%} (from {HOST_SHARE:.0%} CPU)",
        f"callbacks and checkpoints {shares.callbacks:.1%} (from {CALLBACK_SHARE:.0%} CPU)",
        f"compute {shares.compute:.1%}, of which bound by memory {bound} (above {MEMORY_SHARE:.0%} memory)",
    )
