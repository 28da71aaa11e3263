"""How a run's batches are made ahead of their use: threads, processes, depth. Nothing here changes what is trained on."""

from __future__ import annotations

from pydantic import Field

from expedition.plan.section import Section


class LoadingPlan(Section):
    """The loader's background work on each data rank."""

    prefetch_batches: int = Field(default=2, ge=0)
    """Steps that are made ahead; 0 makes each when it is asked for."""
    workers: int = Field(default=1, ge=1)
    """Threads that make them."""
    processes: int = Field(default=0, ge=0)
    """Processes that make them instead, each with a loader of its own, for decoding that one interpreter cannot keep up
    with; 0: threads."""
    damaged_sequences: int = Field(default=64, ge=0)
    """Sequences with a document that does not decode are replaced up to this number in a process, then refused."""
