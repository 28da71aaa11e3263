"""Shows every recorded row to the stop rules; opens an incident with evidence when one fires, and pauses the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from expedition.train.callbacks.callback import Done, Ending
from expedition.train.callbacks.metrics import Metrics
from expedition.train.decisions import PAUSED
from expedition.train.diagnosis import diagnose
from expedition.train.objective import Parts
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
        parts: Parts,
    ) -> None:
        self._ws, self._run, self._rules = ws, run, rules
        self._metrics, self._parts, self._ranks = metrics, parts, parts.ranks
        self.incident: str | None = None
        """The last incident that a rule has opened in this attempt."""

    def after_step(self, done: Done) -> str | None:
        """The incident that pauses the run, None to go on."""
        if not self._metrics.rows:
            return None
        found = [observe(self._rules, row) if self._ranks.is_first else [] for row in self._metrics.rows]
        alarms = [alarm for row in found for alarm in row]
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

    def _diagnose(self, done: Done) -> dict[str, Any]:
        """Samples and activations of the last row's step; gradients are of the step that was asked for last."""
        seen = next(seen for seen in done.seen if seen.result.step == self._metrics.rows[-1].step)
        return diagnose(self._parts, replace(done, batches=seen.batches, sample_ids=seen.sample_ids))

    def _open(self, alarm: Alarm, diagnosis: dict[str, Any]) -> str:
        self.incident = incident = str(open_incident(self._ws, report_alarm(alarm, self._run, diagnosis))["id"])
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
