"""The rehearsal's programme with one tiny run in it."""

from __future__ import annotations

from expedition.plan import load_programme
from expedition.plan.models import Programme
from expedition.plan.runs import RunPlan
from tests.train.tiny import tiny_shape


def programme_with(**runs: RunPlan) -> Programme:
    """The rehearsal preset whose runs are these and whose tiny model is the tests'."""
    plain = load_programme("rehearsal")
    models = {**plain.models, "tiny": tiny_shape()}
    return plain.model_copy(update={"runs": runs, "models": models, "phases": ()})
