"""Shows every recorded row to the stop rules; opens an incident with evidence when one fires, and pauses the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from expedition.parallel.mesh import Ranks
from expedition.parallel.norm import squared_norm
from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics
from expedition.train.compute import Forward, activation_statistics
from expedition.train.decisions import PAUSED
from expedition.watch.incidents import open_incident, report_alarm
from expedition.watch.rules import Alarm, Rule, observe
from expedition.workspace import Workspace


class Rules:
    """The first rank observes and opens incidents; all ranks hear its answer, so that none is left waiting."""

    def __init__(
        self,
        ws: Workspace,
        run: str,
        rules: Sequence[Rule],
        metrics: Metrics,
        ranks: Ranks,
        forward: Forward,
    ) -> None:
        self._ws, self._run, self._rules = ws, run, rules
        self._metrics, self._ranks, self._forward = metrics, ranks, forward

    def after_step(self, done: Done) -> str | None:
        """The incident that pauses the run, None to go on."""
        row = self._metrics.latest
        if row is None:
            return None
        alarms = observe(self._rules, row) if self._ranks.is_first else []
        if not self._ranks.any(bool(alarms)):
            return None
        diagnosis = self._diagnose(done)
        self._metrics.flush()
        pausing = None
        for alarm in alarms:
            incident = self._open(alarm, diagnosis)
            if alarm.pauses and pausing is None:
                pausing = incident
        return (pausing or "on the first rank") if self._ranks.any(pausing is not None) else None

    def at_end(self, ending: Ending) -> None:
        """Nothing is left open."""

    def _open(self, alarm: Alarm, diagnosis: dict[str, Any]) -> str:
        incident = str(open_incident(self._ws, report_alarm(alarm, self._run, diagnosis))["id"])
        self._ws.events("train").append(
            PAUSED if alarm.pauses else "train.alarm",
            run=self._run,
            incident=incident,
            rule=alarm.rule,
            step=alarm.step,
            tokens=alarm.tokens,
            began_step=alarm.began_step,
        )
        return incident

    def _diagnose(self, done: Done) -> dict[str, Any]:
        """Gradient norms by part, activations of the step's batch, ids of its samples. A collective where sharded."""
        gradients: dict[str, list[torch.Tensor]] = {}
        for name, parameter in done.state.optimizer.parameters.items():
            if parameter.grad is not None:
                gradients.setdefault(part_of(name), []).append(parameter.grad)
        norms = {part: float(squared_norm(found, self._ranks).sqrt()) for part, found in gradients.items()}
        activations: dict[str, dict[str, float]] = {}
        if done.batches:
            run: Callable[[], object] = lambda: self._forward(done.batches[0])  # noqa: E731
            activations = activation_statistics(self._forward.model, run)
        return {"gradients": norms, "activations": activations, "samples": [str(s) for s in done.sample_ids]}


def part_of(parameter: str) -> str:
    """The part of the model that a parameter belongs to: a decoder layer, an encoder, embeddings, head or norm."""
    pieces = parameter.split(".")
    if pieces[:2] == ["model", "layers"]:
        return ".".join(pieces[:3])
    return pieces[0] if pieces[0] != "model" else ".".join(pieces[:2])
