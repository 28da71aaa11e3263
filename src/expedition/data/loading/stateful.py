"""A run's batches by PyTorch's conventions: iterate, `state_dict`, `load_state_dict`, in or out of DataLoader workers.

The state is a step and the fingerprint of the data before it. It knows no world size, worker count or prefetch depth,
so a run that stopped on sixteen ranks goes on with eight, on the same global batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from expedition.data.loading.batch import Batch
from expedition.data.loading.loader import Loader, LoadingConfig
from expedition.errors import InputError, UsageError
from expedition.plan.models import Programme
from expedition.workspace import Workspace, layout

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

SCHEMA = "data.loader-state/1"


@dataclass(frozen=True, slots=True)
class Share:
    """Whose batches are made: those of `rank` of `world` data ranks, for steps below `stop` (None: the run's last)."""

    rank: int = 0
    world: int = 1
    stop: int | None = None


class StatefulLoader:
    """Micro-batches of one data rank, step by step: iterating gives a `list[Batch]` a step from the next step on.

    Picklable; the loader is opened at the first use in each process. Iterating again goes on where the state is, as
    torchdata's stateful datasets do. Raises what `Loader` raises.
    """

    def __init__(
        self,
        workspace: str,
        run: str = "main",
        *,
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
        programme: Programme | None = None,
        config: LoadingConfig | None = None,
    ) -> None:
        """`programme` None: the workspace's own resolved copy."""
        if not 0 <= rank < world:
            raise UsageError(f"rank {rank} is not below world {world}", fix="give a rank from 0 to world - 1")
        self.workspace = workspace
        self.run = run
        self.share = Share(rank, world, stop)
        self.config = config or LoadingConfig()
        self.step = 0
        """Next step that is given out."""
        self._programme = programme
        self._worker_of = 0
        self._loader: Loader | None = None
        self._process = os.getpid()

    @property
    def loader(self) -> Loader:
        """The loader of this process; one that came over by a fork is not used, its threads did not."""
        if self._loader is None or self._process != os.getpid():
            self._process = os.getpid()
            ws = Workspace.open(self.workspace)
            self._loader = Loader(ws, self._programme or _own_programme(ws), self.run, self.config)
        return self._loader

    def __iter__(self) -> Iterator[list[Batch]]:
        """Steps from the next one on; in a worker of a DataLoader every n-th of them, n being the number of workers."""
        worker, workers = _worker()
        if workers == 0:
            yield from self._steps(range(self.step, self._stop()))
            return
        if self._process != os.getpid() and "://" in self.workspace and self._loader is not None:
            raise UsageError(
                "the object store's client was opened before this worker was forked, and would hang in it",
                where=self.workspace,
                fix='DataLoader(…, multiprocessing_context="spawn")',
            )
        if self._worker_of not in (0, workers):
            raise UsageError(
                f"the state is that of one of {self._worker_of} workers, there are {workers}",
                fix="resume from the step: load_state_dict(source.state_at(batches that were trained on))",
            )
        first = self.step + (0 if self._worker_of else worker)
        self._worker_of = workers
        for step in range(first, self._stop(), workers):
            batches = self.loader.rank_batch(step, self.share.rank, self.share.world)
            self.step = step + workers
            yield batches

    def __len__(self) -> int:
        """Steps that are left."""
        return max(0, self._stop() - self.step)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on after the last step that was given out."""
        return {**self.state_at(self.step), "worker_of": self._worker_of}

    def state_at(self, step: int) -> dict[str, Any]:
        """The state in which `step` is the next one, wherever and by whomever the steps before were made."""
        return {
            "schema": SCHEMA,
            "run": self.run,
            "step": step,
            "fingerprint": self.loader.fingerprint_at(step),
            "worker_of": 0,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`. Raises InputError if it is of another run, or of other data than is on record here."""
        missing = {"schema", "run", "step", "fingerprint"} - state.keys()
        if missing or state["schema"] != SCHEMA or state["run"] != self.run:
            raise InputError(
                f"not a state of run {self.run!r}: {', '.join(sorted(missing)) or state['schema'] + ' ' + state['run']}",
                fix=f"give what state_dict() of a {SCHEMA} loader of the same run returned",
            )
        self.loader.require_same(int(state["step"]), str(state["fingerprint"]))
        self.step = int(state["step"])
        self._worker_of = int(state.get("worker_of", 0))

    def statistics(self) -> dict[str, Any]:
        """`Loader.statistics` of this process."""
        return self.loader.statistics()

    def torch_dataset(self) -> IterableDataset[list[dict[str, Any]]]:
        """For `DataLoader(…, batch_size=None, num_workers=k)` or torchdata's StatefulDataLoader.

        Gives a list of micro-batches a step, each a dict of arrays by the field names of `Batch`, which DataLoader turns
        into tensors. The same batches in the same order for every k. Its state is this object's.
        """
        dataset: IterableDataset[list[dict[str, Any]]] = _dataset_class()(self)
        return dataset

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}

    def _stop(self) -> int:
        total = self.loader.plan.total_steps
        return total if self.share.stop is None else min(total, self.share.stop)

    def _steps(self, steps: range) -> Iterator[list[Batch]]:
        self._worker_of = 0
        made = self.loader.rank_batches(steps.start, steps.stop, self.share.rank, self.share.world)
        for step, batches in zip(steps, made, strict=True):
            self.step = step + 1
            yield batches


def _own_programme(ws: Workspace) -> Programme:
    from expedition.plan import load_programme

    if not ws.store.exists(layout.PROGRAMME):
        raise UsageError(
            "the workspace holds no programme", where=ws.place, fix="give programme=load_programme('rehearsal')"
        )
    return load_programme(ws.store.local(layout.PROGRAMME))


def _worker() -> tuple[int, int]:
    """(number, count) of the DataLoader worker that this process is; (0, 0) where it is none."""
    import sys

    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (0, 0) if info is None else (int(info.id), int(info.num_workers))


@lru_cache(maxsize=1)
def _dataset_class() -> Any:
    """The class is made at its first use: this package imports no torch."""
    from torch.utils.data import IterableDataset

    class TorchDataset(IterableDataset):  # type: ignore[type-arg]
        """`StatefulLoader` as torch's kind of dataset."""

        def __init__(self, source: StatefulLoader) -> None:
            self.source = source

        def __iter__(self) -> Iterator[list[dict[str, Any]]]:
            for batches in self.source:
                yield [{field.name: getattr(batch, field.name) for field in fields(Batch)} for batch in batches]

        def state_dict(self) -> dict[str, Any]:
            return self.source.state_dict()

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.source.load_state_dict(state)

        def __reduce__(self) -> Any:
            return _torch_dataset, (self.source,)

    return TorchDataset


def _torch_dataset(source: StatefulLoader) -> Any:
    return source.torch_dataset()
