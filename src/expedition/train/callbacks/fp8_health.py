"""What FP8 rounds away, by module: counted at the plan's distance, told to the event log, and where it stays too much the
module goes back to the compute type for the rest of the run.

Outliers do it: SwiGLU of aligned gate and up weights makes channels so large (arXiv:2409.12517) that everything that shares
their scale becomes zero. Counts are of whole steps and of all ranks. Decisions are a function of them, and they are in the
events, so an attempt that goes on has the modules and the patience that the run had at that step. A run that starts from
another one's checkpoint begins with all its modules in FP8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from expedition.parallel.mesh import Ranks
from expedition.plan.precision import Fp8Plan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.fp8.counters import count, take_counts
from expedition.train.fp8.fallback import FallbackRule, Shares, switch_off
from expedition.workspace import Workspace
from expedition.workspace.events import Event

COUNTED = "train.fp8.counted"
"""Fields: run, step, modules {name: {tensor: [share of zeros, share of saturated values]}}."""
FELL_BACK = "train.fp8.fell_back"
"""Fields: run, step, module, reason."""


class Fp8Health:
    """Counts in every `plan.counters_every`-th step, and with `plan.fallback` switches modules off between steps."""

    def __init__(self, ws: Workspace, run: str, model: nn.Module, plan: Fp8Plan, ranks: Ranks, step: int = 0) -> None:
        """`step`: steps done before this attempt; modules that fell back in them are switched off at once."""
        assert plan.counters_every is not None
        self._ws, self._run, self._model, self._ranks = ws, run, model, ranks
        self._every = plan.counters_every
        self._rule = None if plan.fallback is None else FallbackRule(plan.fallback)
        if self._rule is not None:
            for shares in counted_before(ws.events_all("train."), run, step):
                switch_off(model, self._rule.observe(shares))
        self._arm(step)

    def after_step(self, done: Done) -> str | None:
        """Never pauses a run. A counted step waits for the device once."""
        step = done.result.step
        if self._is_counted(step):
            self._look(step)
        self._arm(step + 1)
        return None

    def at_end(self, ending: Ending) -> None:
        """Nothing is counted any more."""
        count(self._model, on=False)

    def _is_counted(self, step: int) -> bool:
        return (step + 1) % self._every == 0

    def _arm(self, step: int) -> None:
        count(self._model, on=self._is_counted(step))

    def _look(self, step: int) -> None:
        shares = shares_of(take_counts(self._model), self._ranks)
        fallen = {} if self._rule is None else self._rule.observe(shares)
        switch_off(self._model, fallen)
        if not self._ranks.is_first:
            return
        modules = {name: {tensor: list(lost) for tensor, lost in of.items()} for name, of in shares.items()}
        self._ws.events("train").append(COUNTED, run=self._run, step=step, modules=modules)
        for module, reason in fallen.items():
            self._ws.events("train").append(FELL_BACK, run=self._run, step=step, module=module, reason=reason)


def shares_of(counts: Mapping[str, Mapping[str, Tensor]], ranks: Ranks) -> Shares:
    """This rank's counts [values, zeros, saturated] by module and tensor as shares over all ranks. A collective.

    The ranks of a pipeline stage must have the same modules; every rank hears of all stages'.
    """
    names = [(module, tensor) for module, tensors in counts.items() for tensor in tensors]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    if names:
        total_N3 = ranks.sum(torch.stack([counts[module][tensor] for module, tensor in names]))
        for (module, tensor), (values, zeros, saturated) in zip(names, total_N3.tolist(), strict=True):
            found.setdefault(module, {})[tensor] = (zeros / max(values, 1), saturated / max(values, 1))
    return ranks.merge_stages(found)


def counted_before(events: Iterable[Event], run: str, step: int) -> list[Shares]:
    """The recorded counts of the steps before `step`, in order, without those of steps that were done again.

    `events` in order of time: an attempt that begins at a step undoes what was counted from there on.
    """
    counts: dict[int, Shares] = {}
    for event in events:
        if event.fields.get("run") != run or event.kind not in ("train.started", COUNTED):
            continue
        at = int(event.fields["step"])
        if event.kind == "train.started":
            counts = {counted: shares for counted, shares in counts.items() if counted < at}
        else:
            counts[at] = {
                module: {tensor: (float(zeros), float(saturated)) for tensor, (zeros, saturated) in tensors.items()}
                for module, tensors in event.fields["modules"].items()
            }
    return [counts[at] for at in sorted(counts) if at < step]
