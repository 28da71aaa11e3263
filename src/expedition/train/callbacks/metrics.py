"""Writes each recorded step's figures to the run's metric segments."""

from __future__ import annotations

import math

import torch

from expedition.data.records import KINDS
from expedition.parallel.mesh import Ranks
from expedition.plan.runs import RunPlan
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.losses import top_share
from expedition.train.reports.rate import Rate
from expedition.train.seen import HostCopy, Seen
from expedition.train.update.groups import gradient_norms
from expedition.watch.catalogue import EXPERT_TOKENS
from expedition.watch.rules import Observation
from expedition.watch.segments import MetricWriter


class Metrics:
    """Figures are global, so the first rank's `writer` writes them; the others have None.

    `rows` are those that this call brought, for the callbacks after this one.
    """

    def __init__(self, run: RunPlan, writer: MetricWriter | None, rate: Rate, ranks: Ranks) -> None:
        self._run, self._writer, self._rate, self._ranks = run, writer, rate, ranks
        self.rows: list[Observation] = []
        self._norms: dict[int, tuple[list[str], HostCopy]] = {}

    def after_step(self, done: Done) -> str | None:
        """Append a row every `metrics_every` steps and at the last one."""
        self._take_norms(done)
        self.rows = [self._append(seen) for seen in done.seen if self._wanted(seen.result.step)]
        return None

    def _wanted(self, step: int) -> bool:
        return (step + 1) % self._run.metrics_every == 0 or step + 1 == self._run.total_steps

    def _append(self, seen: Seen) -> Observation:
        step = seen.result.step
        values = {**scalars(seen), **self._rate.figures(seen), **self._norms_of(step)}
        tokens = self._run.tokens_after(step + 1)
        time_s = math.nan
        if self._writer is not None:
            counts_LE = seen.result.counts_LE
            vectors = {EXPERT_TOKENS: counts_LE.numpy()} if counts_LE.shape[0] else None
            time_s = self._writer.append(step, tokens, values, vectors)
        return Observation(step, tokens, time_s, values)

    def _take_norms(self, done: Done) -> None:
        """Norms of the gradients that are there now, where the plan asks for them. A collective."""
        step, every, optimizer = done.result.step, self._run.group_norms_every, done.state.optimizer
        if every is None or (step + 1) % every or not self._wanted(step):
            return
        norms = gradient_norms(optimizer.groups, optimizer.plan, self._ranks)
        self._norms[step] = list(norms), HostCopy(list(norms.values()))

    def _norms_of(self, step: int) -> dict[str, float]:
        """Of groups that have gradients."""
        if step not in self._norms:
            return {}
        groups, copy = self._norms.pop(step)
        norms = zip(groups, copy.read(), strict=True)
        return {f"gradient_norm/{group}": float(norm) for group, norm in norms if norm}

    def flush(self) -> None:
        """Make rows durable; called before a checkpoint is written."""
        if self._writer is not None:
            self._writer.flush()

    def at_end(self, ending: Ending) -> None:
        self.flush()


def scalars(seen: Seen) -> dict[str, float]:
    """A step's figures by their names in the catalogue."""
    result = seen.result
    values = {
        "loss": result.loss,
        "gradient_norm": result.gradient_norm,
        "skipped": ~result.verdict.keep,
        "nonfinite": ~result.verdict.finite,
        "auxiliary_loss": result.balance,
        "router_z_loss": result.z,
        "real_tokens": result.real_tokens,
    }
    numbers = torch.stack([value.detach().double() for value in values.values()]).tolist()
    figures = dict(zip(values, numbers, strict=True))
    figures |= {"learning_rate": result.learning_rate, **seen.times}
    if seen.memory_bytes is not None:
        figures["peak_memory_bytes"] = float(seen.memory_bytes)
    for kind, loss in zip(KINDS, result.loss_K.tolist(), strict=True):
        if not math.isnan(loss):
            figures[f"loss/{kind}"] = loss
    return figures | expert_figures(result.counts_LE)


def expert_figures(counts_LE: torch.Tensor) -> dict[str, float]:
    """Balance of each expert layer of one step; empty for a dense model."""
    if not counts_LE.shape[0]:
        return {}
    variation = (counts_LE.std(1, correction=0) / counts_LE.mean(1).clamp(min=1e-9)).tolist()
    shares = top_share(counts_LE).tolist()
    figures = {f"load_cv/{layer}": value for layer, value in enumerate(variation)}
    figures |= {f"top10_expert_share/{layer}": value for layer, value in enumerate(shares)}
    return {**figures, "top10_expert_share": max(shares)}
